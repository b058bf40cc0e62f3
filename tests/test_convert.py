"""`vqcnir convert` and checkpoints in safetensors."""

import json
import zipfile

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import vqcnir_arch
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError


def convert(*arguments):
    dispatch(["convert", *map(str, arguments)])


@pytest.mark.parametrize("name", ["VQGANPrior", "VQCNIR"])
def test_to_safetensors_and_back(make_tiny, tmp_path, name):
    net = make_tiny(name)
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    convert(tmp_path / "net.pth", tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        said = file.metadata()
    assert said["arch"] == name
    assert json.loads(said["options"]) == json.loads(json.dumps(net.options))
    assert said["stage"] == ("prior" if name == "VQGANPrior" else "restoration")
    assert said["version"] == vqcnir_arch.__version__

    convert(tmp_path / "net.safetensors", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth")["params"]
    assert back.keys() == net.state_dict().keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in net.state_dict().items())


def test_every_variant_survives(make_tiny, tmp_path):
    net = make_tiny(
        "VQCNIR", quantizer={"type": "SinCA", "depth": 1}, enhancer={"type": "none"}, fusion={"type": "Add"}
    )
    torch.save(net.state_dict(), tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "net.safetensors")
    assert vqcnir_arch.load_network(tmp_path / "net.safetensors").options == net.options


def test_published_layout_and_back(small_published, tmp_path):
    torch.save({"params": small_published.state}, tmp_path / "published.pth")
    convert(tmp_path / "published.pth", tmp_path / "ours.safetensors")
    convert(tmp_path / "ours.safetensors", tmp_path / "again.safetensors", "--layout", "published")
    again = load_file(tmp_path / "again.safetensors")
    assert again.keys() == small_published.state.keys()
    assert all(torch.equal(again[key], tensor) for key, tensor in small_published.state.items())


def test_layout_that_cannot_hold_the_options(make_tiny, tmp_path):
    net = make_tiny("VQCNIR", upsample="bilinear")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"published layout"):
        convert(tmp_path / "net.pth", tmp_path / "out.pth", "--layout", "published")
    assert not (tmp_path / "out.pth").exists()


def test_bad_targets(make_tiny, tmp_path):
    source, there = tmp_path / "net.pth", tmp_path / "there.pth"
    torch.save(make_tiny("VQGANPrior").state_dict(), source)
    there.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"exists already"):
        convert(source, there)
    assert there.read_bytes() == b"mine"
    convert(source, there, "--overwrite")
    assert vqcnir_arch.load_network(there)
    with pytest.raises(UserError, match=r"'.safetensor' \(did you mean '.safetensors'\?\)"):
        convert(source, tmp_path / "out.safetensor")
    with pytest.raises(UserError, match=r"cannot be saved: No such file"):
        convert(source, tmp_path / "nowhere" / "out.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "cannot be read, it is truncated or not a checkpoint"),
        (b"\xff" * 64, "is no file that torch.save or safetensors wrote"),
    ],
)
def test_broken_safetensors(tmp_path, content, message):
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=message):
        vqcnir_arch.load_network(tmp_path / "net.safetensors")


def test_compressed_archive_is_not_read(make_tiny, tmp_path):
    torch.save(make_tiny("VQGANPrior").state_dict(), tmp_path / "net.pth")
    with (
        zipfile.ZipFile(tmp_path / "net.pth") as source,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for record in source.infolist():
            bomb.writestr(record.filename, source.read(record))
    with pytest.raises(UserError, match=r"bomb.pth' is a compressed archive"):
        vqcnir_arch.load_network(tmp_path / "bomb.pth")


def test_prefix_of_lightning(make_tiny, tmp_path):
    net = make_tiny("VQCNIR")
    torch.save({"state_dict": {f"netG.{key}": t for key, t in net.state_dict().items()}}, tmp_path / "net.ckpt")
    loaded = vqcnir_arch.load_network(tmp_path / "net.ckpt")
    assert torch.equal(loaded.out_conv.weight, net.out_conv.weight)
