"""Memory that runs out while `vqcnir restore` works: said, and the photograph restored with less."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from vqcnir_arch.cli import dispatch
from vqcnir_arch.restoration import tiling

PROGRAM = """
import resource, sys
import torch
import vqcnir_arch.restoration.run as run
from vqcnir_arch.cli import main
read = run.read_photo
def limited(*arguments):
    photo = read(*arguments)
    mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + {more}, resource.RLIM_INFINITY))
    return photo
run.read_photo = limited
main()
"""


@pytest.fixture
def weights(make_tiny, tmp_path):
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(skimage.data.astronaut()).resize((1024, 1024)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def restore(weights, photo, out, more):
    """Run the command in a process that gets `more` bytes once the photograph has been read."""
    arguments = ["restore", str(photo), "-w", str(weights), "-o", str(out), "--device", "cpu", "--quiet"]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(more=more), *arguments, "--memory", "16"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_again_in_strips(weights, photo, tmp_path):
    """The system gives less than --memory says: first the whole image fails, then strips that are too large.

    What a process has mapped beside the network differs from run to run, so several limits are tried.
    """
    dispatch(["restore", str(photo), "-w", str(weights), "-o", str(tmp_path / "whole"), "--device", "cpu", "--quiet"])
    for more in (950_000_000, 985_000_000, 915_000_000, 1_020_000_000, 880_000_000):
        ended = restore(weights, photo, tmp_path / f"{more}", more)
        if ended.returncode == 0 and "memory ran out: once more with a quarter of it" in ended.stderr:
            break
    assert ended.returncode == 0, ended.stderr
    assert "memory ran out for 1 of 1024 x 1024" in ended.stderr
    assert "memory ran out: once more with a quarter of it" in ended.stderr
    names = ("whole", f"{more}")
    whole, again = (np.asarray(Image.open(tmp_path / name / "photo.png")).astype(int) for name in names)
    assert abs(whole - again).max() <= 1


def test_given_up(weights, photo, tmp_path):
    ended = restore(weights, photo, tmp_path / "out", 2_000_000)
    assert ended.returncode == 1, ended.stderr
    assert "vqcnir: error: image " in ended.stderr and "more memory than there is" in ended.stderr
    assert "Traceback" not in ended.stderr and "0 restored" in ended.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_disk_is_known_before(make_tiny, tmp_path, monkeypatch):
    """What is announced is what is taken, to a few percent, whether or not some maps stay in memory."""
    net, image = make_tiny("VQCNIR").eval(), torch.rand(1, 3, 210, 130)
    used = tiling.used_memory()
    for memory in (0, 2_000_000, 6_000_000, 10**9):
        monkeypatch.setattr(tiling, "MEMORY_SHARE", memory / 10**9)
        monkeypatch.setattr(tiling, "used_memory", lambda: used)
        limit = used + 4 * image.numel() * 4 + 10**9
        result = tiling.restore_within(net, image, limit, folder=tmp_path, announce=lambda line: None)
        assert tiling.scratch_bytes(net, image, tiling.Scratch(tmp_path, memory, 10**8)) == pytest.approx(
            result.disk, rel=0.05
        )
        assert (result.disk == 0) == (memory == 10**9)
