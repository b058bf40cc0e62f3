"""Depth-wise convolutions in forms that are faster on a CPU, in training above all."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight

from vqcnir_arch.archs.cpu import LAST, is_fast

FAST_COLUMNS = 3
"""Widest kernel for whose weights' gradient a CPU has a fast kernel; one more column takes ten times as long."""


class DepthwiseConv2d(nn.Conv2d):
    """Depth-wise convolution of stride 1 that keeps the size; the kernel is odd."""

    def __init__(self, channels: int, kernel_size: int, dilation: int = 1) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x) if is_fast(x) and self.dilation == (1, 1) else super().forward(x)

    def convolve(self, x: Tensor) -> Tensor:
        """Convolve without the dilation."""
        is_small = min(x.shape[-2:]) < self.kernel_size[0]
        if is_small or torch.is_autocast_enabled("cpu"):  # which looks into no function of ours
            return F.conv2d(x, self.weight, self.bias, padding=self.kernel_size[0] // 2, groups=self.groups)
        return DepthwiseConvolution.apply(x, self.weight, self.bias)


class DilatedDepthwiseConv2d(DepthwiseConv2d):
    """The same with a dilation.

    A CPU has no fast kernel for the dilation: it is done as an ordinary convolution of each of dilation² subsampled
    images.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not is_fast(x):
            return super().forward(x)
        step = self.dilation[0]
        batch, channels, height, width = x.shape
        x = F.pad(x, (0, -width % step, 0, -height % step))  # zeros, as beyond the border
        rows, columns = x.shape[-2] // step, x.shape[-1] // step
        x = x.permute(0, 2, 3, 1).reshape(batch, rows, step, columns, step, channels)
        x = x.permute(0, 2, 4, 1, 3, 5).reshape(-1, rows, columns, channels).permute(0, 3, 1, 2)
        x = self.convolve(x)
        x = x.permute(0, 2, 3, 1).reshape(batch, step, step, rows, columns, channels)
        x = x.permute(0, 3, 1, 4, 2, 5).reshape(batch, rows * step, columns * step, channels)
        return x.permute(0, 3, 1, 2)[..., :height, :width]


class DepthwiseConvolution(torch.autograd.Function):
    """Depth-wise convolution of [B, C, H, W] that keeps the size, with weights [C, 1, k, k] and biases [C].

    The gradient of the weights is found some columns of the kernel at a time: it pays from maps of the kernel's size.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            input_gradient(gradient, weight) if of_x else None,
            weight_gradient(x, gradient, weight) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
        )


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the input: the convolution with the turned kernel."""
    return F.conv2d(gradient, weight.flip(2, 3), padding=weight.shape[-1] // 2, groups=len(weight))


def weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the weights for input and gradient [B, C, H, W]."""
    size, width = weight.shape[-1], x.shape[-1]
    x = F.pad(x, (size // 2,) * 4)
    parts: list[Tensor] = []
    for columns in weight.split(FAST_COLUMNS, dim=3):
        first = sum(part.shape[3] for part in parts)
        of_columns = x[..., first : first + width + columns.shape[3] - 1].contiguous(memory_format=LAST)
        parts.append(conv2d_weight(of_columns, columns.shape, gradient, groups=len(weight)))
    return torch.cat(parts, dim=3)
