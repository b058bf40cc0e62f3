"""VR in the option files: its default head, how light that is, and the sizes that the docs name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from network_facts import count

from vqcnir_arch.archs import find_quantizers
from vqcnir_arch.options.read import read_options
from vqcnir_arch.registry import ARCH_REGISTRY, build

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in ROOT.glob("options/**/*_vr*.yml") if "feature_alone" not in path.stem)


def read_docs(*names):
    return "".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in names)


def test_every_host_has_vr():
    hosts = {path.relative_to(ROOT / "options").parts[0] for path in FILES}
    assert hosts == {"vqcnir", "femasr", "adacode", "codeformer", "daefr"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_beside_each_vr_stands_one_without_alignment(path):
    """VR's page calls quantised codes no optimal target: the same training without the loss towards them."""
    if path.stem == "quantizer_vr_softmax":
        return
    (with_it, alone) = (read_options(path.with_stem(path.stem + end)) for end in ("", "_feature_alone"))
    assert with_it["train"].pop("alignment_opt") and "alignment_opt" not in alone["train"]
    assert alone["train"] == with_it["train"]
    assert alone["train"]["matching_opt"]["target"] == "hq_feature"
    assert alone["network_g"] == with_it["network_g"] and alone["name"] == with_it["name"] + "_feature_alone"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vr_is_light(path):
    """The head is the default one, below 10 % of its host, and as large as docs/quantizers.md says."""
    block = read_options(path)["network_g"]
    assert {"head": "mlp", **block["quantizer"]}.keys() == {"type", "weights", "head"}
    block = {name: value for name, value in block.items() if "prior" not in name}
    with torch.device("meta"):
        net = build(ARCH_REGISTRY, block)
        block.pop("quantizer")
        host = count(build(ARCH_REGISTRY, block).parameters())
    with_vr, head = count(net.parameters()), sum(count(q.head.parameters()) for q in find_quantizers(net).values())
    assert head < 0.1 * min(host, with_vr)
    name = block["type"] + (f" ×{net.scale}" if net.scale > 1 else "")
    row = f"| {name} | {head:,} | {head / host:.2%} | {head / with_vr:.2%} |".replace("%", " %")
    assert row in read_docs("quantizers"), row


@pytest.mark.parametrize("host", ["FeMaSR", "AdaCode", "CodeFormer", "DAEFR"])
def test_docs_name_the_size_with_vr(host):
    scale = {"scale": 2} if host in ("FeMaSR", "AdaCode") else {}
    with torch.device("meta"):
        net = build(ARCH_REGISTRY, {"type": host, **scale, "quantizer": {"type": "VectorRegression"}})
    assert f"{count(net.parameters()):,}" in read_docs("hosts-sr", "hosts-faces")
