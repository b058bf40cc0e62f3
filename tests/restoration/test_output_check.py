"""A result that is no picture is refused by name and never written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import vqcnir_arch
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.output_check import check_restored


def images_of(*contents):
    return torch.stack([torch.as_tensor(content).expand(3, 8, 8) for content in contents]).float()


NOISE = torch.linspace(0, 1, 64).reshape(8, 8)
BLACK = torch.zeros(8, 8)
SPECK = BLACK.clone()
SPECK[3, 3] = 1 / 255


@pytest.mark.parametrize("content", [BLACK, BLACK + 0.4, BLACK - 3, NOISE + 5, NOISE / 1000], ids=range(5))
def test_one_colour(content):
    with pytest.raises(UserError, match=r"the result is one colour, .*--precision bf16 take fp32"):
        check_restored(images_of(NOISE, NOISE), images_of(NOISE, content), "bf16")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_not_finite(value):
    restored = images_of(NOISE)
    restored[0, 1, 2, 3] = value
    for precision, remedy in {"fp16-all": "take bf16 or fp32", "fp32": "the checkpoint is broken"}.items():
        with pytest.raises(UserError, match=rf"NaN or infinite values \(1% of it\): .*{remedy}"):
            check_restored(images_of(NOISE), restored, precision)


def test_pictures():
    check_restored(images_of(NOISE, BLACK, BLACK + 1, SPECK), images_of(NOISE / 2 + 3 / 4, BLACK, BLACK + 0.5, BLACK))
    check_restored(torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1))  # of one pixel
    check_restored(images_of(NOISE), torch.nn.functional.interpolate(images_of(NOISE), scale_factor=2))
    red = images_of(NOISE) * torch.tensor([1.0, 0, 0]).view(3, 1, 1)
    check_restored(red, red)


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "c.png")
    return tmp_path


@pytest.mark.parametrize("more", [("--batch", "3"), ("--tile", "8")], ids=str)
def test_command(make_tiny, photos, capsys, more):
    net = make_tiny("VQCNIR")
    with torch.no_grad():
        net.out_conv.weight.zero_()
        net.out_conv.bias.fill_(-1)
    torch.save({"params": net.state_dict()}, photos / "net.pth")
    with pytest.raises(SystemExit) as exit_:
        dispatch(["restore", *(str(photos / f"{n}.png") for n in "abc"), "-w", str(photos / "net.pth"),
                  "-o", str(photos / "out"), "--quiet", "--device", "cpu", *more])  # fmt: skip
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert "1 restored" in printed.out and "2 failed" in printed.out
    for name in "ab":
        assert f"{name}.png" in printed.err and "the result is one colour" in printed.err
    assert [path.name for path in (photos / "out").iterdir()] == ["c.png"]


def test_python_and_overflow_of_float16(make_tiny):
    net = make_tiny("VQCNIR").eval()
    with torch.no_grad():
        net.out_conv.weight.mul_(1e6)
    with pytest.raises(UserError, match=r"instead of --precision fp16 take bf16 or fp32"):
        vqcnir_arch.restore(net, torch.rand(3, 16, 16), "fp16")
