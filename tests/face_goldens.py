"""Comparing the face networks with what is stored of the published ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from pytest import MonkeyPatch
from torch import nn

from vqcnir_arch.archs.published.layout import layouts_of, published_names
from vqcnir_arch.inspection.cost import fakes, multiply_adds

INNER_TOLERANCE = 1e-4
"""Of an inner feature, as a share of its standard deviation."""


def stored_part(golden: SimpleNamespace, name: str, tensor: torch.Tensor) -> float:
    """Return the largest error of a tensor against the stored part of it, as a share of the standard deviation."""
    facts = golden.meta["tensors"][name]
    assert list(tensor.shape) == facts["shape"]
    steps = tuple(slice(None, None, step) for step in facts["stride"] or [1])
    return (tensor[steps] - torch.from_numpy(golden.arrays[name])).abs().max().item() / facts["std"]


@contextmanager
def keep_outputs(places: dict[str, nn.Module]):
    """Give a dictionary that a forward pass fills with the outputs of modules."""
    seen: dict[str, torch.Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _, inputs, output, name=name: seen.__setitem__(name, output))
        for name, module in places.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def check_image(golden: SimpleNamespace, case: str, image: torch.Tensor, tolerance: float) -> None:
    """Compare an image in [0, 1] with the stored one in [-1, 1]."""
    assert stored_part(golden, f"{case}/output", image * 2 - 1) < tolerance


def check_inner(golden: SimpleNamespace, case: str, seen: dict[str, torch.Tensor]) -> None:
    errors = {name: stored_part(golden, f"{case}/{name}", tensor) for name, tensor in seen.items()}
    assert {name: error for name, error in errors.items() if not error < INNER_TOLERANCE} == {}


def check_codes(stored: np.ndarray, indices: torch.Tensor) -> None:
    np.testing.assert_array_equal(indices.flatten().numpy(), stored.flatten())


def check_names(net: nn.Module, layout: dict, prefix: str = "") -> None:
    """Compare names and shapes of all tensors with those of the published network."""
    state = net.state_dict()
    own = {published: list(state[name].shape) for name, published in published_names(net).items()}
    assert own == {prefix + name: shape for name, shape in layout["keys"].items()}
    shapes = {name: torch.Size(shape) for name, shape in own.items()}
    assert net.options == net.complete_options(layouts_of(net)[0].options(shapes))


def face_gmacs(build: Callable[[], nn.Module], **keywords: Any) -> float:
    """Count the 10^9 multiply-accumulates of restoring one face of 512 x 512 pixels, without memory."""
    with fakes(), torch.no_grad():
        net, image = build().eval(), torch.rand(1, 3, 512, 512)
        return multiply_adds(lambda: net(image, **keywords)) / 1e9


def save_lightning(
    path: Path, state: dict[str, torch.Tensor], classes: Sequence[str], monkeypatch: MonkeyPatch
) -> None:
    """Save a checkpoint as Lightning 1.0 wrote it: classes are the keys of its callbacks' states."""
    callbacks = {}
    for name in classes:
        module_name, _, class_name = name.rpartition(".")
        made = type(class_name, (), {"__module__": module_name})
        module = ModuleType(module_name)
        setattr(module, class_name, made)
        for i in range(module_name.count(".")):  # pickle imports a class before it writes its name
            package = module_name.rsplit(".", i + 1)[0]
            monkeypatch.setitem(sys.modules, package, ModuleType(package))
        monkeypatch.setitem(sys.modules, module_name, module)
        callbacks[made] = {"best_model_score": None}
    torch.save({"epoch": 3, "state_dict": state, "callbacks": callbacks, "optimizer_states": []}, path)
