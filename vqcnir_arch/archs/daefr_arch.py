"""DAEFR: face restoration with two associated encoders, one per domain (ICLR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.face_autoencoder import FACE_CHANNELS, FaceAutoencoder, FaceEncoder, to_unit
from vqcnir_arch.archs.face_layers import SpatialAttention
from vqcnir_arch.archs.quantizers import Codes
from vqcnir_arch.archs.quantizers.nearest_code import nearest_codes
from vqcnir_arch.archs.start import start_from_prior, start_parts
from vqcnir_arch.registry import ARCH_REGISTRY, QUANTIZER_REGISTRY, build, register

FUSION_HEADS = 8


@register(ARCH_REGISTRY)
class DAEFR(FaceAutoencoder):
    """Restores aligned faces: two encoders see the degraded image, their fused feature chooses the codes.

    `encoder` comes from the prior of degraded faces, `hq_encoder` from that of clean ones, both after their
    association. `fixed_encoder` is the clean prior's before it: training takes the ground truth's codes from it. It and
    the two associated codebooks stand in the published file and here, but restoring does not compute with them.

    Default sizes are the published ones (152,151,235 parameters). It takes images of `image_size` alone, for the
    transformer's position embedding. No codebook ever has a gradient here.

    Args:
        channels, codebook_size, code_dim, norm_groups: as `FaceVQGANPrior`; equal to those of the priors.
        quantizer: as `CodeFormer`; it takes the fused feature.
        image_size: height and width of the images.
        prior: checkpoint of a `FaceVQGANPrior` of flavour `daefr` of clean faces (ours or the published
            `HQ_codebook.ckpt`): the codebook, G and `fixed_encoder`.
        hq_prior, lq_prior: the two associated priors, which start `hq_encoder` and `encoder`: for both a checkpoint of
            `AssociatedPriors` (ours or the published `Association_stage.ckpt`), or one of a `FaceVQGANPrior` each.
        freeze_prior: freeze after-quant and G; default: whether `prior` is given.

    Source: DAEFR (ICLR 2024) section 3; quantizers: SinCA appendix A.
    """

    has_target_codes = True
    runtime_options = ("prior", "freeze_prior", "hq_prior", "lq_prior")
    start_options = ("prior", "freeze_prior", "hq_prior", "lq_prior")

    def __init__(
        self,
        channels: Sequence[int] = FACE_CHANNELS,
        codebook_size: int = 1024,
        code_dim: int = 256,
        norm_groups: int = 32,
        quantizer: dict[str, Any] | None = None,
        image_size: int = 512,
        prior: str | None = None,
        hq_prior: str | None = None,
        lq_prior: str | None = None,
        freeze_prior: bool | None = None,
    ) -> None:
        super().__init__()
        channels = list(channels)
        self.remember_options(locals())
        self.fixed_size = image_size
        built = build(QUANTIZER_REGISTRY, self.options["quantizer"], codebook_size=codebook_size, code_dim=code_dim)
        self.build_autoencoder(channels, built, norm_groups, "daefr")
        self.hq_encoder = FaceEncoder(channels, code_dim, norm_groups, "daefr")
        self.hq_before_quant = nn.Conv2d(code_dim, code_dim, 1)
        self.fusion = SpatialAttention(code_dim, norm_groups, FUSION_HEADS, query_norm=True)
        self.fixed_encoder = FaceEncoder(channels, code_dim, norm_groups, "daefr").requires_grad_(False)
        self.fixed_before_quant = nn.Conv2d(code_dim, code_dim, 1).requires_grad_(False)
        self.draw_weights()
        for name in ("hq_codebook", "lq_codebook"):
            self.register_parameter(name, nn.Parameter(built.codebook.detach().clone(), requires_grad=False))

        start_from_prior(self, prior, freeze_prior)
        for domain, path, ours in (("hq", hq_prior, "hq_"), ("lq", lq_prior, "")):
            parts = {f"{ours}encoder": "encoder", f"{ours}before_quant": "before_quant"}
            parts[f"{domain}_codebook"] = "quantizer.codebook"
            start_parts(self, path, parts, self.prior_type, member=domain)

    def prior_parts(self) -> dict[str, str]:
        fixed = {"fixed_encoder": "encoder", "fixed_before_quant": "before_quant"}
        return {**fixed, **{name: name for name in ("quantizer.codebook", "after_quant", "generator")}}

    def float32_modules(self) -> list[nn.Module]:
        return [*super().float32_modules(), self.hq_encoder, self.hq_before_quant, self.fusion]

    def compute(self, x: Tensor, return_codes: bool = False, decode: bool = True) -> Any:
        """Restore faces; with `return_codes` give (image, codes), without `decode` (None, codes)."""
        x = x * 2 - 1
        feature = self.before_quant(self.encoder(x))
        hq_feature = self.hq_before_quant(self.hq_encoder(x))
        codes = self.quantizer(self.fusion(hq_feature, feature))
        image = to_unit(self.generator(self.after_quant(codes.output))) if decode else None
        return (image, codes) if return_codes or not decode else image

    @torch.no_grad()
    def target_codes(self, gt: Tensor) -> Codes:
        """Return the clean prior's codes of ground truths, [B, 3, image_size, image_size] in [0, 1]."""
        return nearest_codes(self.fixed_before_quant(self.fixed_encoder(gt * 2 - 1)), self.quantizer)
