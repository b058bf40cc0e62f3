"""What a wheel holds, and that it works outside a checkout; nothing is downloaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.specifiers import SpecifierSet

import vqcnir_arch

ROOT = Path(__file__).resolve().parents[1]
NAME = f"vqcnir-{vqcnir_arch.__version__}"


def run(*command: str | Path, **keywords) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **keywords)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_below(folder: Path) -> list[str]:
    """Names as seen from the parent folder."""
    return [file.relative_to(folder.parent).as_posix() for file in folder.rglob("*") if file.is_file()]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What wheels are built from, where a build may leave its files, with a network as one may ship."""
    source = tmp_path_factory.mktemp("source")
    for name in ("vqcnir_arch", "options"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "vqcnir_arch/weights").mkdir(exist_ok=True)
    for ending in ("safetensors", "md"):
        (source / f"vqcnir_arch/weights/another.{ending}").touch()
    return source


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, ".", cwd=source)
    return folder / f"{NAME}-py3-none-any.whl"


def test_gradio_is_held_to_the_release_that_is_tested(wheel):
    """The page replaces a private method of it."""
    try:
        major, minor, *_ = version("gradio").split(".")
    except PackageNotFoundError:
        pytest.skip("gradio is not installed (extra [serve])")
    with ZipFile(wheel) as archive:
        facts = archive.read(f"{NAME}.dist-info/METADATA").decode()
    allowed = SpecifierSet(re.search(r"^Requires-Dist: gradio([^;]*);", facts, re.MULTILINE)[1])
    assert version("gradio") in allowed
    assert f"{major}.{int(minor) + 1}" not in allowed


def test_holds_all_of_the_package_and_the_option_files(source, wheel):
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
    facts = {name for name in held if name.startswith(f"{NAME}.dist-info/")}
    options = {f"{NAME}.data/data/share/vqcnir/{name}" for name in files_below(source / "options")}
    assert held - facts == {*files_below(source / "vqcnir_arch"), *options}
    assert any(name.endswith("/LICENSE") for name in facts)
    assert "vqcnir_arch/py.typed" in held  # type checkers read our types


def test_works_outside_a_checkout(wheel, tmp_path):
    """In a virtual environment that takes all other packages from the one of the tests."""
    place = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", place)
    run(sys.executable, "-m", "pip", "--python", place, "install", "--no-deps", "--no-index", wheel)
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    code = """
import vqcnir_arch
from vqcnir_arch.shipped import shipped
print(vqcnir_arch.__file__, shipped("options/demo"), shipped("options/vqcnir/train_vqcnir_lolblur.yml"), sep="\\n")
"""
    found = run(place / "bin/python", "-c", code, cwd=tmp_path, env=environment).split()
    assert len(found) == 3 and all(Path(file).is_relative_to(place) for file in found)
    assert "--weights" in run(place / "bin/vqcnir", "restore", "--help", cwd=tmp_path, env=environment)
