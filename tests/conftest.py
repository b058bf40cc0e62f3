"""What several tests share: tiny networks, the goldens, and BasicSR's log."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from golden_fill import golden_state_dict

from vqcnir_arch.archs import VQCNIR, VQGANPrior
from vqcnir_arch.checkpoint import own_networks

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
}
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


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def make_tiny():
    """Return a function that builds a tiny network by name, with every parameter drawn anew (no zero scales)."""

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
            net.quantizer.codebook.data.normal_()
        return net

    return make


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
