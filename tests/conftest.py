"""What several tests share: tiny networks, the goldens, and BasicSR's log.

What takes long to import is imported by the fixture that needs it: every process of pytest imports this module.
"""

from __future__ import annotations

import copy
import importlib
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from golden_fill import golden_state_dict

from vqcnir_arch.archs import VQCNIR, VQGANPrior, find_quantizers
from vqcnir_arch.archs.loading import own_networks

pytest_plugins = [
    "ablation_variants",
    "launch_place",
    "model_experiments",
    "on_device",
    "slow_files",
]  # fixtures, marks

# the networks here are tiny; with more threads a second busy process makes the tests ten times slower
torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"

# a network that is added to the library needs an entry here: the tests then train it, save it and load it
TINY_OPTIONS = {
    "VQGANPrior": {"channels": [16, 16, 32, 32], "norm_groups": 8, "codebook_size": 32, "code_dim": 16},
    "VQCNIR": {
        "channels": [16, 16, 32, 32],
        "norm_groups": 8,
        "codebook_size": 32,
        "code_dim": 16,
        "enhancer": {"type": "AIEM", "depth": 1, "splits": 4},
        "fusion": {"type": "DBCA", "heads": [2, 2, 1, 1], "offset_groups": 2},
    },
    "FeMaSR": {
        "scale": 2,
        "channels": [16, 16, 32, 32],
        "norm_groups": 8,
        "codebook_size": 32,
        "code_dim": 16,
        "swin_groups": 1,
        "swin_depth": 2,
        "swin_heads": 2,
        "window": 2,
    },
}
TINY_OPTIONS["AdaCode"] = {**TINY_OPTIONS["FeMaSR"], "codebook_size": [32, 24], "code_dim": 16}
FACE = {"channels": [16, 16, 32, 32], "norm_groups": 8, "codebook_size": 32, "code_dim": 16}
TINY_OPTIONS |= {"FaceVQGANPrior": FACE, "AssociatedPriors": FACE}
for face_network in ("CodeFormer", "DAEFR"):
    quantizer = {"type": "CodePrediction", "depth": 1, "num_heads": 2}
    TINY_OPTIONS[face_network] = {**FACE, "image_size": 16, "quantizer": quantizer}
# like a published network in what the shapes of its tensors cannot tell (32 norm groups, 2 residual blocks)
SMALL_PUBLISHED_OPTIONS = {
    "channels": [32, 32, 64, 64],
    "codebook_size": 24,
    "code_dim": 8,
    "enhancer": {"type": "AIEM", "depth": 2, "splits": 2, "curve_order": 2},
    "fusion": {
        "type": "DBCA",
        "heads": [2, 4, 1, 2],
        "offset_groups": 2,
        "attention": "published",
        "offset": "published",
    },
}


def random_images(name, count=2, height=16, width=24):
    """Random images for the tiny network of that name; the face networks have a size of their own."""
    size = TINY_OPTIONS[name].get("image_size")
    return torch.rand(count, 3, size or height, size or width)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def make_tiny():
    """Return a function that builds a tiny network by name, with every parameter drawn again (no zero scales)."""

    def make(name: str, randomize: bool = True, **options):
        cls = {cls.__name__: cls for cls in own_networks()}[name]
        net = cls(**copy.deepcopy({**TINY_OPTIONS[name], **options}))
        if randomize:
            with torch.no_grad():
                for parameter_name, parameter in net.named_parameters():
                    if parameter_name.endswith((".beta", ".gamma")):
                        parameter.uniform_(0.5, 1)
                    if ".conv_offset." in parameter_name:
                        parameter.normal_(std=0.1)
            for quantizer in find_quantizers(net).values():
                quantizer.codebook.data.normal_()
        return net

    return make


@pytest.fixture
def weights(make_tiny, tmp_path):
    """The file of a tiny VQCNIR."""
    torch.save(make_tiny("VQCNIR").eval().state_dict(), tmp_path / "net.pth")
    return tmp_path / "net.pth"


@pytest.fixture(scope="session")
def small_published_state():
    return golden_state_dict(VQCNIR(**copy.deepcopy(SMALL_PUBLISHED_OPTIONS)))


@pytest.fixture
def small_published(small_published_state):
    """A VQCNIR whose published layout can be recognised, and its weights under their published names."""
    net = VQCNIR(**copy.deepcopy(SMALL_PUBLISHED_OPTIONS)).eval()
    return SimpleNamespace(net=net, state=dict(small_published_state), options=SMALL_PUBLISHED_OPTIONS)


@pytest.fixture(scope="session")
def golden():
    """The published networks' stored tensors and what is known about them."""
    arrays = np.load(GOLDEN / "vqcnir.golden.npz")
    return SimpleNamespace(arrays=arrays, meta=json.loads(str(arrays["meta"])))


@pytest.fixture(scope="session")
def session_golden_vqcnir():
    net = VQCNIR()
    net.load_state_dict(golden_state_dict(net))
    return net


@pytest.fixture(scope="session")
def session_golden_prior():
    net = VQGANPrior()
    net.load_state_dict(golden_state_dict(net))
    return net


