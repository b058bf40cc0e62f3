"""The network that comes with the library, by name and as the default."""

import numpy as np
import pytest
import skimage.data
import torch
from safetensors.torch import save_file

import vqcnir_arch
from vqcnir_arch import packaged
from vqcnir_arch.bench.subjects import build_network
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.options.preflight import checkpoint_file
from vqcnir_arch.restoration.strips.network import restore_in_strips
from vqcnir_arch.restoration.strips.store import Scratch
from vqcnir_arch.serving.offered import find_checkpoints


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


# --- the network that really ships -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    if not (packaged.FOLDER / "vqcnir-s.safetensors").is_file():
        pytest.skip("the weights of vqcnir-s are not in this checkout")
    return vqcnir_arch.load_network()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2, 3), (64, 48)], ids=str)
def test_black_and_white_stay_so(real, size):
    assert vqcnir_arch.restore(real, np.zeros((*size, 3), np.uint8)).max() == 0
    assert vqcnir_arch.restore(real, np.full((*size, 3), 255, np.uint8)).min() == 255


def test_a_photograph_by_day_stays_nearly_as_it_is(real):
    """33 dB with the weights of 0.2.0; darker and flatter photographs are brightened, see their card."""
    photo = skimage.data.chelsea()[:256, :384]
    error = vqcnir_arch.restore(real, photo).astype(float) - photo
    assert 10 * np.log10(255**2 / (error**2).mean()) > 30


def test_strips_of_the_real_network(real, tmp_path):
    image = torch.from_numpy(skimage.data.coffee()[:120, :96]).permute(2, 0, 1)[None] / 1000
    with torch.no_grad():
        whole, codes = real(image, return_codes=True)
    result = restore_in_strips(real, image, Scratch(tmp_path, 0, 200_000), codes.indices)
    assert (result.image - whole).abs().max() < 2e-4 * whole.std()
