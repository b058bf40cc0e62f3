"""The VQ prior of faces at f32: CodeFormer's and DAEFR's first stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from vqcnir_arch.archs.face_autoencoder import FACE_CHANNELS, FaceAutoencoder, to_unit
from vqcnir_arch.archs.quantizers import Codes, NearestCode
from vqcnir_arch.registry import ARCH_REGISTRY, register


@register(ARCH_REGISTRY)
class FaceVQGANPrior(FaceAutoencoder):
    """The VQ prior of CodeFormer and DAEFR: reconstructs faces through a codebook of their features.

    Default sizes are the published ones (63,740,099 parameters; `daefr` 72,680,003). It takes images of any size; the
    published ones were trained on 512².

    Args:
        flavour: `codeformer`, or `daefr`: a third residual block per level of the decoder, 1×1 convolutions around
            the codebook, an activation before the last convolutions.
        channels: channels at f1, f2, f4, f8, f16, f32 (one entry more than there are halvings).
        codebook_size: number of codes.
        code_dim: length of a code.
        norm_groups: groups of the group norms.
        padding: `exact` pads to the next multiple of 32; `published` always to the next multiple of 64 (in eval mode).

    Source: CodeFormer (NeurIPS 2022) section 3.1; DAEFR (ICLR 2024) section 3.1.
    """

    is_prior = True

    def __init__(
        self,
        flavour: Literal["codeformer", "daefr"] = "codeformer",
        channels: Sequence[int] = FACE_CHANNELS,
        codebook_size: int = 1024,
        code_dim: int = 256,
        norm_groups: int = 32,
        padding: str = "exact",
    ) -> None:
        super().__init__()
        channels = list(channels)
        self.remember_options(locals())
        self.build_autoencoder(channels, NearestCode(codebook_size, code_dim), norm_groups, flavour)
        self.draw_weights()

    def encode(self, x: Tensor) -> Codes:
        """Quantise the features of [B, 3, H, W] images in [0, 1] whose size fits `size_multiple`."""
        return self.quantizer(self.before_quant(self.encoder(x * 2 - 1)))

    def compute(self, x: Tensor, return_codes: bool = False, decode: bool = True) -> Any:
        """Reconstruct images; with `return_codes` give (image, codes), without `decode` (None, codes)."""
        codes = self.encode(x)
        image = to_unit(self.generator(self.after_quant(codes.output))) if decode else None
        return (image, codes) if return_codes or not decode else image
