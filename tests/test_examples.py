"""Every file of examples/, as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


def test_no_example_is_left_out():
    tested = {"own_quantizer.py", "own_host.py", "restore_photo.py"}
    assert {file.name for file in (ROOT / "examples").glob("*.py")} == tested
