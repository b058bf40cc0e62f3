"""The one padding rule: every network pads and crops through these two functions."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored_indices(size: int, target: int, device: torch.device) -> Tensor:
    """Return `target` indices into an axis of length `size` that walk to its end and back, repeating the edge.

    For size 3 and target 8: 0 1 2 2 1 0 0 1.
    """
    period = torch.full((), 2 * size, device=device)  # a tensor: the ONNX exporter takes no symbol there
    position = torch.arange(target, device=device) % period
    return torch.minimum(position, period - 1 - position)


def pad_bottom_right(x: Tensor, multiple: int, always: bool = False) -> Tensor:
    """Pad an image batch at the bottom and the right by mirroring with repeated edge.

    Args:
        x: images, [B, C, H, W].
        multiple: H and W of the result are multiples of this.
        always: go to the *next* multiple even where the size fits already. Together with `multiple=64` this is the
            rule of the published test code, which pads 64 to 128.

    Returns:
        [B, C, H', W'] with the input in its top left corner; `x` itself if nothing is to be added.
    """
    height, width = x.shape[-2:]
    extra = multiple if always else multiple - 1  # of positive numbers alone: ONNX divides towards zero
    new_height = (height + extra) // multiple * multiple
    new_width = (width + extra) // multiple * multiple
    if not stays(height, new_height):
        x = x.index_select(-2, mirrored_indices(height, new_height, x.device))
    if not stays(width, new_width):
        x = x.index_select(-1, mirrored_indices(width, new_width, x.device))
    return x


def crop_bottom_right(x: Tensor, height: int, width: int) -> Tensor:
    """Undo `pad_bottom_right`: return the top left `height` × `width` part of [B, C, H', W']."""
    if not (is_symbol(height) or is_symbol(width)):
        return x[..., :height, :width]
    # a slice would ask whether it ends before the end
    for axis, size in ((-2, height), (-1, width)):
        if not stays(x.shape[axis], size):
            x = x.index_select(axis, torch.arange(size, device=x.device))
    return x


def is_symbol(size: int) -> bool:
    """Whether a size stands for any number, in a graph that is exported for all sizes."""
    return isinstance(size, torch.SymInt)


def stays(size: int, new: int) -> bool:
    """Whether two sizes are equal; of symbols whether they always are, so that one graph holds for all sizes."""
    if is_symbol(size) or is_symbol(new):
        from torch.fx.experimental.symbolic_shapes import statically_known_true  # slow to import

        return statically_known_true(size == new)
    return size == new