def restored(net):
    yield net.eval()
    net.padding = "exact"
    net.zero_grad(set_to_none=True)


@pytest.fixture
def golden_vqcnir(session_golden_vqcnir):
    """The default VQCNIR with the golden weights; built once, handed out in its first state."""
    yield from restored(session_golden_vqcnir)


@pytest.fixture
def golden_prior(session_golden_prior):
    """The default VQGANPrior with the golden weights; built once, handed out in its first state."""
    yield from restored(session_golden_prior)


@pytest.fixture
def published_keys():
    """Return a function that reads the key layout of a published network, kept outside the repository."""
    folder = Path(os.environ.get("VQCNIR_INTEROP", Path(__file__).parents[2] / "shared/interop"))

    def read(model: str) -> dict:
        path = folder / f"{model}.keys.json"
        if not path.is_file():
            pytest.skip(f"no key layouts at {path} (VQCNIR_INTEROP names their folder)")
        return json.loads(path.read_text(encoding="utf-8"))

    return read


@pytest.fixture
def load_script(monkeypatch):
    """Return a function that gives a script of this repository as a module."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "scripts")
    return importlib.import_module


@pytest.fixture
def basicsr_log():
    """The messages of logger 'basicsr' as a list (BasicSR stops their propagation, so `caplog` may miss them)."""
    messages: list[str] = []

    class ListHandler(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    logger = logging.getLogger("basicsr")
    handler, level = ListHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield messages
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def fresh_basicsr_log():
    """Leave BasicSR's logger as it was before its first use, so that no log file of a test stays open."""
    from basicsr.utils import logger as basicsr_logger

    yield
    basicsr_logger.initialized_logger.pop("basicsr", None)
    logger = logging.getLogger("basicsr")
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)


def scene(name, width, height):
    """One of the photographs in scikit-image's package, [height, width, 3] RGB uint8."""
    return cv2.resize(getattr(skimage.data, name)(), (width, height), interpolation=cv2.INTER_AREA)


def write_night_pairs(root, split, width=64, height=48):
    """Write two videos whose frames have the same names in LOL-Blur's layout below `root`."""
    from vqcnir_arch.data import night_blur_pair, write_lolblur

    for number, name in enumerate(("chelsea", "coffee", "rocket", "astronaut")):
        pair = night_blur_pair(scene(name, width, height), np.random.default_rng(number))
        write_lolblur(root, split, f"000{number // 2}", f"003{number % 2}", pair)


def without_classifier(state):
    """Keep every tensor of a torchvision state dict, but the classifier's as views of one zero: a small file."""
    return {
        name: torch.zeros(()).expand(tensor.shape) if name.startswith("classifier.") else tensor
        for name, tensor in state.items()
    }


@pytest.fixture(scope="session")
def vgg19():
    """torchvision's VGG19 with random weights."""
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(1)
        return torchvision.models.vgg19(weights=None).requires_grad_(False).eval()


@pytest.fixture(scope="session")
def vgg19_file(vgg19, tmp_path_factory):
    """A file laid out as torchvision's `vgg19-dcbb9e9d.pth`, with the weights of the fixture `vgg19`."""
    path = tmp_path_factory.mktemp("vgg19") / "random_vgg19.pth"
    torch.save(without_classifier(vgg19.state_dict()), path)
    yield path
    path.unlink()


@pytest.fixture(scope="session")
def lpips_files(tmp_path_factory):
    """A folder laid out as torch's hub folder, with LPIPS' backbones and linear heads in random weights."""
    import torchvision

    hub = tmp_path_factory.mktemp("hub")
    (hub / "checkpoints").mkdir()
    (hub / "pyiqa").mkdir()
    files = {
        "alex": ("alexnet-owt-7be5be79.pth", torchvision.models.alexnet, "LPIPS_v0.1_alex-df73285e.pth"),
        "vgg": ("vgg16-397923af.pth", torchvision.models.vgg16, "LPIPS_v0.1_vgg-a78928a0.pth"),
    }
    widths = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        for net, (backbone, build, heads) in files.items():
            torch.save(without_classifier(build(weights=None).state_dict()), hub / "checkpoints" / backbone)
            linear = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate(widths[net])}
            torch.save(linear, hub / "pyiqa" / heads)
    yield hub
    for path in hub.glob("*/*.pth"):
        path.unlink()


@pytest.fixture
def use_hub(monkeypatch):
    """Return a function that makes a folder torch's hub folder, for pyiqa too; nothing can be downloaded."""
    import urllib.error

    import pyiqa.utils.download_util as pyiqa_download

    def refuse(url, *args, **kwargs):
        raise urllib.error.URLError(f"no network in tests: {url}")

    def use(folder):
        monkeypatch.setattr(torch.hub, "_hub_dir", str(folder))
        monkeypatch.setattr(pyiqa_download, "DEFAULT_CACHE_DIR", str(folder / "pyiqa"))
        monkeypatch.setattr(pyiqa_download, "download_url_to_file", refuse)
        monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)

    return use


@pytest.fixture
def tree(tmp_path):
    """Results and ground truths of two videos with the same frame names, see `evaluation_tree.write_tree`."""
    from evaluation_tree import write_tree

    return write_tree(tmp_path)
