"""Modulated deformable convolution (DCNv2) without a compiled extension."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs import cpu
from vqcnir_arch.archs.precision import at_least_float32, without_autocast
from vqcnir_arch.errors import UserError

TAPS = 9  # 3x3
COLUMN_BYTES = 8 * 2**20
"""Size of the column buffer. Near a core's cache it is twice as fast as one for the whole image."""


def deform_conv2d_grid_sample(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute a modulated 3×3 deformable convolution as `grid_sample` and one matrix product, some rows at a time.

    The same sum as `torchvision.ops.deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)`, corners outside
    the image counting as zero, but several times faster on a CPU, where torchvision's operator runs on one core.
    Where a gradient is wanted the columns of all rows are kept, before and after the mask (18·C numbers per pixel).

    Args:
        x: features, [B, C, H₀, W].
        offset: [B, 2·G·9, H, W], for each offset group and tap (row-major) dy, then dx, in pixels.
        mask: [B, G·9, H, W].
        weight: [C', C, 3, 3].
        bias: [C'].

    Returns:
        [B, C', H, W]. H is H₀, or where only some rows are wanted, theirs, with offsets that count from the first of x.
    """
    batch, channels = x.shape[:2]
    width = offset.shape[-1]
    groups = mask.shape[1] // TAPS
    x = x.reshape(batch * groups, channels // groups, *x.shape[-2:])
    if torch.compiler.is_compiling():
        return deformed_rows(x, offset, mask, weight, bias, 0)  # a loop over rows would fix the height
    rows = max(1, COLUMN_BYTES // (x.element_size() * TAPS * batch * channels * width))
    parts = enumerate(zip(offset.split(rows, dim=2), mask.split(rows, dim=2), strict=True))
    return torch.cat([deformed_rows(x, *part, weight, bias, i * rows) for i, part in parts], dim=2)


def deformed_rows(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, first: int) -> Tensor:
    """Compute some rows of the deformable convolution.

    Args:
        x: the offset groups' channels, [B·G, C/G, H₀, W].
        offset: of these rows, [B, 2·G·9, h, W].
        mask: of these rows, [B, G·9, h, W].
        weight: [C', C, 3, 3].
        bias: [C'].
        first: number of the first of the rows.

    Returns:
        [B, C', h, W] in channels_last format.
    """
    count, group_channels, input_height, _ = x.shape
    batch, _, height, width = mask.shape
    offset = offset.contiguous().view(count, TAPS, 2, height, width)

    tap = torch.arange(TAPS, device=x.device, dtype=x.dtype).view(TAPS, 1, 1)
    row = torch.arange(first, first + height, device=x.device, dtype=x.dtype).view(1, height, 1) + (tap // 3 - 1)
    column = torch.arange(width, device=x.device, dtype=x.dtype).view(1, 1, width) + (tap % 3 - 1)
    # pixel centres to grid_sample's [-1, 1] with align_corners=False: -1 and 1 are the outer edges of the border pixels
    grid_y = torch.add((2 * row + 1) / input_height - 1, offset[:, :, 0], alpha=2 / input_height)
    grid_x = torch.add((2 * column + 1) / width - 1, offset[:, :, 1], alpha=2 / width)
    grid = torch.stack((grid_x, grid_y), dim=-1).view(count, TAPS * height, width, 2)

    sampled = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    sampled = sampled.view(count, group_channels, TAPS, height * width)
    sampled = sampled * mask.reshape(count, 1, TAPS, height * width)
    columns = sampled.view(batch, -1, height * width)
    # not matmul, which would copy the columns to turn them
    out = torch.baddbmm(bias, columns.transpose(1, 2), weight.flatten(1).t().expand(batch, -1, -1))
    return out.view(batch, height, width, -1).permute(0, 3, 1, 2)


def offset_and_mask(prediction: Tensor) -> tuple[Tensor, Tensor]:
    """Split what `DeformConv2d.conv_offset` gives, [B, 3·G·9, H, W]: offsets [B, 2·G·9, H, W], mask [B, G·9, H, W]."""
    split = prediction.shape[1] // 3
    return prediction[:, : 2 * split], prediction[:, 2 * split :].sigmoid()


class DeformConv2d(nn.Module):
    """3×3 modulated deformable convolution whose offsets and mask one convolution predicts from a guide feature.

    On a GPU this is torchvision's operator, on a CPU the same sum through `grid_sample`.

    Args:
        channels: channels of input and output.
        offset_groups: number of channel groups that have their own offsets and mask.
        guide_channels: channels of the guide; None: as many as the input.
        guide_kernel: size of the convolution that predicts offsets and mask.

    Source: VQCNIR eq. 13; initialised as in the published network (offsets 0, mask 0.5).
    """

    def __init__(
        self, channels: int, offset_groups: int = 4, guide_channels: int | None = None, guide_kernel: int = 3
    ) -> None:
        super().__init__()
        if offset_groups < 1 or channels % offset_groups:
            raise UserError(f"DBCA: offset_groups {offset_groups} does not divide {channels} channels")
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        self.conv_offset = nn.Conv2d(
            guide_channels or channels, 3 * offset_groups * TAPS, guide_kernel, padding=guide_kernel // 2
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as the published network does; a fresh layer samples where a plain convolution does."""
        bound = 1 / math.sqrt(self.weight.shape[1] * TAPS)
        nn.init.uniform_(self.weight, -bound, bound)
        for tensor in (self.bias, *self.conv_offset.parameters()):
            nn.init.zeros_(tensor)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Deform `x`, [B, C, H, W], by offsets predicted from `guide`, [B, C_guide, H, W]."""
        # sampling positions need float32: in bfloat16 those beyond pixel 256 would be even numbers
        tensors = (x, self.conv_offset(guide), self.weight, self.bias)
        wide, prediction, weight, bias = (at_least_float32(tensor) for tensor in tensors)
        offset, mask = offset_and_mask(prediction)
        with without_autocast(x):
            if x.device.type == "cpu" and cpu.is_enabled():
                out = deform_conv2d_grid_sample(wide, offset, mask, weight, bias)
            else:
                from torchvision.ops import deform_conv2d  # a second to import, which a CPU does not need

                out = deform_conv2d(wide, offset, weight, bias, padding=1, mask=mask)
        return out.to(x.dtype)
