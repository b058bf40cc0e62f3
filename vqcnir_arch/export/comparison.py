"""An exported file against the network itself."""

from __future__ import annotations

import torch
from torch import Tensor

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.export.formats import Written
from vqcnir_arch.export.program import Exported, smallest_side

MOST_DIFFERENCE = {"fp32": 1e-3, "fp16": 3e-2}
"""Largest difference to eager PyTorch, relative to the result's standard deviation, that rounding explains."""
DARK = 0.2
"""Brightest value of the noise."""
LARGE = 80
"""The largest image has at least about this height and width: more than the thumbnail of an illumination curve."""
MOST_CODES = 0.01
"""Largest share of codes that may differ: those whose two nearest codes are equally near but for rounding."""


def compared_inputs(net: VQNetwork, written: Written) -> list[tuple[Tensor, ...]]:
    """Return the inputs that are compared: dark noise of odd sizes, other than the one that was traced.

    A network with an illumination curve that knows day from night leaves bright images as they are.
    """
    generator = torch.Generator().manual_seed(0)
    if net.fixed_size is not None:
        sizes = [(net.fixed_size, net.fixed_size)] * (3 if net.has_fidelity_weight else 1)
    else:
        step = smallest_side(net) - 1
        large = (max(5 * step, LARGE) + 1, max(3 * step, LARGE) - 1)
        sizes = [(step + 1, 2 * step + 1), (3 * step - 1, 2 * step), large]
    inputs = [(DARK * torch.rand(1, 3, *size, generator=generator),) for size in sizes]
    if net.has_fidelity_weight:
        inputs = [(image, torch.tensor([w])) for (image,), w in zip(inputs, (0.5, 0.0, 1.0), strict=True)]
    return inputs[:1] if written.is_slow else inputs


@torch.inference_mode()
def compare(net: VQNetwork, written: Written, inputs: tuple[Tensor, ...], precision: str = "fp32") -> str:
    """Compare a written file with the network itself; return a line that says how they differ.

    Raises:
        UserError: they differ by more than rounding.
    """
    expected, *codes = Exported(net)(*inputs)
    restored, *indices = written.run(*inputs)
    height, width = inputs[0].shape[-2:]
    line = f"{width} x {height}" + "".join(f", w {w.item():g}" for w in inputs[1:])
    if restored.shape != expected.shape:
        shapes = f"{list(restored.shape)} instead of {list(expected.shape)}"
        raise UserError(f"the exported network gives another size ({line}: {shapes}): nothing is written")
    worst = (restored - expected).abs().max().item()
    line += f": largest difference {worst:.1e}"
    total = sum(each.numel() for each in codes)
    differing = sum(int((mine != theirs).sum()) for mine, theirs in zip(codes, indices, strict=True))
    if codes:
        line += f", codes {total - differing} equal, {differing} differing"
    if differing > MOST_CODES * total:
        raise UserError(f"the exported network chooses other codes ({line}): nothing is written")
    # one other code changes the image far and wide, through the norms: then the codes are what can be judged
    if not worst <= MOST_DIFFERENCE[precision] * max(1.0, expected.std().item()) and not differing:
        raise UserError(f"the exported network gives another result ({line}): nothing is written")
    return line
