"""Losses in the feature space of a pretrained network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.precision import at_least_float32
from vqcnir_arch.errors import UserError
from vqcnir_arch.losses.vgg import VGGFeatures
from vqcnir_arch.registry import LOSS_REGISTRY, register


@register(LOSS_REGISTRY)
class VGG19PerceptualLoss(nn.Module):
    """L1 distance of VGG19 features, mean over elements, summed over layers (VQCNIR supplement eq. 5).

    The equation prints φ(x̂) + φ(x); the difference is meant.

    Args:
        layers: VGG19 layers; the default is the φ of the supplement's eq. 4.
        loss_weight: λ_per.
        weights: path of torchvision's VGG19 weights.
    """

    def __init__(
        self, layers: Sequence[str] = ("relu4_4",), loss_weight: float = 1.0, weights: str | None = None
    ) -> None:
        super().__init__()
        self.vgg = VGGFeatures(layers, weights)
        self.loss_weight = loss_weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare two batches of RGB images in [0, 1], [B, 3, H, W]."""
        of_prediction, of_target = self.vgg(prediction), self.vgg(target.detach())
        distances = [F.l1_loss(of_prediction[layer], of_target[layer]) for layer in self.vgg.layers]
        return self.loss_weight * sum(distances[1:], start=distances[0])


@register(LOSS_REGISTRY)
class VGG16PerceptualLoss(VGG19PerceptualLoss):
    """The same with VGG16 (half the arithmetic of VGG19 at these layers), each layer's features in units of their mean.

    Args:
        layers: VGG16 layers.
        loss_weight: weight of the loss.
        weights: path of torchvision's VGG16 weights.
    """

    def __init__(
        self,
        layers: Sequence[str] = ("relu1_2", "relu2_2", "relu3_3"),
        loss_weight: float = 1.0,
        weights: str | None = None,
    ) -> None:
        nn.Module.__init__(self)
        self.vgg = VGGFeatures(layers, weights, "VGG16")
        self.loss_weight = loss_weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare two batches of RGB images in [0, 1], [B, 3, H, W]."""
        of_prediction, of_target = self.vgg(prediction), self.vgg(target.detach())
        distances = [
            F.l1_loss(of_prediction[layer], of_target[layer]) / of_target[layer].abs().mean().clamp_min(1e-6)
            for layer in self.vgg.layers
        ]
        return self.loss_weight * torch.stack(distances).mean()


@register(LOSS_REGISTRY)
class LPIPSLoss(nn.Module):
    """LPIPS through pyiqa, which takes images in [0, 1] (FeMaSR's perceptual loss, in place of VGG19 features).

    Args:
        net: `vgg` (FeMaSR's) or `alex`.
        loss_weight: λ_per.
    """

    def __init__(self, net: Literal["vgg", "alex"] = "vgg", loss_weight: float = 1.0) -> None:
        super().__init__()
        if net not in ("vgg", "alex"):
            raise UserError(f"LPIPSLoss: net '{net}' is unknown (known: alex, vgg)")
        from vqcnir_arch.metrics.pyiqa_metric import create_metric

        self.lpips = create_metric("lpips-vgg" if net == "vgg" else "lpips", as_loss=True)
        self.lpips.requires_grad_(False)
        self.loss_weight = loss_weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare two batches of RGB images in [0, 1], [B, 3, H, W]."""
        return self.loss_weight * at_least_float32(self.lpips(prediction, target.detach())).mean()


@register(LOSS_REGISTRY)
class SemanticGuidedLoss(nn.Module):
    """MSE between the prior's semantic head and VGG19 relu4_4 of the image (VQCNIR supplement eq. 4).

    Args:
        loss_weight: λ_s.
        weights: path of torchvision's VGG19 weights.
    """

    layer = "relu4_4"  # as the code map at 1/8 of the image, 512 channels

    def __init__(self, loss_weight: float = 0.1, weights: str | None = None) -> None:
        super().__init__()
        self.vgg = VGGFeatures([self.layer], weights)
        self.loss_weight = loss_weight

    def forward(self, semantic: Tensor, image: Tensor) -> Tensor:
        """Compare the head's output, [B, 512, H/8, W/8], with the features of the RGB image in [0, 1]."""
        return self.loss_weight * F.mse_loss(semantic, self.vgg(image.detach())[self.layer])
