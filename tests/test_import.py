"""What importing the library does, and what it leaves alone."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

import vqcnir_arch

STUB = """
import sys, types
import torchvision.transforms.functional as functional
stub = types.ModuleType("torchvision.transforms.functional_tensor")
stub.rgb_to_grayscale = functional.rgb_to_grayscale
sys.modules["torchvision.transforms.functional_tensor"] = stub
"""


def python(code: str, check: bool = True) -> subprocess.CompletedProcess:
    root = str(Path(vqcnir_arch.__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert not check or result.returncode == 0, result.stderr
    return result


def test_import_makes_basicsr_importable_and_changes_nothing_else():
    code = """
import json, logging, random, sys
import numpy as np, torch, torchvision
def state():
    flags = torch.backends.cudnn
    return (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(),
            flags.benchmark, flags.deterministic, torch.get_num_threads(), str(torch.get_default_dtype()),
            torch.is_grad_enabled(), len(logging.getLogger().handlers), logging.getLogger().level)
before = state()
import vqcnir_arch
print(json.dumps({
    "same": state() == before,
    "others": sorted({name.split(".")[0] for name in sys.modules} & {"basicsr", "pyiqa", "timm"}),
}))
import basicsr.data.degradations
from basicsr.utils import registry
assert "vqcnir_arch.archs" not in sys.modules
from vqcnir_arch.registry import ARCH_REGISTRY
assert registry.ARCH_REGISTRY is ARCH_REGISTRY
assert "VQCNIR" in ARCH_REGISTRY and "VQGANPrior" in ARCH_REGISTRY and "RRDBNet" in ARCH_REGISTRY
assert "VQCNIR_vqcnir" not in ARCH_REGISTRY
kinds = {"DATASET": "LOLBlurDataset", "MODEL": "VQRestorationModel", "LOSS": "SSIMLoss", "METRIC": "calculate_pyiqa"}
assert all(name in getattr(registry, f"{kind}_REGISTRY") for kind, name in kinds.items())
assert "pyiqa" not in sys.modules
"""
    result = python(code)
    assert json.loads(result.stdout.splitlines()[-1]) == {"same": True, "others": []}
    assert result.stderr == ""


def test_name_that_the_host_holds_already(make_tiny, tmp_path):
    """A project with its own VQCNIR keeps it; ours stands beside it and still reads its own checkpoints."""
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, tmp_path / "own.pth")
    code = f"""{STUB}
import logging
lines = []
class Keep(logging.Handler):
    def emit(self, record): lines.append((record.levelname, record.getMessage()))
logging.getLogger().addHandler(Keep())
from basicsr.utils.registry import ARCH_REGISTRY
class VQCNIR: pass
ARCH_REGISTRY.register(VQCNIR)
import vqcnir_arch
from vqcnir_arch.archs import VQCNIR as ours
assert ARCH_REGISTRY.get("VQCNIR") is VQCNIR
assert ARCH_REGISTRY.get("VQCNIR_vqcnir") is ours
assert ARCH_REGISTRY.get("VQGANPrior").__module__.startswith("vqcnir_arch")
assert len(lines) == 1 and lines[0][0] == "WARNING", lines
assert "VQCNIR" in lines[0][1] and "VQCNIR_vqcnir" in lines[0][1], lines
print("registered")
assert type(vqcnir_arch.load_network({str(tmp_path / "own.pth")!r})) is ours
print("loaded")
"""
    result = python(code, check=False)
    assert result.stdout.split() == ["registered", "loaded"], result.stderr


def test_fork_of_basicsr_is_refused(tmp_path):
    (tmp_path / "basicsr").mkdir()
    (tmp_path / "basicsr" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport vqcnir_arch"
    result = python(code, check=False)
    assert result.returncode != 0
    assert "ImportError" in result.stderr.splitlines()[-1]
    assert "a fork shadows it" in result.stderr and str(tmp_path) in result.stderr


def test_the_command_as_a_module():
    code = "import runpy, sys; sys.argv = ['_', 'restor']; runpy.run_module('vqcnir_arch.cli', run_name='__main__')"
    result = python(code, check=False)
    assert result.returncode == 2
    assert result.stderr.strip().endswith("there is no verb 'restor' (did you mean 'restore'?)")


def test_every_literal_is_written_out():
    """A type checker reads no values that are computed."""
    package = Path(vqcnir_arch.__file__).parent
    nodes = [node for path in package.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    literals = [
        node.slice for node in nodes if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"
    ]
    assert len(literals) > 10
    for values in literals:
        assert all(isinstance(v, ast.Constant) for v in getattr(values, "elts", [values])), ast.unparse(values)
