"""The checkpoint reader: every layout that exists, what a file must carry, and one clear error for the rest."""

from __future__ import annotations

import copy
import io
import os
import re

import pytest
import torch
from conftest import TINY_OPTIONS, random_images
from golden_fill import golden_state_dict, golden_tensor
from torch import nn

import vqcnir_arch
from vqcnir_arch.archs import VQCNIR, VQGANPrior
from vqcnir_arch.archs.network import decode_options, encode_options
from vqcnir_arch.checkpoint import detect, load_into, own_networks, read_state_dict
from vqcnir_arch.errors import UserError

NETWORKS = [cls.__name__ for cls in own_networks()]


def assert_same_tensors(net, expected: dict[str, torch.Tensor]):
    state = net.state_dict()
    assert set(state) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


def assert_refused(source, *patterns: str, **keywords):
    """Loading raises a UserError of one line in which every pattern is found."""
    with pytest.raises(UserError) as caught:
        vqcnir_arch.load_network(source, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    for pattern in patterns:
        assert re.search(pattern, message), f"no '{pattern}' in: {message}"


def zeroed(state):
    return {name: tensor if name == "_extra_state" else torch.zeros_like(tensor) for name, tensor in state.items()}


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


# --- layouts ---------------------------------------------------------------------------------------------------------


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


# --- published files -------------------------------------------------------------------------------------------------


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
    for name, tensor in own.items():
        if name != "_extra_state":
            assert torch.equal(tensor, small_published.state[loaded.published_name(name)]), name
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
        assert torch.equal(net.state_dict()[name], prior[net.published_name(name)]), name


# --- BasicSR's own model ---------------------------------------------------------------------------------------------


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
    for name, tensor in own.items():
        if name != "_extra_state":
            assert torch.equal(tensor, small_published.state[model.net_g.published_name(name)]), name
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


# --- other options ---------------------------------------------------------------------------------------------------


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


def test_loading_leaves_the_given_state_dict_alone(small_published):
    given = dict(small_published.state)
    small_published.net.load_state_dict(given)
    assert set(given) == set(small_published.state)


# --- files that are no checkpoint ------------------------------------------------------------------------------------


def test_missing_file(make_tiny, tmp_path):
    torch.save(make_tiny("VQGANPrior").state_dict(), tmp_path / "net_g_5000.pth")
    assert_refused(tmp_path / "net_g_500.pth", r"net_g_500\.pth' does not exist", "did you mean 'net_g_5000.pth'")
    assert_refused(tmp_path / "nowhere" / "a.pth", r"a\.pth' does not exist", "no folder '.*nowhere'")
    assert_refused(tmp_path, "is a folder, expected a file")


@pytest.mark.parametrize(
    "content",
    [b"", b"P", b"\x80", b"\x80\x02", b"PK\x03\x04", b"hello, this is text\n", b"(lp0\n", b"\xff" * 400, b"\0" * 99],
)
def test_file_of_something_else(tmp_path, content):
    (tmp_path / "net.pth").write_bytes(content)
    assert_refused(tmp_path / "net.pth", r"checkpoint '.*net\.pth'")


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
def test_truncated_file(make_tiny, tmp_path, new_format):
    buffer = io.BytesIO()
    state = {"params": make_tiny("VQGANPrior", channels=[8, 8], code_dim=4).state_dict()}
    torch.save(state, buffer, _use_new_zipfile_serialization=new_format)
    content, path = buffer.getvalue(), tmp_path / "net.pth"
    cuts = {*range(1, 40, 3), *range(40, len(content) - 1, len(content) // 60), len(content) - 1}
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        try:
            vqcnir_arch.load_network(path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            raise AssertionError(f"a file cut at byte {cut} of {len(content)} was loaded")
    path.write_bytes(content)
    vqcnir_arch.load_network(path)


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
def test_code_in_a_file_is_not_executed(make_tiny, tmp_path, new_format):
    marker, path = tmp_path / "executed", tmp_path / "net.pth"
    content = {"params": make_tiny("VQGANPrior").state_dict(), "extra": Hostile(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    assert_refused(path, r"net\.pth' is not a file of tensors")
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the file is hostile indeed


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"params": {}},
        {"epoch": 3, "iter": 50, "optimizers": [{"state": {}}], "schedulers": []},
        {"params": {"a": 1, "b": [2]}},
        [torch.zeros(3)],
        torch.zeros(3),
        "text",
        None,
    ],
    ids=str,
)
def test_file_without_tensors(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    assert_refused(tmp_path / "net.pth", r"checkpoint '.*net\.pth' holds (no tensors|a \w+)")


def test_names_that_are_numbers(tmp_path):
    torch.save({0: torch.zeros(3), 1: torch.zeros(2)}, tmp_path / "net.pth")
    assert_refused(tmp_path / "net.pth", r"net\.pth")


# --- checkpoints of something else -----------------------------------------------------------------------------------


def test_checkpoint_of_another_network(tmp_path):
    from basicsr.archs.srresnet_arch import MSRResNet
    from torchvision.models import resnet18

    for net, first in (
        (resnet18(), r"conv1\.weight"),
        (MSRResNet(num_feat=8, num_block=1), r"conv_first\.weight"),
    ):
        torch.save({"params": net.state_dict()}, tmp_path / "other.pth")
        assert_refused(tmp_path / "other.pth", r"other\.pth' is not a checkpoint of .*VQCNIR.*VQGANPrior", first)
    assert_refused({"x": torch.zeros(1)}, "the state dict is not a checkpoint of", "x")


def test_femasr_restoration_file_is_no_prior(small_published):
    """FeMaSR's x4 network has the prior's names too, but a Swin stack and another depth."""
    state = {name: tensor for name, tensor in small_published.state.items() if ".blocks.3." not in name}
    state["multiscale_encoder.blocks.3.swin_blks.0.patch_embed.weight"] = torch.zeros(3)
    assert_refused(state, "is not a checkpoint of")


FACE_NETWORKS = ("FaceVQGANPrior", "AssociatedPriors", "CodeFormer", "DAEFR")
OWN_BROKEN = [
    ("out_conv.bias", None, r"[Mm]issing.*out_conv\.bias"),
    ("quantizer.codebook", None, r"[Mm]issing.*quantizer\.codebook"),
    ("encoder.in_conv.weight", None, r"[Mm]issing.*encoder\.in_conv\.weight"),
    ("out_conv.bias", torch.zeros(4), r"size mismatch.*out_conv\.bias.*\[4\].*\[3\]"),
    ("quantizer.codebook", torch.zeros(31, 16), r"size mismatch.*quantizer\.codebook"),
    ("out_conv.scale", torch.zeros(4), r"[Uu]nexpected.*out_conv\.scale"),
]


@pytest.mark.parametrize(("tensor_name", "value", "message"), OWN_BROKEN)
@pytest.mark.parametrize("name", NETWORKS)
def test_own_file_with_a_wrong_tensor(make_tiny, tmp_path, name, tensor_name, value, message):
    state = make_tiny(name).state_dict()
    own_name = tensor_name
    if name in FACE_NETWORKS:
        for theirs, ours in (("out_conv", "generator.conv_out"), ("encoder.in_conv", "encoder.conv_in")):
            own_name = own_name.replace(theirs, ours)
    if name == "AssociatedPriors":
        own_name = f"hq.{own_name}"
    if name == "AdaCode":
        own_name = own_name.replace("quantizer.", "codebooks.0.quantizer.")
    state.pop(own_name, None)
    if value is not None:
        state[own_name] = value
    torch.save({"params": state}, tmp_path / "net.pth")
    assert_refused(tmp_path / "net.pth", r"net\.pth", message.replace(re.escape(tensor_name), re.escape(own_name)))


PUBLISHED_BROKEN = [
    "out_conv.bias",
    "quantize_group.0.embedding.weight",
    "multiscale_encoder.in_conv.weight",
    "multiscale_encoder.blocks.1.0.weight",
    "multiscale_encoder.blocks.3.blks.1.conv1.weight",
    "multiscale_encoder.blocks.3.blks.0.IMAC.predictA0.4.weight",
    "after_quant_group.0.conv.weight",
    "main_decode.attn.Level_4.scale",
    "main_decode.align_func_dict.Level_8.dcn.conv_offset.weight",
]


@pytest.mark.parametrize("tensor_name", PUBLISHED_BROKEN)
def test_published_file_without_a_tensor(small_published, tmp_path, tensor_name):
    own = next(n for n in small_published.net.state_dict() if small_published.net.published_name(n) == tensor_name)
    del small_published.state[tensor_name]
    torch.save({"params": small_published.state}, tmp_path / "net.pth")
    assert_refused(tmp_path / "net.pth", r"net\.pth", f"{re.escape(own)}|{re.escape(tensor_name)}")


@pytest.mark.parametrize("shape", [(), (3,), (3, 3, 1, 1)], ids=str)
@pytest.mark.parametrize("tensor_name", PUBLISHED_BROKEN)
def test_published_file_with_a_tensor_of_another_size(small_published, tmp_path, tensor_name, shape):
    if shape == (3,) and tensor_name == "out_conv.bias":
        shape = (4,)
    small_published.state[tensor_name] = torch.zeros(shape)
    torch.save({"params": small_published.state}, tmp_path / "net.pth")
    assert_refused(tmp_path / "net.pth", r"net\.pth")


def test_published_file_with_an_extra_tensor(small_published, tmp_path):
    small_published.state["main_decode.attn.Level_16.scale"] = torch.zeros(4, 1, 1)
    torch.save({"params": small_published.state}, tmp_path / "net.pth")
    assert_refused(tmp_path / "net.pth", r"net\.pth", r"[Uu]nexpected.*Level_16\.scale")


def packed(text: str) -> torch.Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (torch.zeros(3, dtype=torch.uint8), ""),
        (torch.zeros(3), ""),
        (packed('{"arch": "VQCNIR"}'), ""),
        (packed("[1, 2]"), ""),
        (packed('{"arch": "VQCNIRR", "options": {}}'), "VQCNIRR.*did you mean 'VQCNIR'"),
        (packed('{"arch": "MSRResNet", "options": {}}'), "MSRResNet"),
        (packed('{"arch": "VQCNIR", "options": {"chanels": [16, 32]}}'), "chanels"),
        (packed('{"arch": "VQCNIR", "options": {"enhancer": {"type": "AIME"}}}'), "AIME.*did you mean 'AIEM'"),
        (packed('{"arch": "VQCNIR", "options": {"channels": 3}}'), ""),
    ],
    ids=["zeros", "floats", "half", "list", "arch", "foreign arch", "option", "type", "value"],
)
def test_broken_or_newer_options_in_a_file(make_tiny, tmp_path, extra, message):
    state = make_tiny("VQCNIR").state_dict()
    state["_extra_state"] = extra
    torch.save({"params": state}, tmp_path / "net.pth")
    assert_refused(tmp_path / "net.pth", r"net\.pth", message)


def test_detect_tells_the_two_published_layouts_apart(small_published):
    cls, options = detect(small_published.state)
    assert cls is VQCNIR and options["fusion"]["heads"] == [2, 4, 1, 2]
    prior = {name: tensor for name, tensor in small_published.state.items() if ".blocks.3." not in name}
    cls, options = detect(prior)
    assert cls is VQGANPrior
    assert options == {"channels": [32, 32, 64, 64], "codebook_size": 24, "code_dim": 8}
