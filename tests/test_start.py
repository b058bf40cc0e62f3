"""A start that imports what is needed: commands say what they offer without torch, networks need no BasicSR."""

from __future__ import annotations

import json

import pytest
from test_import import python

from vqcnir_arch.registry import Registry, register

HEAVY = [
    "torch",
    "torchvision",
    "basicsr",
    "cv2",
    "scipy",
    "matplotlib",
    "timm",
    "pyiqa",
    "gradio",
    "pydantic",
    "PIL",
    "skimage",
    "numpy",
]
"""Libraries that take longer to import than all of a command's own start."""


def test_a_command_says_what_it_offers_without_torch():
    code = f"""
import contextlib, io, json, sys
from vqcnir_arch import cli
def loaded(*arguments):
    sys.argv = ["vqcnir", *arguments]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
        with contextlib.redirect_stderr(out):
            cli.main()
    assert len(out.getvalue()) > 4, arguments
    return [name for name in {HEAVY} if name in sys.modules]
calls = [["--help"], ["--version"], ["restor"], *([verb, "--help"] for verb in cli.VERBS)]
print(json.dumps({{" ".join(call): loaded(*call) for call in calls}}))
"""
    found = json.loads(python(code).stdout)
    assert len(found) > 12
    assert {call: names for call, names in found.items() if names} == {}


def test_networks_need_torch_and_little_more():
    code = f"""
import json, sys, time
began = time.process_time()
import torch
of_torch = time.process_time() - began
before = set(sys.modules)
import vqcnir_arch.archs
ours = time.process_time() - began - of_torch
heavy = [name for name in {HEAVY} if name in set(sys.modules) - before]
print(json.dumps([ours / of_torch, heavy]))
"""
    share, heavy = json.loads(python(code).stdout)
    assert heavy == []
    assert share < 1 / 3


def test_restoring_imports_nothing_that_trains(make_tiny, tmp_path):
    import torch

    torch.save({"params": make_tiny("VQCNIR").state_dict()}, tmp_path / "net.pth")
    code = f"""
import json, sys
import numpy as np
import vqcnir_arch
net = vqcnir_arch.load_network({str(tmp_path / "net.pth")!r})
assert vqcnir_arch.restore(net, np.zeros((8, 8, 3), np.uint8)).shape == (8, 8, 3)
from vqcnir_arch.restoration import command, run
print(json.dumps([name for name in ("basicsr", "torchvision", "scipy", "pydantic", "timm") if name in sys.modules]))
"""
    assert json.loads(python(code).stdout) == []


def test_first_look_for_an_unknown_name_fills_a_registry(caplog):
    calls = []

    def fill():
        calls.append(1)
        register(registry)(Late)
        register(registry)(type("Early", (), {}))  # ours, of a name that the host has registered meanwhile

    class Early:
        pass

    class Late:
        pass

    registry = Registry("toy", fill)
    assert registry.register()(Early) is Early
    assert registry.get("Early") is Early and "Early" in registry
    assert len(calls) == 0
    assert registry.get("Late") is Late
    assert registry.get("Early") is Early
    assert sorted(registry.keys()) == ["Early", "Early_vqcnir", "Late"]
    assert "'Early' is already in the toy registry: ours is registered as 'Early_vqcnir'" in caplog.text
    assert "Other" not in registry
    assert len(calls) == 1


def test_registry_is_like_basicsrs():
    registry = Registry("toy")

    @registry.register(suffix="basicsr")
    class Block:
        pass

    assert dict(iter(registry)) == {"Block_basicsr": Block} and registry.get("Block") is Block
    with pytest.raises(KeyError, match="No object named 'Blok' found in 'toy' registry"):
        registry.get("Blok")
    with pytest.raises(AssertionError, match="'Block_basicsr' was already registered in 'toy'"):
        registry.register(Block, suffix="basicsr")
