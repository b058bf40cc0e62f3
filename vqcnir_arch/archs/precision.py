"""What half precision, by autocast or of a whole network, must not touch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from operator import mul
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def at_least_float32(x: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32, for what autocast must not touch; wider numbers as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off on a tensor's device.

    Where it is off already nothing is done, so that an exported graph has no trace of it: torch 2.6 cannot save one.
    """
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def in_float32(module: nn.Module, *inputs: Tensor) -> Any:
    """Call a module in float32, whatever autocast and the precision of its weights say; in float64 where they are."""
    wide = {name: at_least_float32(weight) for name, weight in module.named_parameters()}
    inputs = tuple(at_least_float32(x) for x in inputs)
    with without_autocast(inputs[0]):
        if all(wide[name] is weight for name, weight in module.named_parameters()):
            return module(*inputs)
        return functional_call(module, wide, inputs)


def layer_of_product(layer: nn.Module, *factors: Tensor) -> Any:
    """Return `layer(a·b·...)`; in float32 where the factors are float16, which has no room for products of features."""
    if factors[0].dtype == torch.float16:
        return in_float32(layer, reduce(mul, (factor.float() for factor in factors)))
    return layer(reduce(mul, factors))
