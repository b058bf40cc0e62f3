"""What is POSIX's alone, left out where a platform has none of it (as Windows, on which nobody has run this yet)."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from vqcnir_arch import UserError, devices, study

# other packages have ways of their own on Windows
WITHOUT_POSIX = """
import builtins, os
imported = builtins.__import__
def import_own(name, globals=None, *rest, **keywords):
    importer = (globals or {}).get("__name__", "")
    if name in ("fcntl", "grp", "pwd", "resource", "termios") and importer.startswith("vqcnir_arch"):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    return imported(name, globals, *rest, **keywords)
builtins.__import__ = import_own
del os.O_DIRECTORY
opened = os.open
def open_file(path, *rest, **keywords):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied")
    return opened(path, *rest, **keywords)
os.open = open_file
from vqcnir_arch.cli import main
main()
"""


def test_restore(make_tiny, tmp_path):
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, tmp_path / "net.pth")
    Image.new("RGB", (24, 16)).save(tmp_path / "night.png")
    arguments = ["restore", "night.png", "-w", "net.pth", "-o", "out", "--device", "cpu", "--quiet"]
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_POSIX, *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert Image.open(tmp_path / "out/night.png").size == (24, 16)


def test_peak_memory(monkeypatch):
    monkeypatch.setattr(devices, "Path", lambda _: SimpleNamespace(exists=lambda: False))
    assert devices.peak_memory() > 1e7  # getrusage's; torch alone takes more
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=5))
    monkeypatch.setattr(devices, "psutil", SimpleNamespace(Process=lambda: process))
    monkeypatch.setattr(sys, "platform", "win32")
    assert devices.peak_memory() == 5


def test_study_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(study, "fcntl", None)
    with pytest.raises(UserError, match="Linux and macOS alone"):
        study.main(["--out", "nowhere"])
