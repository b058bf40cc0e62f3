"""The layouts of published files as data: each of a network that exists, and a further one that is one more file."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_checks import assert_same_tensors
from network_facts import NETWORKS

import vqcnir_arch
from vqcnir_arch.archs import published
from vqcnir_arch.archs.published.layout import LAYOUTS, all_layouts, published_names
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import import_modules

ARCHS = Path(vqcnir_arch.archs.__file__).parent
TOY = '''"""A made-up layout of the prior: other names, transposed to nothing, a tensor more."""

from vqcnir_arch.archs.published.layout import Layout, register_layout


def options(shapes):
    return {
        "channels": [shapes[f"toy.enc.{i}.w"][0] for i in range(4)],
        "codebook_size": shapes["toy.codes"][0],
        "code_dim": shapes["toy.codes"][1],
        "norm_groups": 8,
    }


register_layout(
    Layout(
        network="VQGANPrior",
        names=(
            (r"^encoder\\.in_conv\\.weight$", "toy.enc.0.w"),
            (r"^encoder\\.stages\\.0\\.0\\.weight$", "toy.enc.1.w"),
            (r"^encoder\\.stages\\.1\\.0\\.weight$", "toy.enc.2.w"),
            (r"^encoder\\.stages\\.2\\.0\\.weight$", "toy.enc.3.w"),
            (r"^quantizer\\.codebook$", "toy.codes"),
            (r"^(?!toy)", "toy.rest."),
        ),
        read_options=options,
        required=("toy.codes", "toy.enc.0.w", "toy.rest.*"),
        dead=("toy.discriminator.",),
    )
)
'''


@pytest.fixture
def toy_layout(tmp_path, monkeypatch):
    """One more file in the folder of layouts, imported as all of them are."""
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(published, "__path__", [*published.__path__, str(tmp_path)])
    monkeypatch.setitem(LAYOUTS, "VQGANPrior", [*LAYOUTS["VQGANPrior"]])
    before = all_layouts()
    import_modules(published.__name__, published.__path__, "")
    del sys.modules[f"{published.__name__}.toy"]
    (added,) = [layout for layout in all_layouts() if layout not in before]
    return added


def test_further_layout_is_one_file(make_tiny, tmp_path, toy_layout, capsys, basicsr_log):
    prior = make_tiny("VQGANPrior")
    own = prior.state_dict()
    names = toy_layout.published_names(prior)
    assert {name.split(".")[0] for name in names.values()} == {"toy"}
    state = {published_name: own[name] for name, published_name in names.items()}
    torch.save({"params": {**state, "toy.discriminator.w": torch.zeros(3)}}, tmp_path / "toy.pth")
    loaded = vqcnir_arch.load_network(tmp_path / "toy.pth")
    assert_same_tensors(loaded, own)
    assert any("dropped 1 unused tensors 'toy.discriminator.*'" in line for line in basicsr_log)

    dispatch(["inspect", str(tmp_path / "toy.pth")])
    said = capsys.readouterr().out
    assert "VQGANPrior (prior" in said and "published layout" in said and "toy.discriminator.*" in said
    net = make_tiny("VQCNIR", randomize=False, prior=str(tmp_path / "toy.pth"))
    assert torch.equal(net.quantizer.codebook, prior.quantizer.codebook)

    # the first layout still holds what it did
    first = {published_name: own[name] for name, published_name in published_names(prior).items()}
    assert "quantize_group.0.embedding.weight" in first
    prior.load_state_dict(first)
    with pytest.raises(UserError, match=re.escape("misses toy.rest.*")):
        vqcnir_arch.load_network({name: tensor for name, tensor in state.items() if "toy.rest" not in name})


def test_without_its_file_the_layout_is_unknown(make_tiny, tmp_path, toy_layout, monkeypatch):
    prior = make_tiny("VQGANPrior")
    own = prior.state_dict()
    state = {published_name: own[name] for name, published_name in toy_layout.published_names(prior).items()}
    monkeypatch.setitem(LAYOUTS, "VQGANPrior", [x for x in LAYOUTS["VQGANPrior"] if x is not toy_layout])
    with pytest.raises(UserError, match="is not a checkpoint of"):
        vqcnir_arch.load_network(state)


def test_every_layout_is_of_a_network():
    layouts = all_layouts()
    assert {layout.network for layout in layouts} <= set(NETWORKS) and len(layouts) >= 9
    assert all(layout.required for layout in layouts)


def test_converts_to_the_layout_that_holds_the_options(make_tiny, tmp_path, toy_layout, monkeypatch):
    """A network with two layouts is written in the first that says all of it."""
    usual = LAYOUTS["VQGANPrior"][0]
    cannot = replace(usual, read_options=lambda shapes: {**usual.read_options(shapes), "res_blocks": 1})
    monkeypatch.setitem(LAYOUTS, "VQGANPrior", [cannot, toy_layout])
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, tmp_path / "own.pth")
    dispatch(["convert", str(tmp_path / "own.pth"), str(tmp_path / "other.pth"), "--layout", "published"])
    assert "toy.codes" in torch.load(tmp_path / "other.pth")["params"]
    monkeypatch.setitem(LAYOUTS, "VQGANPrior", [cannot])
    with pytest.raises(UserError, match=r"the published layout cannot hold \w+: "):
        dispatch(["convert", str(tmp_path / "own.pth"), str(tmp_path / "no.pth"), "--layout", "published"])


PUBLISHED_WORDS = (
    "multiscale_encoder", "quantize_group", "decoder_group", "main_decode", "swin_blks", "conv_semantic", "vqvae",
    "idx_pred_layer", "feat_emb", "ft_layers", "fuse_convs_dict", "position_emb", "embedding.weight",
)  # fmt: skip


def test_no_other_file_knows_published_names():
    """What a network computes and how files name its tensors stand apart."""
    files = [path for path in ARCHS.rglob("*.py") if path.parent.name != "published"]
    assert len(files) > 30
    known = {path.name: [word for word in PUBLISHED_WORDS if word in path.read_text("utf-8")] for path in files}
    assert {name: words for name, words in known.items() if words} == {}
    inside = "".join(path.read_text("utf-8") for path in (ARCHS / "published").glob("*.py"))
    assert [word for word in PUBLISHED_WORDS if word not in inside] == []
