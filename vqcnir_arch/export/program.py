"""A restoration network as one `torch.export` graph of dynamic height and width."""

from __future__ import annotations

import copy
import logging
import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vqcnir_arch.archs.cpu import plain_operators
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.swin import SwinBlock
from vqcnir_arch.errors import UserError
from vqcnir_arch.version import __version__

OUTPUTS = ("image", "codes")


class Exported(nn.Module):
    """What goes into a file: image in; image out, not clamped, and the chosen codes where the quantizer chooses any.

    Padding and cropping stay outside. In a graph of symbolic sizes "not padded" and "padded" are two graphs: one that
    holds the padding is valid either for multiples of 8 or for all other sizes.
    """

    def __init__(self, net: VQNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """[1, 3, H, W] to [1, 3, H, W] and [1, H/8, W/8], H and W being multiples of `size_multiple`."""
        restored, codes = self.net.compute(image, return_codes=True)
        return (restored,) if codes.indices is None else (restored, codes.indices)


def size_multiple(net: VQNetwork) -> int:
    """Return what height and width of the exported network must be multiples of."""
    windows = [module.window for module in net.modules() if isinstance(module, SwinBlock)]
    return net.size_multiple * math.lcm(1, *windows)  # windows at the coarsest level pad inside the network


def describe(net: VQNetwork) -> str:
    """Name a network with its exchangeable parts."""
    blocks = {name: net.options.get(name) for name in ("quantizer", "enhancer", "fusion")}
    parts = [f"{name} {block['type']}" for name, block in blocks.items() if isinstance(block, dict)]
    return f"{type(net).__name__} with {', '.join(parts)}"


def metadata(net: VQNetwork, file_format: str) -> dict[str, str]:
    """Return what an exported file says of itself."""
    multiple = size_multiple(net)
    return {
        "arch": type(net).__name__,
        "network": describe(net),
        "format": file_format,
        "size_multiple": str(multiple),
        "input": f"image [1, 3, H, W], float32 RGB in [0, 1]; H and W multiples of {multiple}: mirror-pad, then crop",
        "scale": str(net.scale),
        "version": __version__,
    }


def export_program(net: VQNetwork, operator: bool = False, size: int | None = None) -> ExportedProgram:
    """Trace a restoration network with dynamic height and width.

    Args:
        net: a restoration network; it is left as it is.
        operator: trace torchvision's operator for deformable convolutions, instead of the sum through `grid_sample`.
        size: height and width that are traced, rounded up; default: eight times the multiple. Height and width stay
            dynamic.

    Returns:
        The program of `Exported`.

    Raises:
        UserError: the network has a part that cannot be traced.
    """
    wrapped = Exported(copy.deepcopy(net)).cpu().float().eval().requires_grad_(False)
    multiple = size_multiple(net)
    steps = max(3, math.ceil(size / multiple)) if size else 8  # torch.export takes 0 and 1 for constants
    # two different numbers: with a square the tracer might take height for width
    example = torch.rand(1, 3, steps * multiple, (steps + 1) * multiple)
    sizes = {2: multiple * Dim("height_steps", min=2), 3: multiple * Dim("width_steps", min=2)}
    try:
        with torch.no_grad(), plain_operators() if operator else nullcontext():
            return torch.export.export(wrapped, (example,), dynamic_shapes=({**sizes},), strict=False)
    except Exception as error:  # torch.export has dozens of error classes, all of them "this cannot be traced"
        logging.getLogger("vqcnir").debug("torch.export", exc_info=True)
        raise UserError(f"{describe(net)} cannot be exported: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
