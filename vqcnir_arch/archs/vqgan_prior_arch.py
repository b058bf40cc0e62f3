"""The VQ prior at f8: encoder E, codebook, decoder G (VQCNIR section 3.2; FeMaSR's HQ network is the same)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from vqcnir_arch.archs.autoencoder import CHANNELS, VQAutoencoder
from vqcnir_arch.archs.quantizers import NearestCode
from vqcnir_arch.registry import ARCH_REGISTRY, register


@register(ARCH_REGISTRY)
class VQGANPrior(VQAutoencoder):
    """The VQ prior of VQCNIR, FeMaSR and AdaCode: reconstructs clean images through a codebook of their features.

    Default sizes are the published ones (12,176,707 parameters).

    Args:
        channels: channels at f1, f2, f4, f8 (one entry more than there are halvings).
        codebook_size: number of codes.
        code_dim: length of a code.
        res_blocks: residual blocks per level.
        norm_groups: groups of the group norms.
        semantic_dim: channels of the semantic head that the semantic-guided loss compares with VGG19 relu4_4 (512);
            0 builds none. Used in training alone.
        generator_upsample: how G doubles the size, `nearest` as published or `bilinear` as the supplement's
            table 1 says.
        padding: `exact` pads to the next multiple of 8; `published` always to the next multiple of 64 (in eval mode).

    Source: VQCNIR (AAAI 2024) section 3.2 and its supplement; FeMaSR (ACM MM 2022).
    """

    is_prior = True

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        codebook_size: int = 1024,
        code_dim: int = 512,
        res_blocks: int = 2,
        norm_groups: int = 32,
        semantic_dim: int = 0,
        generator_upsample: Literal["nearest", "bilinear"] = "nearest",
        padding: str = "exact",
    ) -> None:
        super().__init__()
        channels = list(channels)
        self.remember_options(locals())
        quantizer = NearestCode(codebook_size, code_dim)
        self.build_autoencoder(channels, quantizer, code_dim, res_blocks, norm_groups, upsample=generator_upsample)
        head = [nn.Conv2d(code_dim, semantic_dim, 1), nn.ReLU()] if semantic_dim else []
        self.semantic_head = nn.Sequential(*head)
        self.draw_weights()

    def compute(self, x: Tensor, return_codes: bool = False, decode: bool = True) -> Any:
        """Reconstruct images; with `return_codes` give (image, codes), without `decode` (None, codes)."""
        codes = self.encode(x)
        if len(self.semantic_head) and return_codes:
            codes = codes._replace(semantic=self.semantic_head(codes.output))
        image = self.out_conv(self.generator(self.after_quant(codes.output))[-1]) if decode else None
        return (image, codes) if return_codes or not decode else image
