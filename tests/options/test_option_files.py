"""The option files that belong to the library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vqcnir_arch.options import check_options, read_options
from vqcnir_arch.registry import ARCH_REGISTRY, build, lookup

FOLDER = Path(__file__).parents[2] / "options"
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yml"))
# at the published sizes, by type, scale, and stage or flavour
PARAMETERS = {
    ("VQGANPrior", 1, None): 12_176_707,
    ("VQCNIR", 1, None): 47_854_222,
    ("FeMaSR", 2, None): 36_711_235,
    ("FeMaSR", 4, None): 34_059_971,
    ("AdaCode", 1, 2): 35_438_088,
    ("AdaCode", 2, 3): 59_972_616,
    ("AdaCode", 4, 3): 57_321_352,
    ("FaceVQGANPrior", 1, "codeformer"): 63_740_099,
    ("FaceVQGANPrior", 1, "daefr"): 72_680_003,
    ("AssociatedPriors", 1, None): 2 * 72_680_003 + 1,
    ("CodeFormer", 1, None): 94_112_707,
    ("DAEFR", 1, None): 152_151_235,
}
OTHER_NETWORKS = (
    "demo/", "small/", "study/", "vqcnir/ablations/", "femasr/sinca/", "adacode/sinca/", "adacode/train_adacode_stage1",
    "codeformer/sinca/", "codeformer/train_codeformer_inpainting", "daefr/sinca/",
)  # fmt: skip
"""Beginnings of the names of files whose networks have other sizes by intention."""
TRAIN, TEST = "vqcnir/train_vqcnir_lolblur.yml", "vqcnir/test_vqcnir_lolblur.yml"


def read(name):
    return read_options(FOLDER / name)


def test_there_are_files():
    assert {"demo/train_prior.yml", "demo/train_vqcnir.yml", "prior/train_prior.yml", TRAIN, TEST} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_file_is_sound(name):
    content = read(name)
    checked = check_options(content, is_train="train" in content)
    assert json.loads(json.dumps(checked)) == content  # but for tuples in place of lists nothing changes


@pytest.mark.parametrize("name", FILES)
def test_file_says_what_it_reproduces(name):
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    beginning = []
    for line in lines:
        if not line.startswith("#"):
            break
        beginning.append(line.lstrip("# "))
    text = " ".join(beginning)
    assert len(text) > 40
    # a paper's table or figure, a stage of its method, or that there is none
    assert any(word in text for word in ("table", "figure", "Stage", "reproduces no")), text


@pytest.mark.parametrize("name", FILES)
def test_network_builds(name):
    block = read(name)["network_g"]
    for key in ("prior", "hq_prior", "lq_prior", "curve"):
        block.pop(key, None)
    with torch.device("meta"):
        net = build(ARCH_REGISTRY, block)
    if not name.startswith(OTHER_NETWORKS):
        semantic = sum(p.numel() for n, p in net.named_parameters() if n.startswith("semantic_head."))
        assert (
            sum(p.numel() for p in net.parameters()) - semantic
            == PARAMETERS[block["type"], net.scale, block.get("stage") or block.get("flavour")]
        )
        assert semantic == (512 * 512 + 512 if block.get("semantic_dim") else 0)


@pytest.mark.parametrize("name", [name for name in FILES if "/train" in name or "finetune" in name])
def test_discriminator_builds(name):
    block = read(name).get("network_d")
    if block:
        with torch.device("meta"):
            build(ARCH_REGISTRY, {**block, "type": lookup(ARCH_REGISTRY, block["type"]).__name__})


def test_names_are_unique():
    found = [(read(name)["name"], "train" in read(name)) for name in FILES]
    assert len(set(found)) == len(found)


def test_stages_fit_together():
    """The prior of the option file for stage II is the result of the one for stage I, of the same sizes."""
    prior, restoration = read("prior/train_prior.yml"), read(TRAIN)
    path = f"experiments/{prior['name']}/models/net_g_latest.pth"
    assert restoration["network_g"]["prior"] == path
    assert restoration["path"]["pretrain_network_d"] == path.replace("net_g", "net_d")
    assert restoration["network_d"] == prior["network_d"]
    for key in ("channels", "codebook_size", "code_dim"):
        assert restoration["network_g"][key] == prior["network_g"][key]
    assert read(TEST)["path"]["pretrain_network_g"] == f"experiments/{restoration['name']}/models/net_g_latest.pth"


def test_demo_stages_fit_together():
    prior, restoration, test = (read(f"demo/{name}.yml") for name in ("train_prior", "train_vqcnir", "test_vqcnir"))
    assert restoration["network_g"]["prior"].endswith(f"experiments/{prior['name']}/models/net_g_latest.pth")
    assert test["path"]["pretrain_network_g"].endswith(f"experiments/{restoration['name']}/models/net_g_latest.pth")
    for key in set(prior["network_g"]) - {"type"}:
        assert restoration["network_g"][key] == prior["network_g"][key]
    for key in set(test["network_g"]):
        assert restoration["network_g"][key] == test["network_g"][key]


def test_stages_of_the_small_network_fit_together():
    names = ("train_prior", "train_curve", "train_vqcnir", "train_refine", "finetune_vqcnir")
    prior, curve, first, second, finetune = (read(f"small/{name}.yml") for name in names)
    for stage in (first, second):
        assert stage["network_g"]["prior"].endswith(f"experiments/{prior['name']}/models/net_g_latest.pth")
        assert stage["network_g"]["curve"].endswith(f"experiments/{curve['name']}/models/net_g_latest.pth")
    assert second["path"]["pretrain_network_g"].endswith(f"experiments/{first['name']}/models/net_g_latest.pth")
    assert second["network_g"] == first["network_g"]
    assert finetune["path"]["pretrain_network_g"] == "vqcnir-s"
    for key in set(prior["network_g"]) - {"type"}:
        assert first["network_g"][key] == prior["network_g"][key]
    for key in set(finetune["network_g"]) - {"freeze_prior"}:
        assert first["network_g"][key] == finetune["network_g"][key]
    assert {"type": "IlluminationCurve", **first["network_g"]["illumination"]} == curve["network_g"]
    assert first["datasets"]["train"]["thumbnail"] == curve["network_g"]["size"]


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("prior/train_prior.yml", {"pixel": 1, "codebook": 1, "perceptual": 1, "gan": 0.1, "semantic": 0.1}),
        (
            "prior/train_prior_printed_weights.yml",
            {"pixel": 1, "codebook": 1, "perceptual": 1, "gan": 1, "semantic": 0.25},
        ),
        (TRAIN, {"pixel": 1, "alignment": 1, "perceptual": 1, "gan": 0.1}),
    ],
)  # fmt: skip
def test_loss_weights_of_the_paper(name, weights):
    train = read(name)["train"]
    found = {key.removesuffix("_opt"): block["loss_weight"] for key, block in train.items() if key.endswith("_opt")}
    assert found == weights
