"""DAEFR's stage II: two priors and the association of their features."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from basicsr.archs import build_network
from torch import Tensor, nn

from vqcnir_arch.archs.associated_priors_arch import AssociatedCodes
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.models.batch import Batch
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.registry import ARCH_REGISTRY, MODEL_REGISTRY, names, register


class TwoDiscriminators(nn.Module):
    """One for each half of the batch: reconstructions of clean, then of degraded faces."""

    def __init__(self, hq: nn.Module, lq: nn.Module) -> None:
        super().__init__()
        self.hq, self.lq = hq, lq

    def forward(self, x: Tensor) -> Tensor:
        clean, degraded = x.chunk(2)
        return torch.cat((self.hq(clean), self.lq(degraded)))


@register(MODEL_REGISTRY)
class VQAssociationModel(VQModel):
    """Trains `AssociatedPriors`: clean and degraded faces are reconstructed, each by its prior, with features alike.

    Loss blocks in `train:` beside those on the images: `codebook_opt`, `association_opt`. Every loss on images or codes
    is the sum over the two priors. `network_d` is built twice. Published with four optimisers; here `optim_g` has both
    priors and `optim_d` both discriminators, which for Adam is the same.
    """

    own_losses = ("codebook_opt", "association_opt")
    trains_prior = True

    @classmethod
    def contradictions(cls, options: dict[str, Any]) -> list[str]:
        found = super().contradictions(options)
        train = options["train"]
        found += [f"train: {key} is missing: nothing else trains the codebooks or associates the priors"
                  for key in cls.own_losses if not train.get(key)]  # fmt: skip
        if train.get("grad_accumulation", 1) != 1:
            found.append("train: grad_accumulation: the association compares all faces of a batch: use 1")
        return found

    @classmethod
    def unfit_network(cls, options: dict[str, Any]) -> list[str]:
        name = options["network_g"].get("type")
        if name not in names(ARCH_REGISTRY) or name == "AssociatedPriors":
            return []
        return [f"network_g: {cls.__name__} trains AssociatedPriors, not a {name}"]

    def new_discriminator(self) -> nn.Module:
        return TwoDiscriminators(*(build_network(self.opt["network_d"]) for _ in range(2)))

    def generator_forward(self, batch: Batch) -> tuple[Tensor, AssociatedCodes, OrderedDict[str, Tensor]]:
        images, codes = self.net_g(batch.gt, lq=batch.lq, return_codes=True)
        hq, lq = codes.per_codebook
        losses = OrderedDict(
            l_codebook=sum(self.losses["codebook_opt"](c.features, c.quantized) for c in codes.per_codebook),
            l_associate=self.losses["association_opt"](hq.features, lq.features, codes.scale),
        )
        return images, codes, losses

    def judged_networks(self) -> list[VQNetwork]:
        net = self.get_bare_model(self.net_g)
        return [net.hq, net.lq]

    def losses_of_image(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        net_d = self.get_bare_model(self.net_d)
        judges = [net_d.hq, net_d.lq] if net_d is not None else [None, None]
        halves = zip(output.chunk(2), (batch.gt, batch.lq), self.judged_networks(), judges, strict=True)
        found = [self.losses_between(image, target, judge, prior) for image, target, prior, judge in halves]
        return {name: found[0][name] + found[1][name] for name in found[0]}

    def real_images(self, batch: Batch) -> Tensor:
        return torch.cat((batch.gt, batch.lq))
