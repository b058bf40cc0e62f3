"""A restoration network as one `torch.export` graph, of any height and width where the network takes any."""

from __future__ import annotations

import copy
import inspect
import logging
import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vqcnir_arch.archs import find_quantizers
from vqcnir_arch.archs.cpu import plain_operators
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.swin import SwinBlock
from vqcnir_arch.errors import UserError
from vqcnir_arch.export.half import halve
from vqcnir_arch.version import __version__

NEEDED_TORCH = "2.9"
"""Since then `torch.export` checks a condition on sizes when the file runs, where it cannot prove it."""


class Exported(nn.Module):
    """What goes into a file: image in; image out, not clamped, and the chosen codes where the quantizer chooses any."""

    def __init__(self, net: VQNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, w: Tensor | None = None) -> tuple[Tensor, ...]:
        """[1, 3, H, W], and w [1] where it is an input, to [1, 3, H·scale, W·scale] and each codebook's [1, h, w]."""
        keywords = {} if w is None else {"w": w}
        restored, codes = self.net(image, return_codes=True, **keywords)
        chosen = [each.indices for each in codes.per_codebook if each.indices is not None]
        return (restored.float(), *chosen)


def input_names(net: VQNetwork) -> list[str]:
    """Return the names of the inputs of an exported network."""
    return ["image", "w"] if net.has_fidelity_weight else ["image"]


def output_names(net: VQNetwork) -> list[str]:
    """Return the names of the outputs of an exported network: `codes`, or of several codebooks `codes_NAME`."""
    chosen = [name for name, quantizer in find_quantizers(net).items() if quantizer.output_kind != "features"]
    return ["restored", *(f"codes_{name}" if net.has_several_codebooks else "codes" for name in chosen)]


def smallest_side(net: VQNetwork) -> int:
    """Return the least height and width of an exported network: torch.export takes no axis of length 1 for a long one.

    So every map inside must have two positions, and two windows where a block of the enhancer has such.
    """
    blocks = getattr(net, "enhancer", nn.Module()).modules()
    windows = [block.window for block in blocks if isinstance(block, SwinBlock)]
    return net.size_multiple * math.lcm(1, *windows) + 1


def describe(net: VQNetwork) -> str:
    """Name a network with its exchangeable parts."""
    blocks = {name: net.options.get(name) for name in ("quantizer", "enhancer", "fusion")}
    parts = [f"{name} {block['type']}" for name, block in blocks.items() if isinstance(block, dict)]
    return f"{type(net).__name__} with {', '.join(parts)}"


def sizes_of(net: VQNetwork) -> str:
    """Say in words which sizes an exported network takes."""
    if net.fixed_size is not None:
        return f"{net.fixed_size} x {net.fixed_size} pixels alone"
    return f"any height and width from {smallest_side(net)} on"


def metadata(net: VQNetwork, form: str) -> dict[str, str]:
    """Return what a file says of itself."""
    weight = "; w [1], fidelity weight in [0, 1]" if net.has_fidelity_weight else ""
    return {
        "network": describe(net),
        "format": form,
        "input": f"image [1, 3, H, W], float32 RGB in [0, 1], {sizes_of(net)}{weight}",
        "outputs": ", ".join(output_names(net)),
        "padding": net.padding,
        "scale": str(net.scale),
        "version": __version__,
    }


def export_program(
    net: VQNetwork, operator: bool = False, size: int | None = None, precision: str = "fp32"
) -> ExportedProgram:
    """Trace a restoration network, with dynamic height and width where it takes any.

    Args:
        net: a restoration network; it is left as it is.
        operator: trace torchvision's operator for deformable convolutions, instead of the sum through `grid_sample`.
        size: height that is traced; default: eight times the multiple. Height and width stay dynamic.
        precision: `fp32`; `fp16` as in `halve`.

    Returns:
        The program of `Exported`.

    Raises:
        UserError: the network has a part that cannot be traced.
    """
    wrapped = Exported(copy.deepcopy(net)).cpu().float().eval().requires_grad_(False)
    if precision == "fp16":
        halve(wrapped.net)
    least = smallest_side(net)
    # two different numbers: with a square the tracer might take height for width
    height = net.fixed_size or max(size or 8 * (least - 1) + 1, least + 1)
    example = [torch.rand(1, 3, height, net.fixed_size or height + least - 1)]
    shapes: list[dict[int, Dim]] = [{} if net.fixed_size else {2: Dim("height", min=least), 3: Dim("width", min=least)}]
    if net.has_fidelity_weight:
        example.append(torch.ones(1))
        shapes.append({})
    if "prefer_deferred_runtime_asserts_over_guards" not in inspect.signature(torch.export.export).parameters:
        raise UserError(f"export needs torch {NEEDED_TORCH} or newer, this is {torch.__version__}")
    try:
        with torch.no_grad(), plain_operators() if operator else nullcontext():
            return torch.export.export(
                wrapped,
                tuple(example),
                dynamic_shapes=tuple(shapes),
                strict=False,
                # of a padded size, 8·⌊(H + 7) / 8⌋, it cannot prove what it can of 8·h
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:  # torch.export has dozens of error classes, all of them "this cannot be traced"
        logging.getLogger("vqcnir").debug("torch.export", exc_info=True)
        raise UserError(f"{describe(net)} cannot be exported: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of what an error came from that says something; exporters wrap it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
