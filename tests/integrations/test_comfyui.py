"""The node for ComfyUI, as its zip, in a process that has only what ComfyUI 0.38.1 brings."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from conftest import TINY_OPTIONS
from packaging.requirements import Requirement

import vqcnir_arch
from vqcnir_arch import packaged
from vqcnir_arch.names import PRECISIONS
from vqcnir_arch.registry import ARCH_REGISTRY, build

pytest.importorskip("spandrel", reason="ComfyUI brings spandrel: the extra [spandrel] is not installed")

ROOT = Path(__file__).resolve().parents[2]
NODE = ROOT / "integrations/comfyui"
COMFYUI = """
    torch torchsde torchvision numpy einops transformers tokenizers sentencepiece safetensors aiohttp yarl pyyaml pillow
    scipy tqdm psutil alembic sqlalchemy filelock av requests blake3 kornia spandrel pydantic pydantic-settings
"""
"""Of the requirements of ComfyUI 0.38.1, those that a library of ours could use."""


def brought(names: list[str]) -> set[str]:
    """Return distributions and all that they require, as far as they are installed here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        if name not in found:
            found.add(name)
            waiting += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def not_brought() -> list[str]:
    """Return the names that can be imported here and that ComfyUI does not bring."""
    allowed = brought(COMFYUI.split())
    known = packages_distributions()
    return sorted(
        name
        for name, homes in known.items()
        if name != "vqcnir_arch" and allowed.isdisjoint(re.sub(r"[-_.]+", "-", home).lower() for home in homes)
    )


@pytest.fixture(scope="module")
def zipped(tmp_path_factory):
    """The node's zip, unpacked as in `custom_nodes`."""
    place = tmp_path_factory.mktemp("custom_nodes")
    subprocess.run([sys.executable, ROOT / "scripts/comfyui_zip.py", place / "node.zip"], check=True)
    with ZipFile(place / "node.zip") as archive:
        archive.extractall(place)
    return place / "vqcnir"


@pytest.fixture(scope="module")
def found(zipped, tmp_path_factory):
    """What the node did in ComfyUI's process."""
    place = tmp_path_factory.mktemp("upscale_models")
    if not (packaged.FOLDER / "vqcnir-s.safetensors").is_file():
        pytest.skip("the weights of vqcnir-s are not in this checkout")
    for network, file in (("VQCNIR", "tiny.pth"), ("VQGANPrior", "prior.pth")):
        options = copy.deepcopy(TINY_OPTIONS[network])
        torch.save(build(ARCH_REGISTRY, {"type": network, **options}).state_dict(), place / file)
    torch.save({"conv.weight": torch.zeros(3, 3, 3, 3)}, place / "other.pth")
    (place / "broken.safetensors").write_bytes(b"no tensors")
    blocked = not_brought()
    assert {"cv2", "pyiqa", "matplotlib", "skimage", "lazy_loader", "timm"} <= set(blocked)
    arguments = [zipped, place, json.dumps(blocked)]
    environment = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, ROOT / "tests/comfyui_process.py", *arguments],
        capture_output=True, text=True, env=environment, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_node_in_comfyui(found, zipped):
    assert Path(found["package"]).is_relative_to(zipped)
    assert found["imported"] == []
    name = "Restore night photo (VQCNIR)"
    assert found["node"] == ["VQCNIRRestoreNightPhoto", name, "image/restoration", ["IMAGE"]]
    assert found["inputs"]["model"][0] == ["vqcnir-s", "broken.safetensors", "other.pth", "prior.pth", "tiny.pth"]
    assert found["inputs"]["precision"][0] == list(PRECISIONS)

    shape, dtype, difference, *progress = found["batch"]
    assert (shape, dtype, difference) == ([2, 40, 600, 3], "torch.float32", 0)  # whole: no tile, no seam
    assert progress[0] == progress[1] > 2
    assert found["asked"][0] > 10**7 and found["asked"][1] == "cpu"
    assert found["strength 0"] < 1e-6
    assert 0 < found["half"] < 0.05
    assert found["alpha"] < 1e-6
    assert found["fp16 image"] == "torch.float16"
    assert found["own file"] == [1, 40, 64, 3]
    assert found["stock loader"] == "VQCNIR"

    difference, *progress = found["strips"]
    assert 0 < difference < 1e-3  # other sums than whole
    assert found["no memory in strips"][0] == "NoRoom"
    assert progress[0] == progress[1] > 2
    assert found["cancelled"] == ["InterruptProcessingException", 5]  # inside the pass, whose layers are many more
    assert found["strips cancelled"] == "InterruptProcessingException"
    assert found["after"]

    messages = {
        "no memory": r"an image of 64 x 40 pixels needs more memory than there is on 'cpu': scale the image down",
        "other file": "other.pth' is not a checkpoint of",
        "prior": r"prior.pth' is a prior \(stage I\): it restores nothing",
        "broken": r"broken.safetensors' ",
        "no file": "model 'none.pth' is not in models/upscale_models",
        "grey": "expected an RGB or RGBA image, got 1 channels",
        "nan": "NaN or infinite values",
    }
    for key, message in messages.items():
        kind, text = found[key]
        assert kind == "UserError" and re.search(message, text) and "\n" not in text, found[key]


def test_workflow_names_the_node(found):
    workflow = json.loads((NODE / "workflow.json").read_text())
    [node] = [node for node in workflow["nodes"] if node["type"] == found["node"][0]]
    widgets = [name for name in found["inputs"] if name not in {slot["name"] for slot in node["inputs"]}]
    for name, value in zip(widgets, node["widgets_values"], strict=True):
        kind = found["inputs"][name][0]
        assert value in kind if isinstance(kind, list) else isinstance(value, float)


def test_version_is_the_librarys():
    facts = tomllib.loads((NODE / "pyproject.toml").read_text())
    assert facts["project"]["version"] == vqcnir_arch.__version__
    assert facts["project"]["dependencies"] == []
