"""What a network does without its feature fusion (SinCA section 4.3 and figure 4); one function per host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vqcnir_arch.analysis.probe import Edits


def zero(inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """Return zeros in the shape of a module's output."""
    return torch.zeros_like(output)


def only_d(inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Any]) -> tuple[Tensor, Tensor, Any]:
    """Return what a VQCNIR fusion gives if it fuses nothing: x_d twice; what goes to the next level stays."""
    return inputs[0], inputs[0], output[2]


def vqcnir(net: nn.Module) -> dict[str, Edits]:
    """Return VQCNIR's variants without fusion, none of them trained again.

    The image is out(G's last feature + D's last feature), D taking G's features through the fusion modules.

    * `without D`: D's last feature is zero, so the input reaches the image through the quantizer alone: what SinCA's
      figure 4 calls «w/o f».
    * `without G`: all features of G are zero, in the fusion modules and in the final sum.
    * `fusion modules off`: each gives D's feature x_d in place of both its outputs, unwarped, so G enters by the final
      sum alone. Nearest to what `fusion: {type: none}` trains, whose residual blocks take x_d alone.
    """
    variants: dict[str, Edits] = {
        "without D": {net.decoder: zero},
        "without G": dict.fromkeys([net.after_quant, *net.generator], zero),
    }
    if len(net.decoder.fusions):
        variants["fusion modules off"] = dict.fromkeys(net.decoder.fusions.values(), only_d)
    return variants


def codeformer(net: nn.Module) -> dict[str, Edits]:
    """Return CodeFormer's variant without fusion, which is its fidelity weight 0."""
    return {"w = 0": dict.fromkeys(net.fusions.values(), lambda inputs, output: inputs[1])}


def code_grid_alone(inputs: tuple[Any, ...], output: list[Tensor]) -> list[Tensor]:
    """Return the first of an encoder's features, that of the code grid."""
    return output[:1]


def swin_host(net: nn.Module) -> dict[str, Edits]:
    """Return the variant of FeMaSR and AdaCode, not trained again: nothing is added to G's levels (SinCA figure 4)."""
    return {"without features": {net.encoder: code_grid_alone}} if net.feature_fusion else {}


VARIANTS: dict[str, Callable[[nn.Module], dict[str, Edits]]] = {
    "VQCNIR": vqcnir,
    "FeMaSR": swin_host,
    "AdaCode": swin_host,
    "CodeFormer": codeformer,
}
"""By class of the network; the first variant of each is SinCA's: the input reaches the image as codes alone."""


def fusion_variants(net: nn.Module) -> dict[str, Edits]:
    """Return the variants of a network, title to edits; empty where none is known for its class."""
    for cls in type(net).__mro__:
        if cls.__name__ in VARIANTS:
            return VARIANTS[cls.__name__](net)
    return {}
