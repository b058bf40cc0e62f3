"""Checkpoints in the published layout: recognised, read without their dead tensors, loaded by BasicSR's own model."""

from __future__ import annotations

import copy

import pytest
import torch
from checkpoint_checks import assert_same_tensors, prefixed
from conftest import TINY_OPTIONS
from golden_fill import golden_state_dict, golden_tensor
from network_facts import NETWORKS

import vqcnir_arch
from vqcnir_arch.archs import VQCNIR, VQGANPrior
from vqcnir_arch.archs.loading import detect, load_into
from vqcnir_arch.archs.published.layout import published_names


def test_published_vqcnir(golden_vqcnir, tmp_path):
    state = golden_state_dict(golden_vqcnir)
    assert "multiscale_encoder.blocks.3.blks.11.IMAC.predictA3.4.bias" in state
    assert "main_decode.align_func_dict.Level_1.dcn.conv_offset.weight" in state
    assert len(state) == 957
    torch.save({"params": state}, tmp_path / "published.pth")
    loaded = vqcnir_arch.load_network(tmp_path / "published.pth")
    assert type(loaded) is VQCNIR
    assert loaded.options["enhancer"] == {"type": "AIEM", "depth": 12, "splits": 4, "curve_order": 3}
    published = {"attention": "published", "offset": "published"}
    assert loaded.options["fusion"] == {"type": "DBCA", "heads": [4, 4, 2, 1], "offset_groups": 4, **published}
    assert loaded.options["quantizer"] == {"type": "NearestCode"}
    assert loaded.options["upsample"] == "nearest"
    assert loaded.padding == "exact"
    own, expected = loaded.state_dict(), golden_vqcnir.state_dict()
    assert all(torch.equal(own[name], expected[name]) for name in expected if name != "_extra_state")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_small_published_file(small_published, tmp_path, prefix):
    torch.save({"params": prefixed(small_published.state, prefix)}, tmp_path / "published.pth")
    loaded = vqcnir_arch.load_network(tmp_path / "published.pth")
    assert type(loaded) is VQCNIR
    for name, value in small_published.options.items():
        found = loaded.options[name]
        if isinstance(value, dict):  # the file's block comes with the defaults of what it does not say
            found = {key: found[key] for key in value}
        assert found == value, name
    own = loaded.state_dict()
    names = published_names(loaded)
    assert len(names) == len(own) - 1
    for name, published in names.items():
        assert torch.equal(own[name], small_published.state[published]), name
    # saved again it is our own file
    assert_same_tensors(vqcnir_arch.load_network(own), own)


DEAD = {
    "main_decode.attn.Level_8.scale": (4, 1, 1),
    "main_decode.decoder_dict.Level_4.conv.0.norm.weight": (128,),
    "conv_semantic.0.weight": (512, 512, 1, 1),
    "conv_semantic.0.bias": (512,),
    "vgg_feat_extractor.mean": (1, 3, 1, 1),
    "vgg_feat_extractor.vgg_net.conv1_1.weight": (64, 3, 3, 3),
}


def test_published_prior_with_dead_tensors(golden_prior, tmp_path, basicsr_log):
    state = golden_state_dict(golden_prior)
    assert len(state) == 117
    state |= {name: golden_tensor(name, shape) for name, shape in DEAD.items()}
    torch.save({"params": state}, tmp_path / "hrp.pth")
    loaded = vqcnir_arch.load_network(tmp_path / "hrp.pth")
    assert type(loaded) is VQGANPrior
    expected = golden_prior.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    for beginning in ("main_decode.", "conv_semantic.", "vgg_feat_extractor."):
        assert any(f"dropped 2 unused tensors '{beginning}*'" in line for line in basicsr_log), basicsr_log


def test_published_restoration_file_with_dead_tensors(small_published, basicsr_log):
    extra = {"conv_semantic.0.weight": torch.zeros(3, 3), "vgg_feat_extractor.std": torch.zeros(3)}
    loaded = vqcnir_arch.load_network({**small_published.state, **extra})
    assert type(loaded) is VQCNIR
    dropped = [line for line in basicsr_log if "dropped" in line]
    assert len(dropped) == 2
    assert "conv_semantic" in dropped[0] and "vgg_feat_extractor" in dropped[1]


