"""The network that comes with the library, by name and as the default."""

import pytest
import torch
from safetensors.torch import save_file

import vqcnir_arch
from vqcnir_arch import packaged
from vqcnir_arch.bench.subjects import build_network
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.options.preflight import checkpoint_file
from vqcnir_arch.serving.checkpoints import find_checkpoints


@pytest.fixture
def shipped(make_tiny, tmp_path, monkeypatch):
    """A tiny network in the place of the one that ships."""
    net = make_tiny("VQCNIR").eval()
    (tmp_path / "weights").mkdir()
    save_file(net.state_dict(), tmp_path / "weights/vqcnir-s.safetensors")
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    return net


def test_every_reader_takes_the_name(shipped, tmp_path, capsys):
    for net in (vqcnir_arch.load_network(), vqcnir_arch.load_network("vqcnir-s"), build_network("vqcnir-s", "cpu")):
        assert torch.equal(net.out_conv.weight, shipped.out_conv.weight)
    dispatch(["convert", "vqcnir-s", "copy.pth"])
    assert torch.equal(vqcnir_arch.load_network("copy.pth").out_conv.weight, shipped.out_conv.weight)
    dispatch(["inspect", "vqcnir-s"])
    assert "vqcnir-s: VQCNIR (restoration network, stage II)" in capsys.readouterr().out
    assert checkpoint_file("vqcnir-s") == tmp_path / "weights/vqcnir-s.safetensors"
    assert list(find_checkpoints(["vqcnir-s"])) == ["vqcnir-s.safetensors"]


def test_a_file_of_that_name_comes_first(shipped, make_tiny, tmp_path):
    (tmp_path / "vqcnir-s").mkdir()
    assert torch.equal(vqcnir_arch.load_network("vqcnir-s").out_conv.weight, shipped.out_conv.weight)
    (tmp_path / "vqcnir-s").rmdir()
    other = make_tiny("VQCNIR")
    torch.save(other.state_dict(), tmp_path / "vqcnir-s")
    assert torch.equal(vqcnir_arch.load_network("vqcnir-s").out_conv.weight, other.out_conv.weight)


@pytest.mark.parametrize("name", ["vqcnir-x", "vqcnirs", "VQCNIR-s"])
def test_misspelt(shipped, name):
    with pytest.raises(UserError, match=rf"^checkpoint '{name}' is neither .* \(did you mean 'vqcnir-s'\?\)$"):
        vqcnir_arch.load_network(name)


def test_missing_from_the_installation(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"the weights of 'vqcnir-s' are missing .*: install vqcnir again") as caught:
        vqcnir_arch.load_network()
    assert "\n" not in str(caught.value)
