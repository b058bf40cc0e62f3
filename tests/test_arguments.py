"""The types of flags: what they read, and the line that every command prints for what they refuse."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from vqcnir_arch.arguments import not_negative, positive, sides
from vqcnir_arch.cli import dispatch


def test_what_is_read():
    assert (positive("1"), positive("0012"), not_negative("0"), not_negative("7")) == (1, 12, 0, 7)
    assert (sides("512"), sides("1120x640"), sides("64X48")) == ((512, 512), (1120, 640), (64, 48))


@pytest.mark.parametrize("text", ["", "-1", "1.5", "two", "²", "٣", "1_0", " 1"])
@pytest.mark.parametrize(("read", "least"), [(positive, 1), (not_negative, 0)])
def test_no_whole_number(read, least, text):
    with pytest.raises(ArgumentTypeError, match=f"^expected a whole number from {least} on, got '{text}'$"):
        read(text)


def test_zero_is_not_positive():
    with pytest.raises(ArgumentTypeError, match="from 1 on, got '0'"):
        positive("0")


@pytest.mark.parametrize("text", ["", "0", "x", "512x", "x512", "0x64", "64x0", "1x2x3", "-5x5", "5 x 5", "٣x٣"])
def test_no_sides(text):
    with pytest.raises(ArgumentTypeError, match=f"such as 1120x640, or one for a square, got '{text}'"):
        sides(text)


@pytest.mark.parametrize(
    "call",
    [
        "restore a.png -w net.pth -o out --batch 0",
        "restore a.png -w net.pth -o out --tile 0",
        "evaluate results --protocol lolblur --workers 0",
        "data check FFHQ folder --workers 0",
        "data check FFHQ folder --size 0",
        "data crop folder --out crops --step 0",
        "data synth sharp out --seed -1",
        "data codes faces -w prior.pth -o codes.pth --workers -1",
        "bench --size 0",
        "bench --batch 0",
        "export net.pth net.pt2 --size 0",
        "inspect net.pth --codebook --max-images -1",
        "report experiments/a --images 0",
        "study --iterations 0",
    ],
)
def test_line_of_a_command(call, capsys):
    *_, flag, value = arguments = call.split()
    with pytest.raises(SystemExit) as caught:
        dispatch(arguments)
    assert caught.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {flag}: expected " in line and line.endswith(f", got '{value}'")
