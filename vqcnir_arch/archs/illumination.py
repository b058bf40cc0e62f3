"""One brightness curve for the whole image, chosen by a look at all of it."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.padding import is_symbol
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ARCH_REGISTRY, register

LUMA = (0.299, 0.587, 0.114)
DARKEST = 1e-3
"""Luma below which the gain is that of this luma: what is black stays black."""

SHADOW = 0.25
"""Luma at which `share` looks for what a shadow gains."""

LEVELS = 255
"""Steps of an 8-bit image: what is nowhere brighter than one is black."""


def thumbnail(x: Tensor, size: int) -> Tensor:
    """Return [B, 3, size, size] of [B, 3, H, W] images, each value the mean of what it covers: free of noise."""
    height, width = x.shape[-2:]
    if not (is_symbol(height) or is_symbol(width)):
        return F.adaptive_avg_pool2d(x, size)
    # an exporter would fix how many pixels a value covers to what it is at the size that is traced
    rows, columns = (covering(n, size, x) for n in (height, width))
    return rows @ x @ columns.t()


def covering(length: int, size: int, x: Tensor) -> Tensor:
    """Return the matrix [size, length] that averages an axis down to `size` values as `adaptive_avg_pool2d` does."""
    first = torch.arange(size, device=x.device) * torch.full((), length, device=x.device)
    position = torch.arange(length, device=x.device)
    last = first + torch.full((), length + size - 1, device=x.device)
    covers = (position >= (first // size)[:, None]) & (position < (last // size)[:, None])
    covers = covers.to(x.dtype)
    return covers / covers.sum(dim=1, keepdim=True)


def luma_of(x: Tensor) -> Tensor:
    """Return the luma of RGB images, [B, 3, H, W] to [B, 1, H, W]."""
    red, green, blue = (weight * channel for weight, channel in zip(LUMA, x.split(1, dim=1), strict=True))
    return red + green + blue


@register(ARCH_REGISTRY)
class IlluminationCurve(nn.Module):
    """Brighten images by one curve each, VQCNIR's eq. 6 on the luma of the image instead of on features.

    All channels of a pixel get the gain of its luma, so that the hue stays. How much light a scene had, a crop does not
    show: the curve comes from a thumbnail of the whole image. Ours; Zero-DCE estimates such curves per pixel. As a
    network of its own BasicSR's SRModel trains it on thumbnails, thousands of which cost what a few crops do.

    Args:
        iterations: n of eq. 6; one of them at most doubles what is dark.
        size: side of the thumbnail in pixels, a multiple of 16.
        width: channels of the first convolution.
        full_lift: what a luma of 0.25 must gain so that a network behind the curve has its full share in the image, see
            `share`; 0: it always has.
    """

    def __init__(self, iterations: int = 8, size: int = 64, width: int = 16, full_lift: float = 0) -> None:
        super().__init__()
        if iterations < 1 or size < 16 or size % 16:
            raise UserError(
                f"illumination: needs iterations from 1 and a size that 16 divides, got {iterations}, {size}"
            )
        if not 0 <= full_lift < 1:
            raise UserError(f"illumination: full_lift is at least 0 and below 1, got {full_lift}")
        self.size, self.full_lift = size, full_lift
        widths = (9, width, 2 * width, 4 * width, 4 * width)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU())
            for before, after in pairwise(widths)
        )
        seen = sum(widths[1:])
        self.head = nn.Sequential(nn.Linear(seen, 4 * width), nn.SiLU(), nn.Linear(4 * width, iterations))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A fresh curve changes nothing."""
        for tensor in self.head[2].parameters():
            nn.init.zeros_(tensor)

    def coefficients(self, small: Tensor) -> Tensor:
        """Return the curve's maps A_1..A_n, one number each in [-1, 1]: [B, 3, size, size] to [B, n]."""
        root = small.clamp(0, 1).sqrt()
        x = torch.cat((small, root, root.sqrt()), dim=1)  # roots: what is dark differs as well
        means = []
        for stage in self.stages:
            x = stage(x)
            means.append(x.mean(dim=(2, 3)))
        return torch.tanh(self.head(torch.cat(means, dim=1)))

    def choose(self, x: Tensor, small: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return each image's coefficients, [B, n], and its `share`; arguments as of `forward`."""
        small = thumbnail(x, self.size) if small is None else small
        coefficients = self.coefficients(small)
        return coefficients, self.share(coefficients, small)

    def apply_curve(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Brighten [B, 3, H, W] by [B, n] coefficients; every pixel by itself."""
        luma = luma_of(x).clamp(DARKEST, 1.0)
        y = luma
        for a in coefficients[:, :, None, None, None].unbind(1):
            y = y + a * y * (1 - y)  # eq. 6
        return x * (y / luma)

    def share(self, coefficients: Tensor, small: Tensor) -> Tensor:
        """Return how much of a restoration each image takes, 0 to 1, as [B, 1, 1, 1]; it grows with the light it needs.

        That is what the curve adds to a shadow or, if this is less, to the image's mean luma. So a photograph by day,
        and a white page, hardly change; a black picture, in which there is nothing, stays black.

        Args:
            coefficients: [B, n].
            small: thumbnails of the whole images, [B, 3, size, size].
        """
        if not self.full_lift:
            return coefficients.new_ones(len(coefficients), 1, 1, 1)
        luma = luma_of(small)
        means, brightest = luma.mean(dim=(2, 3), keepdim=True), luma.amax(dim=(2, 3), keepdim=True)
        seen = torch.cat((torch.full_like(means, SHADOW), means.clamp(SHADOW, 1.0)), dim=2)  # two gray pixels
        lift = (self.apply_curve(seen.expand(-1, 3, -1, -1), coefficients)[:, :1] - seen).amin(dim=2, keepdim=True)
        return (lift / self.full_lift).clamp(0, 1) * (brightest * LEVELS).clamp(0, 1)

    def forward(self, x: Tensor, small: Tensor | None = None) -> Tensor:
        """Brighten images.

        Args:
            x: [B, 3, H, W], whole images or parts of them.
            small: thumbnails of the whole images, [B, 3, size, size]; None: `x` are whole images.
        """
        return self.apply_curve(x, self.choose(x, small)[0])