def test_published_semantic_head_is_kept_where_the_network_has_one(golden_prior):
    state = golden_state_dict(golden_prior)
    state |= {name: golden_tensor(name, shape) for name, shape in DEAD.items()}
    net = VQGANPrior(semantic_dim=512)
    load_into(net, state, "hrp.pth")
    assert torch.equal(net.semantic_head[0].weight, state["conv_semantic.0.weight"])


def test_published_prior_starts_a_network(small_published, tmp_path):
    prior = {name: t for name, t in small_published.state.items() if ".blocks.3." not in name}
    torch.save({"params": prior}, tmp_path / "prior.pth")
    net = VQCNIR(**copy.deepcopy(small_published.options), prior=str(tmp_path / "prior.pth"))
    for name in ("encoder.stages.2.1.norm1.weight", "generator.2.0.1.bias", "quantizer.codebook", "out_conv.weight"):
        assert torch.equal(net.state_dict()[name], prior[published_names(net)[name]]), name


def sr_model(name, options, tmp_path, pretrained=None, param_key="params"):
    from basicsr.models.sr_model import SRModel

    path = {"models": str(tmp_path), "strict_load_g": True, "param_key_g": param_key}
    path |= {"pretrain_network_g": str(pretrained)} if pretrained else {}
    network = {"type": name, **copy.deepcopy(options)}
    return SRModel({"num_gpu": 0, "dist": False, "is_train": False, "rank": 0, "network_g": network, "path": path})


def test_basicsr_loads_a_published_file_strictly(small_published, tmp_path):
    torch.save({"params": small_published.state}, tmp_path / "published.pth")
    model = sr_model("VQCNIR", small_published.options, tmp_path, tmp_path / "published.pth")
    own = model.net_g.state_dict()
    names = published_names(model.net_g)
    assert len(names) == len(own) - 1
    for name, published in names.items():
        assert torch.equal(own[name], small_published.state[published]), name
    model.feed_data({"lq": torch.rand(1, 3, 13, 7)})
    model.test()
    assert model.output.shape == (1, 3, 13, 7)

    del small_published.state["out_conv.bias"]
    torch.save({"params": small_published.state}, tmp_path / "published.pth")
    with pytest.raises(RuntimeError, match=r"out_conv\.bias"):
        sr_model("VQCNIR", small_published.options, tmp_path, tmp_path / "published.pth")


@pytest.mark.parametrize("name", NETWORKS)
def test_file_that_basicsr_saved(make_tiny, tmp_path, name):
    model = sr_model(name, TINY_OPTIONS[name], tmp_path)
    average = make_tiny(name)
    model.save_network([model.net_g, average], "net_g", 7, param_key=["params", "params_ema"])
    saved = tmp_path / "net_g_7.pth"
    assert_same_tensors(vqcnir_arch.load_network(saved), average.state_dict())

    again = sr_model(name, TINY_OPTIONS[name], tmp_path, saved)
    assert_same_tensors(again.net_g, model.net_g.state_dict())
    again = sr_model(name, TINY_OPTIONS[name], tmp_path, saved, param_key="params_ema")
    assert_same_tensors(again.net_g, average.state_dict())


def test_loading_leaves_the_given_state_dict_alone(small_published):
    given = dict(small_published.state)
    small_published.net.load_state_dict(given)
    assert set(given) == set(small_published.state)


def test_detect_tells_the_two_published_layouts_apart(small_published):
    cls, options = detect(small_published.state)
    assert cls is VQCNIR and options["fusion"]["heads"] == [2, 4, 1, 2]
    prior = {name: tensor for name, tensor in small_published.state.items() if ".blocks.3." not in name}
    cls, options = detect(prior)
    assert cls is VQGANPrior
    assert options == {"channels": [32, 32, 64, 64], "codebook_size": 24, "code_dim": 8}
