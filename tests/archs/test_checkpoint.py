"""The checkpoint reader: every layout of our own files, and what a file must say of its network."""

from __future__ import annotations

import pytest
import torch
from checkpoint_checks import assert_same_tensors, prefixed
from conftest import TINY_OPTIONS, random_images
from golden_fill import golden_state_dict
from network_facts import NETWORKS
from torch import nn

import vqcnir_arch
from vqcnir_arch.archs.extra_state import decode_options, encode_options
from vqcnir_arch.archs.loading import load_into
from vqcnir_arch.errors import UserError
from vqcnir_arch.tensor_files import read_state_dict


def zeroed(state):
    return {name: tensor if name == "_extra_state" else torch.zeros_like(tensor) for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"params": state},
        lambda state: {"params_ema": state},
        lambda state: {"state_dict": state},
        lambda state: {"params": zeroed(state), "params_ema": state},
        lambda state: {"iter": 5, "params": state, "optimizer": {"lr": 0.1}},
        lambda state: {"params": prefixed(state, "module.")},
        lambda state: {"params": prefixed(state, "_orig_mod.")},
        lambda state: {"params_ema": prefixed(state, "module._orig_mod.")},
        lambda state: prefixed(state, "_orig_mod.module."),
    ],
    ids=["bare", "params", "ema", "state_dict", "both", "more", "ddp", "compile", "ddp compile", "bare compile ddp"],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_own_file(make_tiny, tmp_path, name, wrap):
    net = make_tiny(name)
    torch.save(wrap(net.state_dict()), tmp_path / "net.pth")
    loaded = vqcnir_arch.load_network(tmp_path / "net.pth")
    assert type(loaded) is type(net)
    assert not loaded.training
    assert loaded.options == net.options
    assert_same_tensors(loaded, net.state_dict())
    x = random_images(name, 1, 11, 18)
    with torch.no_grad():
        assert torch.equal(loaded(x), net.eval()(x))


def test_own_state_dict_and_str_path(make_tiny, tmp_path):
    net = make_tiny("VQCNIR")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    given = net.state_dict()
    assert_same_tensors(vqcnir_arch.load_network(given), before)
    assert set(given) == set(before)
    torch.save(given, tmp_path / "net.pth")
    assert_same_tensors(vqcnir_arch.load_network(str(tmp_path / "net.pth"), device="cpu"), before)


def test_file_carries_what_shapes_cannot_tell(make_tiny):
    net = make_tiny(
        "VQCNIR",
        norm_groups=4,
        padding="published",
        enhancer={"type": "AIEM", "depth": 2, "splits": 2, "curve_order": 5},
        fusion={"type": "DBCA", "heads": [4, 1, 2, 2], "offset_groups": 1},
    )
    loaded = vqcnir_arch.load_network(net.state_dict())
    assert loaded.padding == "published"
    assert loaded.options == net.options
    assert loaded.options["norm_groups"] == 4
    assert [fusion.attention.scale.shape[0] for fusion in loaded.decoder.fusions.values()] == [4, 1, 2, 2]
    groups = {module.num_groups for module in loaded.modules() if isinstance(module, nn.GroupNorm)}
    assert groups == {4}

    plain = make_tiny("VQCNIR", enhancer={"type": "none"})
    assert len(vqcnir_arch.load_network(plain.state_dict()).enhancer) == 0


def test_param_key(make_tiny, tmp_path, basicsr_log):
    net, path = make_tiny("VQGANPrior"), tmp_path / "net.pth"
    torch.save({"params": net.state_dict(), "params_ema": zeroed(net.state_dict())}, path)
    assert torch.equal(read_state_dict(path, "params")["out_conv.weight"], net.out_conv.weight)
    assert not read_state_dict(path)["out_conv.weight"].any()
    assert basicsr_log == []

    torch.save({"params": net.state_dict()}, path)
    assert torch.equal(read_state_dict(path, "params_ema")["out_conv.weight"], net.out_conv.weight)
    assert len(basicsr_log) == 1 and "'params_ema'" in basicsr_log[0] and "'params'" in basicsr_log[0]


def test_strict_load_compares_options(make_tiny):
    net = make_tiny("VQCNIR", norm_groups=8)
    other = make_tiny("VQCNIR", norm_groups=4)
    with pytest.raises(RuntimeError, match=r"made with norm_groups: 4, this network has 8"):
        net.load_state_dict(other.state_dict())
    with pytest.raises(UserError, match=r"'file\.pth' does not fit VQCNIR: .*norm_groups: 4, this network has 8"):
        load_into(net, other.state_dict(), "'file.pth'")
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    load_into(net, other.state_dict(), "file.pth", strict=False)
    assert torch.equal(net.out_conv.weight, before["out_conv.weight"])


def test_strict_load_compares_heads(make_tiny):
    fusion = TINY_OPTIONS["VQCNIR"]["fusion"]
    net = make_tiny("VQCNIR")
    other = make_tiny("VQCNIR", fusion={**fusion, "heads": [1, 2, 1, 1]})
    with pytest.raises(RuntimeError, match=r"made with fusion: .*\[1, 2, 1, 1\].*this network has .*\[2, 2, 1, 1\]"):
        net.load_state_dict(other.state_dict())


def test_strict_load_compares_the_network(make_tiny):
    with pytest.raises(UserError, match=r"the file holds a VQGANPrior, not a VQCNIR"):
        load_into(make_tiny("VQCNIR"), make_tiny("VQGANPrior").state_dict(), "prior.pth")


def test_file_from_before_an_option_existed(make_tiny):
    """What a file does not say is the default of today: such a file still loads strictly, into that variant alone."""
    net = make_tiny("VQCNIR")
    state = net.state_dict()
    arch, options = decode_options(state["_extra_state"])
    del options["upsample"], options["fusion"]["offset"], options["fusion"]["attention"]
    state["_extra_state"] = encode_options(arch, options)
    make_tiny("VQCNIR").load_state_dict(state)
    assert vqcnir_arch.load_network(state).options == net.options
    with pytest.raises(RuntimeError, match=r"made with upsample: nearest, this network has bilinear"):
        make_tiny("VQCNIR", upsample="bilinear").load_state_dict(state)


def test_padding_is_no_difference(make_tiny):
    net, other = make_tiny("VQCNIR", padding="exact"), make_tiny("VQCNIR", padding="published")
    net.load_state_dict(other.state_dict())
    assert net.padding == "exact"
    assert torch.equal(net.out_conv.weight, other.out_conv.weight)


def test_network_inside_another_module(make_tiny):
    """The load hook works under a prefix, as inside DDP or a user's wrapper."""
    inner = make_tiny("VQGANPrior")
    outer, source = nn.ModuleDict({"net": make_tiny("VQGANPrior")}), nn.ModuleDict({"net": inner})
    outer.load_state_dict(source.state_dict())
    assert_same_tensors(outer["net"], inner.state_dict())

    published = prefixed(golden_state_dict(inner), "net.") | {"net.main_decode.x": torch.zeros(1)}
    outer.load_state_dict(published)
    assert torch.equal(outer["net"].out_conv.weight, published["net.out_conv.weight"])
