"""The folder for spandrel, inside the installed spandrel: it stands alone, and does what the library does."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest
import safetensors.torch
import torch

import vqcnir_arch
from vqcnir_arch import packaged

spandrel = pytest.importorskip("spandrel", reason="the extra [spandrel] is not installed")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of spandrel that has what the script writes alone."""
    clone = tmp_path_factory.mktemp("clone")
    (clone / "tests").mkdir()
    subprocess.run([sys.executable, ROOT / "scripts/spandrel_folder.py", clone], check=True)
    return clone


@pytest.fixture(scope="module")
def architecture(clone):
    """The architecture, imported as spandrel imports its own."""
    folder = clone / "libs/spandrel/spandrel/architectures"
    assert not [path for path in folder.rglob("*.py") if "vqcnir_arch." in path.read_text()]
    places = importlib.import_module("spandrel.architectures").__path__
    places.append(str(folder))
    try:
        yield importlib.import_module("spandrel.architectures.VQCNIR")
    finally:
        places.remove(str(folder))


@pytest.fixture
def registry(architecture):
    registry = spandrel.MAIN_REGISTRY.copy()
    registry.add(spandrel.ArchSupport.from_architecture(architecture.VQCNIRArch(), before=("FeMaSR",)))
    return registry


def test_it_is_small_and_whole(clone):
    code = clone / "libs/spandrel/spandrel/architectures/VQCNIR/__arch"
    assert (code / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    names = {path.relative_to(code).as_posix() for path in code.rglob("*.py")}
    assert {"archs/vqcnir_arch.py", "archs/aiem.py", "archs/quantizers/nearest_code.py"} <= names
    assert names.isdisjoint({"tensor_files.py", "archs/loading.py", "archs/hub_files.py", "archs/swin_autoencoder.py"})


def test_loads_what_the_library_loads(architecture, registry, make_tiny, small_published):
    files = [make_tiny("VQCNIR").state_dict(), dict(small_published.state)]
    if (packaged.FOLDER / "vqcnir-s.safetensors").is_file():
        files.append(safetensors.torch.load_file(packaged.FOLDER / "vqcnir-s.safetensors"))
    image = torch.rand(1, 3, 21, 37)
    for state in files:
        model = registry.load(dict(state))
        assert isinstance(model.model, architecture.VQCNIR) and (model.architecture.id, model.scale) == ("VQCNIR", 1)
        with torch.inference_mode():
            expected = vqcnir_arch.load_network(state)(image).clamp(0, 1)
            torch.testing.assert_close(model(image), expected)


def test_leaves_others_alone(architecture, make_tiny):
    detect = architecture.VQCNIRArch().detect
    assert not any(detect(make_tiny(name).state_dict()) for name in ("VQGANPrior", "FeMaSR"))
    assert not detect({"conv.weight": torch.zeros(3, 3, 3, 3)})
    assert not detect({"_extra_state": torch.zeros(3, dtype=torch.uint8)})


def test_its_tests_run(clone, architecture, monkeypatch):
    """With stand-ins of the helpers of spandrel's repository, by what those ask for."""

    def loads_correctly(arch, *models):
        for make in models:
            model = make()
            for state in (model.state_dict(), safetensors.torch.load(safetensors.torch.save(model.state_dict()))):
                assert arch.detect(state)
                loaded = arch.load(state).model
                assert type(loaded) is type(model) and loaded.hyperparameters == model.hyperparameters

    def size_requirements(model):
        for size in ((1, 2), (3, 8), (9, 16)):
            with torch.inference_mode():
                assert model(torch.rand(1, 3, *size)).shape == (1, 3, *size)

    util = types.ModuleType("tests_of_spandrel.util")
    util.assert_loads_correctly, util.assert_size_requirements = loads_correctly, size_requirements
    util.skip_if_unchanged = lambda file: None
    package = types.ModuleType("tests_of_spandrel")
    package.__path__ = [str(clone / "tests")]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, util.__name__, util)
    tests = importlib.import_module("tests_of_spandrel.test_VQCNIR")
    monkeypatch.delitem(sys.modules, tests.__name__)
    tests.test_load()
    tests.test_size_requirements()
