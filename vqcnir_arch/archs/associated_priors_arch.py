"""The two priors that DAEFR associates: of clean and of degraded faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.face_autoencoder import FACE_CHANNELS
from vqcnir_arch.archs.face_vqgan_prior_arch import FaceVQGANPrior
from vqcnir_arch.archs.hub_network import HubNetwork
from vqcnir_arch.archs.quantizers import Codes
from vqcnir_arch.archs.start import WHOLE, start_parts
from vqcnir_arch.registry import ARCH_REGISTRY, register

FIRST_SCALE = math.log(1 / 0.07)


class AssociatedCodes(NamedTuple):
    """Codes of clean and degraded faces, in this order, and what their features' cosines are multiplied by, exp(s)."""

    per_codebook: tuple[Codes, Codes]
    scale: Tensor


@register(ARCH_REGISTRY)
class AssociatedPriors(HubNetwork):
    """Two `FaceVQGANPrior`s of flavour `daefr` in one network, so that one checkpoint holds both, as the published one.

    Args:
        channels, codebook_size, code_dim, norm_groups, padding: as `FaceVQGANPrior`.
        hq_prior, lq_prior: their checkpoints, ours or published, to start from.
        train_scale: let s train; by default it stays as it is, as published: there no optimiser has it.

    Source: DAEFR (ICLR 2024) section 3.2.
    """

    is_prior = True
    runtime_options = ("padding", "hq_prior", "lq_prior", "train_scale")
    start_options = ("hq_prior", "lq_prior", "train_scale")

    def __init__(
        self,
        channels: Sequence[int] = FACE_CHANNELS,
        codebook_size: int = 1024,
        code_dim: int = 256,
        norm_groups: int = 32,
        hq_prior: str | None = None,
        lq_prior: str | None = None,
        train_scale: bool = False,
        padding: str = "exact",
    ) -> None:
        super().__init__()
        channels = list(channels)
        self.remember_options(locals())
        sizes = {name: value for name, value in self.options.items() if name != "padding"}
        self.hq = FaceVQGANPrior(flavour="daefr", **sizes)
        self.lq = FaceVQGANPrior(flavour="daefr", **sizes)
        self.size_multiple = self.hq.size_multiple
        self.logit_scale = nn.Parameter(torch.tensor(FIRST_SCALE), requires_grad=train_scale)
        self.draw_weights()
        for prior, path in ((self.hq, hq_prior), (self.lq, lq_prior)):
            start_parts(prior, path, WHOLE, "FaceVQGANPrior")

    def compute(self, x: Tensor, lq: Tensor | None = None, return_codes: bool = False) -> Any:
        """Reconstruct clean faces.

        Args:
            x: [B, 3, H, W], clean faces.
            lq: their degraded versions. With them the batch of 2B reconstructions is clean faces, then degraded ones.
            return_codes: give (images, `AssociatedCodes`); needs `lq`.
        """
        if lq is None:
            return self.hq(x)
        reconstructed, codes = zip(self.hq(x, return_codes=True), self.lq(lq, return_codes=True), strict=True)
        images = torch.cat(reconstructed)
        return (images, AssociatedCodes(codes, self.logit_scale.exp())) if return_codes else images

    def checkpointed_modules(self) -> list[nn.Module]:
        return [*self.hq.checkpointed_modules(), *self.lq.checkpointed_modules()]
