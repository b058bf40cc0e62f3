"""DAEFR: face restoration with two associated encoders, one per domain (ICLR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.associated_priors_arch import AssociatedPriors
from vqcnir_arch.archs.face_autoencoder import FACE_CHANNELS, FaceAutoencoder, FaceEncoder, to_unit
from vqcnir_arch.archs.face_layers import SpatialAttention
from vqcnir_arch.archs.face_published import CODE_PREDICTION_NAMES, DAEFR_NAMES, DAEFR_STACKS, daefr_channels
from vqcnir_arch.archs.quantizers import Codes
from vqcnir_arch.archs.quantizers.nearest_code import nearest_codes
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
    prior_parts: ClassVar[dict[str, str]] = {
        "fixed_encoder": "encoder",
        "fixed_before_quant": "before_quant",
        "after_quant": "after_quant",
        "generator": "generator",
    }
    published_stacks: ClassVar[dict[str, str]] = {
        **DAEFR_STACKS,
        "hq_encoder": "vqvae.HQ_encoder",
        "fixed_encoder": "vqvae.Fixed_encoder",
    }
    published_names = (
        *CODE_PREDICTION_NAMES,
        *DAEFR_NAMES,
        (r"^hq_before_quant\.", "vqvae.HQ_quant_conv."),
        (r"^fixed_before_quant\.", "vqvae.Fixed_quant_conv."),
        (r"^quantizer\.codebook$", "vqvae.Fixed_quantize.embedding.weight"),
        (r"^hq_codebook$", "vqvae.HQ_quantize.embedding.weight"),
        (r"^lq_codebook$", "vqvae.LQ_quantize.embedding.weight"),
        (r"^fusion\.norm\.", "cross_attention.norm1."),
        (r"^fusion\.query_norm\.", "cross_attention.norm2."),
        (r"^fusion\.project\.", "cross_attention.proj_out."),
        (r"^fusion\.([qkv])\w+\.", r"cross_attention.\1."),
    )
    published_required = (
        "position_emb",
        "feat_emb.weight",
        "idx_pred_layer.1.weight",
        "cross_attention.q.weight",
        "vqvae.Fixed_quantize.embedding.weight",
        "vqvae.encoder.conv_in.weight",
        "vqvae.post_quant_conv.weight",
    )

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

        self.start_from_prior(prior, freeze_prior)
        self.start_from_association(hq_prior, "hq", {"hq_encoder": "encoder", "hq_before_quant": "before_quant"})
        self.start_from_association(lq_prior, "lq", {"encoder": "encoder", "before_quant": "before_quant"})

    def start_from_association(self, path: str | None, domain: str, parts: dict[str, str]) -> None:
        """Start one encoder and its codebook from an associated prior; None starts from scratch."""
        if path is None:
            return
        prior = load_associated_prior(path, domain)
        self.start_parts(prior, path, parts)
        self.get_parameter(f"{domain}_codebook").data.copy_(prior.quantizer.codebook)

    def code_parts(self) -> list[nn.Module]:
        return [*super().code_parts(), self.hq_encoder, self.hq_before_quant, self.fusion]

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

    @classmethod
    def published_options(cls, shapes: dict[str, torch.Size]) -> dict[str, Any] | None:
        channels, codebook = daefr_channels(shapes), shapes.get("vqvae.Fixed_quantize.embedding.weight")
        if channels is None or codebook is None or "cross_attention.q.weight" not in shapes:
            return None
        return cls.transformer_options(shapes, channels, codebook)


def load_associated_prior(path: str, domain: str) -> FaceAutoencoder:
    """Load a `FaceVQGANPrior`, or one of two `AssociatedPriors`, ours or published: `domain` is `hq` or `lq`.

    Raises:
        UserError: the file is missing, broken, or holds something else.
    """
    from vqcnir_arch.checkpoint import load_network, load_prior_network

    net = load_network(path)
    return getattr(net, domain) if isinstance(net, AssociatedPriors) else load_prior_network(path, "FaceVQGANPrior")
