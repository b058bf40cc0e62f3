"""FeMaSR: blind super-resolution by matching features to a codebook of clean images (ACM MM 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from vqcnir_arch.archs.autoencoder import CHANNELS
from vqcnir_arch.archs.quantizers import Codes
from vqcnir_arch.archs.start import start_from_prior
from vqcnir_arch.archs.swin_autoencoder import SwinAutoencoder
from vqcnir_arch.registry import ARCH_REGISTRY, QUANTIZER_REGISTRY, build, register


@register(ARCH_REGISTRY)
class FeMaSR(SwinAutoencoder):
    """Enlarges and restores images by matching them to a codebook of clean ones: FeMaSR's second stage.

    The feature of the Swin encoder is matched to the codebook and decoded by G, the prior's decoder, to whose levels
    the encoder's own finer features are added. Default sizes are the published ones (36,711,235 parameters at ×2,
    34,059,971 at ×4). The first stage, FeMaSR's HQ network, is `VQGANPrior`. The codebook never has a gradient here.

    Args:
        scale: size of the output over size of the input: 1, 2 or 4 (published: 2 and 4).
        channels, codebook_size, code_dim, res_blocks, norm_groups: as `VQGANPrior`; equal to those of the prior.
        quantizer: `{type: NearestCode | SinCA | VectorRegression | CrossAttention | SelfAttention | CodePrediction}`
            with that quantizer's options.
        feature_fusion: whether the encoder's features are added to G's levels. False builds no layers for them
            (SinCA figure 5). The attribute of this name switches a network that was built with them (figure 4).
        swin_groups, swin_depth, swin_heads, window: the Swin stack: residual groups, blocks in each, attention heads,
            height and width of a window.
        padding: `exact` pads to the next multiple of 64, 32, 16 at ×1, ×2, ×4 (window 8); `published` always to the
            next multiple (in eval mode).
        prior: checkpoint of a `VQGANPrior` (ours or a published one) to start from; its encoder is taken at ×1 alone,
            where it has the same layers.
        prior_encoder: above ×1, `none`; or `published`, which starts those layers of the encoder from the prior's
            whose names and sizes happen to be the same, though they stand at another level.
        freeze_prior: freeze codebook, G, after-quant and output layer; default: whether `prior` is given.

    Source: FeMaSR (ACM MM 2022); SinCA section 6.1 for the continuous quantizers.
    """

    def __init__(
        self,
        scale: int = 4,
        channels: Sequence[int] = CHANNELS,
        codebook_size: int = 1024,
        code_dim: int = 512,
        res_blocks: int = 2,
        norm_groups: int = 32,
        quantizer: dict[str, Any] | None = None,
        feature_fusion: bool = True,
        swin_groups: int = 4,
        swin_depth: int = 6,
        swin_heads: int = 8,
        window: int = 8,
        padding: str = "exact",
        prior_encoder: Literal["none", "published"] = "none",
        prior: str | None = None,
        freeze_prior: bool | None = None,
    ) -> None:
        super().__init__()
        channels = list(channels)
        self.remember_options(locals())
        encoder = self.build_swin_encoder(channels, self.options)
        sizes = {"codebook_size": codebook_size, "code_dim": code_dim}
        built_quantizer = build(QUANTIZER_REGISTRY, self.options["quantizer"], **sizes)
        self.build_autoencoder(channels, built_quantizer, code_dim, res_blocks, norm_groups, encoder)
        self.size_multiple = self.published_size_multiple = window * 2**encoder.halvings
        self.draw_weights()
        start_from_prior(self, prior, freeze_prior, self.loose_parts())

    def encode(self, x: Tensor) -> Codes:
        return self.quantizer(self.before_quant(self.encoder(x, ups=False)[0]))

    def compute(self, x: Tensor, return_codes: bool = False) -> Any:
        """Restore images; with `return_codes` give (image, codes)."""
        feature, *skips = self.encoder(x, self.feature_fusion)
        codes = self.quantizer(self.before_quant(feature))
        image = self.out_conv(self.generator(self.after_quant(codes.output), skips)[-1])
        return (image, codes) if return_codes else image
