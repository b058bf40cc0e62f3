"""A network in float16 whose codes are those of float32."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from vqcnir_arch.archs import find_quantizers
from vqcnir_arch.archs.illumination import IlluminationCurve
from vqcnir_arch.archs.network import VQNetwork


def halve(net: VQNetwork) -> None:
    """Make all weights of a network float16 but those that decide its codes, for images in float32.

    Every layer computes in the type of its weights: its inputs are turned into that.
    """
    curves = [module for module in net.modules() if isinstance(module, IlluminationCurve)]
    deciding = [quantizer for quantizer in find_quantizers(net).values() if quantizer.output_kind != "features"]
    exact = {part for kept in chain(net.float32_modules(), deciding, curves) for part in kept.modules()}
    for module in net.modules():
        weights = list(module.parameters(recurse=False))
        if not weights:
            continue
        if module not in exact:
            for tensor in chain(weights, module.buffers(recurse=False)):
                tensor.data = tensor.data.half() if tensor.is_floating_point() else tensor.data
        module.register_forward_pre_hook(with_inputs_of(weights[0].dtype))


def with_inputs_of(dtype: torch.dtype) -> Any:
    """Return a hook that turns a layer's inputs into a type."""

    def turn(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)

    return turn
