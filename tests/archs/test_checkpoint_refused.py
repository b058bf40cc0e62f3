"""One clear error for each file that is no checkpoint, broken, or of something else."""

from __future__ import annotations

import io
import os
import re

import pytest
import torch
from checkpoint_checks import assert_refused
from network_facts import NETWORKS

import vqcnir_arch
from vqcnir_arch.archs.loading import load_into
from vqcnir_arch.archs.published.layout import published_names
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.names import PUBLISHED_WEIGHTS


def test_nan_where_a_run_loads_it(make_tiny):
    net = make_tiny("VQGANPrior")
    state = {**net.state_dict(), "quantizer.codebook": torch.full_like(net.quantizer.codebook, float("nan"))}
    with pytest.raises(UserError, match=r"net\.pth holds NaN or infinite values in 'quantizer\.codebook'"):
        load_into(net, state, "net.pth")


def test_missing_file(make_tiny, tmp_path):
    torch.save(make_tiny("VQGANPrior").state_dict(), tmp_path / "net_g_5000.pth")
    assert_refused(tmp_path / "net_g_500.pth", r"net_g_500\.pth' does not exist", "did you mean 'net_g_5000.pth'")
    assert_refused(tmp_path / "nowhere" / "a.pth", r"a\.pth' does not exist", "no folder '.*nowhere'")
    assert_refused(tmp_path, "is a folder, expected a file")


@pytest.mark.parametrize("path", ["weights/VQCNIR_LOLBlur_G.pth", "VQCNIR_LOLBlur_G.pth"])
def test_missing_file_says_where_published_ones_are(tmp_path, path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UserError, match=re.escape(PUBLISHED_WEIGHTS)) as caught:
        vqcnir_arch.load_network(tmp_path / path)
    assert "holiday" not in str(caught.value)


def test_help_says_where_published_files_are(capsys):
    with pytest.raises(SystemExit):
        dispatch(["restore", "--help"])
    text = "".join(capsys.readouterr().out.split())  # it is wrapped
    assert "".join(PUBLISHED_WEIGHTS.split()) in text


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
    own = next(n for n, published in published_names(small_published.net).items() if published == tensor_name)
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
