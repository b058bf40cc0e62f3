"""The recipe of the golden vectors: weights and inputs from numpy's legacy generator, seeded by name.

A tensor's values depend on its published name and its shape alone. Standard normal numbers `a` become

* codebook (`...embedding.weight`): a;
* other `...weight` with two axes or more: a / √fan_in, fan_in being the product of all axes but the first;
* `...weight` with one axis (norms): 1 + 0.1 a;
* `...bias` with one axis: 0.1 a;
* anything else (beta, gamma, scale): 0.5 + 0.1 a.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vqcnir_arch.archs.published.layout import published_names


def golden_tensor(name: str, shape: Sequence[int]) -> Tensor:
    """Return the golden value of the tensor with this published name."""
    normal = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape)).astype(np.float32)
    if name.endswith("embedding.weight"):
        value = normal
    elif name.endswith("weight") and len(shape) > 1:
        value = normal / np.float32(np.prod(shape[1:], dtype=np.float64) ** 0.5)
    elif name.endswith("weight"):
        value = 1.0 + 0.1 * normal
    elif name.endswith("bias") and len(shape) == 1:
        value = 0.1 * normal
    else:
        value = 0.5 + 0.1 * normal
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def golden_state_dict(net: nn.Module) -> dict[str, Tensor]:
    """Return the golden weights of a network of this library, under their published names."""
    own = net.state_dict()
    return {name: golden_tensor(name, own[ours].shape) for ours, name in published_names(net).items()}


def golden_input(seed: int, shape: Sequence[int]) -> Tensor:
    """Return an input image of a golden case, in [0, 1)."""
    return torch.from_numpy(np.random.RandomState(seed).rand(*shape).astype(np.float32))


def golden_blocky_input(seed: int, shape: Sequence[int], block: int = 32) -> Tensor:
    """Return an input of the face networks' golden cases, in [0, 1): random blocks with a little noise.

    Noise alone gives them nearly constant features, and ties between codes.
    """
    batch, channels, height, width = shape
    random = np.random.RandomState(seed)
    blocks = random.rand(batch, channels, height // block, width // block).astype(np.float32)
    image = 0.9 * blocks.repeat(block, axis=2).repeat(block, axis=3) + 0.1 * random.rand(*shape).astype(np.float32)
    return torch.from_numpy(image.astype(np.float32))
