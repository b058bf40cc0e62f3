"""Hostile and odd files through the real command: refused in one line each, or written; time and memory are bounded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hostile_images import good_files, refused_files, write_files
from PIL import Image

from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.photos import written_ending

MEMORY = 700_000_000
"""Bytes that all files together may take at their peak; the largest that is not refused by its header says 98 MP."""
PROGRAM = """
import json, resource, sys, numpy
from vqcnir_arch.cli import main
import vqcnir_arch.restoration.command
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
try:
    main()
finally:
    json.dump(peak() - before, open(sys.argv[-1] + ".peak", "w"))
"""


@pytest.fixture
def weights(make_tiny, tmp_path):
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def command(weights, source, out):
    return ["restore", str(source), "-w", str(weights), "--quiet", "--device", "cpu", "-o", str(out)]


def test_all_at_once(weights, tmp_path):
    refused, good = refused_files(), good_files()
    assert len(refused) >= 50 and len(good) >= 40
    write_files(tmp_path / "photos", refused | good)
    (tmp_path / "photos/folder.png").mkdir()
    (tmp_path / "photos/loop.png").symlink_to(tmp_path / "photos/loop.png")
    (tmp_path / "photos/nowhere.png").symlink_to(tmp_path / "absent")
    (tmp_path / "photos/again").symlink_to(tmp_path / "photos")
    os.mkfifo(tmp_path / "photos/pipe.png")
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command(weights, tmp_path / "photos", out)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    lines = ended.stderr.splitlines()
    for name in refused:
        assert sum(f"/{name}'" in line for line in lines) == 1, f"{name}: {ended.stderr}"
    notes = [lines.pop(0), lines.pop(0)]
    assert notes[0].startswith("vqcnir: note: not taken: 3 files that cannot be opened, a broken link or a pipe ("), (
        notes
    )
    assert notes[1].startswith("vqcnir: note: 6 photographs written as another format (.dng as .png, "), notes
    lines.remove(f"vqcnir: note: '{out}/lab.tif' (TIFF) is without the profile of its LAB colours")
    assert all(line.startswith("vqcnir: error: ") for line in lines), ended.stderr
    assert len(lines) == len(refused), ended.stderr
    assert ended.returncode == len(refused)
    assert f"{len(good)} restored" in ended.stdout and f"{len(refused)} failed" in ended.stdout
    assert {path.name for path in out.iterdir()} == {Path(name).stem + written_ending(Path(name)) for name in good}
    for path in out.iterdir():
        with Image.open(path) as image:
            image.load()
    assert json.loads(Path(f"{out}.peak").read_text()) < MEMORY


def test_unreadable_file(weights, tmp_path, capsys):
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    write_files(tmp_path / "photos", {"a.png": b""})
    (tmp_path / "photos/a.png").chmod(0)
    with pytest.raises(SystemExit):
        dispatch(command(weights, tmp_path / "photos", tmp_path / "out"))
    assert "Permission denied" in capsys.readouterr().err


def test_named_inputs_that_are_no_files(weights, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name, message in {
        "pipe.png": "pipe.png' is neither a file nor a folder",
        "loop.png": "loop.png' is a link to '.*loop.png', which does not exist",
        "a" * 300: "cannot be read: File name too long",
        "**a.png": "pattern '.*' cannot be used|no image or video matches",
    }.items():
        with pytest.raises(UserError, match=message):
            dispatch(command(weights, tmp_path / name, tmp_path / "out"))


def test_pattern_goes_through_no_loop(weights, tmp_path):
    write_files(tmp_path / "photos", {"whole.png": good_files()["whole.png"]})
    (tmp_path / "photos/again").symlink_to(tmp_path / "photos")
    dispatch(command(weights, tmp_path / "photos/**/*.png", tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["whole.png"]


def test_result_that_its_format_cannot_hold(weights, tmp_path, capsys):
    write_files(tmp_path / "photos", {"low.png": good_files()["low.png"]})
    photo = Image.new("RGB", (17000, 1))
    photo.save(tmp_path / "photos/long.png")
    with pytest.raises(SystemExit) as caught:
        dispatch([*command(weights, tmp_path / "photos", tmp_path / "out"), "--format", "webp"])
    assert caught.value.code == 1
    assert "long.webp' cannot be written as WEBP (17000 x 1): " in capsys.readouterr().err
