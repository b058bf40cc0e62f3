"""The state of all random generators, in a form that `torch.load(weights_only=True)` reads."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def random_state(cuda: bool = True) -> dict[str, Any]:
    """Return the state of Python's, numpy's and torch's generators, with `cuda` those of all GPUs too."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        # a tensor instead of an array: the weights-only reader takes no arrays
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda and torch.cuda.is_initialized() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Undo `random_state`; the states of GPUs that are not there are left out."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    for device, generator_state in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
        torch.cuda.set_rng_state(generator_state.cpu(), device)


@contextlib.contextmanager
def preserved_random_state(cuda: bool = True) -> Iterator[None]:
    """Whatever is drawn inside leaves the generators as they were; quicker than the form for files."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if cuda and torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        for device, state in enumerate(gpus):
            torch.cuda.set_rng_state(state, device)
