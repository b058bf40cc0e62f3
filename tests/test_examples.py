"""Every file of examples/, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from vqcnir_arch import packaged

ROOT = Path(__file__).resolve().parents[1]


def run_example(name: str, place: Path, *arguments: str) -> str:
    """What an example prints, run with this checkout's package in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["own_quantizer.py", "own_host.py"])
def test_own_parts_train_and_are_loaded_again(name, tmp_path):
    said = run_example(name, tmp_path)
    before, after = map(float, re.search(r"loss ([\d.]+) -> ([\d.]+)", said).groups())
    assert after < 0.8 * before
    assert "equal: True" in said


def test_restore_photo(tmp_path):
    if not (packaged.FOLDER / "vqcnir-s.safetensors").is_file():
        pytest.skip("the weights of vqcnir-s are not in this checkout")
    said = run_example("restore_photo.py", tmp_path)
    night, restored = map(float, re.search(r"brightness ([\d.]+), restored ([\d.]+)", said).groups())
    assert restored > 1.5 * night
    again = run_example("restore_photo.py", tmp_path, "restored.png", "again.png")
    assert f"brightness {restored:.1f}," in again
    assert (tmp_path / "again.png").is_file()


def test_notebook(tmp_path, monkeypatch):
    """Its cells one after the other, as a script; what is installed already is not installed again."""
    if not (packaged.FOLDER / "vqcnir-s.safetensors").is_file():
        pytest.skip("the weights of vqcnir-s are not in this checkout")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples/restore_a_photo.ipynb").read_text("utf-8"))
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # no pictures in the repository by the way
            exec("".join(cell["source"]), names)
    night, restored, pair = map(cv2.imread, ("coffee.png", "restored/coffee.png", str(names["comparison"])))
    assert restored.shape == night.shape and restored.mean() > 1.5 * night.mean()
    assert pair.shape[1] == 2 * night.shape[1]


def test_no_example_is_left_out():
    tested = {"own_quantizer.py", "own_host.py", "restore_photo.py", "restore_a_photo.ipynb"}
    assert {file.name for file in (ROOT / "examples").glob("*.*")} == tested
