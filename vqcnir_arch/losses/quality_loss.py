"""Two measures of image quality as losses: SSIM and PSNR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.precision import at_least_float32, without_autocast
from vqcnir_arch.registry import LOSS_REGISTRY, register

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def windows(size: int) -> Tensor:
    """Return the Gaussian windows of Wang et al. (2004) along an axis, one a row: [size - 10, size], of sum 1 each."""
    distance = torch.arange(size) - torch.arange(size - WINDOW + 1)[:, None] - WINDOW // 2
    weights = torch.exp(-distance.square() / (2 * SIGMA**2)) * (distance.abs() <= WINDOW // 2)
    return weights / weights.sum(1, keepdim=True)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean structural similarity of images [B, C, H, W] in [0, 1], H and W at least 11 (Wang et al. 2004).

    Windows lie inside the image, as in the authors' code; channels are averaged.
    """
    height, width = (windows(size).to(first) for size in first.shape[-2:])
    maps = torch.stack((first, second, first * first, second * second, first * second))
    # as matrix products: a convolution of one channel with eleven taps takes a CPU twenty times as long
    mean1, mean2, square1, square2, product = height @ maps @ width.t()
    covariance = product - mean1 * mean2
    variances = square1 - mean1.square() + square2 - mean2.square()
    luminance = (2 * mean1 * mean2 + C1) / (mean1.square() + mean2.square() + C1)
    return (luminance * (2 * covariance + C2) / (variances + C2)).mean()


@register(LOSS_REGISTRY)
class SSIMLoss(nn.Module):
    """1 - SSIM, beside an L1 loss: sharp edges count as much where the exposure is off.

    Args:
        loss_weight: weight of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare two batches of RGB images in [0, 1], [B, 3, H, W], H and W at least 11."""
        with without_autocast(prediction):
            return self.loss_weight * (1 - ssim(at_least_float32(prediction), at_least_float32(target.detach())))


@register(LOSS_REGISTRY)
class PSNRLoss(nn.Module):
    """-PSNR in dB, mean over images: an image whose exposure is guessed far off does not outweigh all others.

    NAFNet and HINet train with it in the place of L1.

    Args:
        loss_weight: weight of the loss; 0.01 gives gradients of L1's size at 20 dB.
        ceiling: dB of two equal images. Where some pairs are nearly equal already it decides how much they count: at 80
            a network learnt to change nothing, as those pairs gain more by it than all others lose.
    """

    def __init__(self, loss_weight: float = 1.0, ceiling: float = 60.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = 10 ** (-ceiling / 10)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare two batches of RGB images in [0, 1], [B, 3, H, W]."""
        with without_autocast(prediction):
            difference = at_least_float32(prediction) - at_least_float32(target.detach())
            return self.loss_weight * 10 * torch.log10(difference.square().mean(dim=(1, 2, 3)) + self.eps).mean()
