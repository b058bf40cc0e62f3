"""The GAN of a training: what the discriminator says of restored images, and how it learns."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.models.accumulation import Accumulation, mean_of
from vqcnir_arch.models.precision import Precision


class GAN:
    """Both players' losses.

    Args:
        loss: BasicSR's, of `gan_opt`.
        net_d: the discriminator, [B, 3, H, W] to scores.
        start: last iteration without it, `gan_start_iter`.
        largest_weight: of the adaptive weight, `adaptive_gan_weight`; None: the loss has its own weight alone.
        precision, accumulation: of the training.

    Attributes:
        weight: the last adaptive weight; None while there was none.
    """

    def __init__(
        self,
        loss: nn.Module,
        net_d: nn.Module,
        start: int,
        largest_weight: float | None,
        precision: Precision,
        accumulation: Accumulation,
    ) -> None:
        self.loss = loss
        self.net_d = net_d
        self.start = start
        self.largest_weight = largest_weight
        self.weight: Tensor | None = None
        self.precision = precision
        self.accumulation = accumulation

    def generator_loss(self, output: Tensor, judge: nn.Module, others: Collection[Tensor], net: VQNetwork) -> Tensor:
        """Return the generator's loss of restored images.

        Args:
            output: [B, 3, H, W].
            judge: the discriminator, or the part of it that these images concern.
            others: the other losses of the same images, with which the adaptive weight compares.
            net: the network that made them.
        """
        loss = self.loss(judge(output).float(), True, is_disc=False)
        if self.largest_weight:
            unweighted = loss / self.loss.loss_weight
            self.weight = gradient_ratio(sum(others), unweighted, net.adaptive_layer().weight, self.largest_weight)
            loss = loss * self.weight
        return loss

    def discriminator_losses(self, real: Tensor, restored: Tensor) -> dict[str, Tensor]:
        """Return the loss, and the mean score, of real and of restored images; add the gradients."""
        self.net_d.requires_grad_(True)
        found = {}
        for name, images, is_real in (("real", real, True), ("fake", restored, False)):
            parts = []
            for (micro_batch,) in self.accumulation.split(images):
                with self.precision.autocast():
                    prediction = self.net_d(micro_batch).float()
                    loss = self.loss(prediction, is_real, is_disc=True)
                self.precision.backward(self.accumulation.share(loss))
                parts.append({f"l_d_{name}": loss.detach(), f"out_d_{name}": prediction.detach().mean()})
            found.update(mean_of(parts))
        return found


def check_adaptive_layer(net: VQNetwork) -> None:
    """Raise `UserError` where the layer at which the adaptive weight compares gradients is frozen."""
    layer = net.adaptive_layer()
    if not layer.weight.requires_grad:
        name = next(name for name, module in net.named_modules() if module is layer)
        raise UserError(
            f"train: adaptive_gan_weight compares gradients at {name}, which makes the image and is frozen in this "
            f"{type(net).__name__}: leave adaptive_gan_weight out, or use network_g: freeze_prior: false"
        )


def gradient_ratio(others: Tensor, gan: Tensor, weight: Tensor, largest: float) -> Tensor:
    """Return ‖∇ others‖ / ‖∇ gan‖ at a layer's weight, at most `largest`: VQGAN's adaptive weight of the GAN loss."""
    of_others, of_gan = (torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (others, gan))
    return (of_others.norm() / (of_gan.norm() + 1e-4)).clamp(0, largest).detach()
