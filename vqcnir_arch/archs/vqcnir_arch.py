"""VQCNIR: clearer night image restoration with a vector-quantised codebook (AAAI 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vqcnir_arch.archs import aiem, dbca, enhancers, fusions, swin  # noqa: F401  (importing them fills the registries)
from vqcnir_arch.archs.autoencoder import CHANNELS, VQAutoencoder, check_channels
from vqcnir_arch.archs.cpu import to_channels_last
from vqcnir_arch.archs.illumination import IlluminationCurve
from vqcnir_arch.archs.layers import ResidualBlock, Upsample
from vqcnir_arch.archs.start import start_from_curve, start_from_prior
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import (
    ARCH_REGISTRY,
    ENHANCER_REGISTRY,
    FUSION_REGISTRY,
    QUANTIZER_REGISTRY,
    build,
    level_block,
    levels_with_defaults,
    register,
    with_defaults,
)


def build_enhancer(options: dict[str, Any], channels: int) -> nn.Sequential:
    """Build `depth` blocks of the enhancer `type`; `type: none` is the identity."""
    options = dict(options)
    if options["type"] == "none":
        return nn.Sequential()
    depth = options.pop("depth")
    blocks = [build(ENHANCER_REGISTRY, options, channels=channels, index=i) for i in range(depth)]
    return nn.Sequential(*blocks)


def level_names(channels: Sequence[int]) -> list[str]:
    """Return the names of the levels, coarsest first: f8, f4, f2, f1 for four numbers of channels."""
    return [f"f{2**i}" for i in reversed(range(len(channels)))]


class FusionDecoder(nn.Module):
    """Decoder D: restores the night image's own features, at every level fused with those of decoder G.

    Args:
        channels: channels at f1, f2, ... as the encoder's.
        fusion: `{type: ..., options}`; an option given as a list has one value per level, coarsest first. `type: none`
            fuses nothing: D's residual blocks take D's feature alone.
        norm_groups: groups of the group norms.
        upsample: `nearest` or `bilinear`.
        skips: add the encoder's feature of each finer level, and at f1 the image's, to D's.
    """

    def __init__(
        self, channels: Sequence[int], fusion: dict[str, Any], norm_groups: int, upsample: str, skips: bool = False
    ) -> None:
        super().__init__()
        coarse_to_fine = list(channels)[::-1]
        self.levels = level_names(channels)
        self.fusions, self.upsamples, self.blocks = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.skips = nn.ModuleDict()
        coarser = carried = 0
        for i, (level, width) in enumerate(zip(self.levels, coarse_to_fine, strict=True)):
            options = level_block(FUSION_REGISTRY, fusion, i)
            fuses = options["type"] != "none"
            if fuses:
                self.fusions[level] = build(
                    FUSION_REGISTRY, options, channels=width, coarser_channels=carried, norm_groups=norm_groups
                )
            carried = width if fuses and self.fusions[level].hands_on else 0
            if coarser:
                self.upsamples[level] = Upsample(coarser, width, upsample)
                self.blocks[level] = ResidualBlock(2 * width if fuses else width, width, norm_groups)
            if coarser and skips:
                self.skips[level] = nn.Conv2d(3, width, 3, padding=1) if level == "f1" else nn.Conv2d(width, width, 1)
            coarser = width

    def forward(self, x: Tensor, guides: Sequence[Tensor | None], skips: Sequence[Tensor] = ()) -> Tensor:
        """Decode the enhanced feature.

        Args:
            x: [B, C, H/8, W/8] (f8).
            guides: G's features of all levels, coarsest first; None where nothing is fused.
            skips: what `skips` of the constructor adds: the encoder's features of the finer levels, coarsest first,
                then the image.
        """
        carry = None
        for level, guide, skip in zip_longest(self.levels, guides, [None, *skips]):
            if level in self.upsamples:
                x = self.upsamples[level](x)
            if level in self.skips:
                x = x + self.skips[level](skip)
            if level in self.fusions:
                x, fused, carry = self.fusions[level](x, guide, carry)
                x = torch.cat((x, fused), dim=1) if level in self.blocks else fused
            if level in self.blocks:
                x = self.blocks[level](x)
        return x


@register(ARCH_REGISTRY)
class VQCNIR(VQAutoencoder):
    """Restores night images that are dark and blurred at once by matching them to a codebook of clean images.

    The encoder's feature passes the enhancer (AIEM), is matched to the codebook and decoded by G, the prior's decoder;
    D decodes the same feature beside it, fused with G's at every level. Default sizes are the published ones
    (47,854,222 parameters). The codebook never has a gradient here.

    Args:
        channels, codebook_size, code_dim, res_blocks, norm_groups, generator_upsample: as `VQGANPrior`; equal to those
            of the prior.
        quantizer: `{type: NearestCode | SinCA | VectorRegression | CrossAttention | SelfAttention | CodePrediction}`
            with that quantizer's options.
        enhancer: `{type: AIEM | ResBlock | NAFBlock | SwinBlock | none, depth: 12}` with that block's options, for
            AIEM `splits: 4, curve_order: 3`.
        fusion: `{type: DBCA | Add | Concat | SKFF | CrossAttention | none}` with that fusion's options, for DBCA
            `heads: [4, 4, 2, 1], offset_groups: 4, attention: published | paper, offset: published | paper`. A list has
            one value per level, coarsest first, also for `type`.
        illumination: `{iterations: 8, size: 64, width: 16, full_lift: 0}`, an `IlluminationCurve` through which the
            image goes before anything else; with `full_lift` D adds the less, the less light it needs; ours, none by
            default.
        skips: D gets the encoder's features and the image beside the enhanced feature; ours.
        residual: D gives what is to be added to the (brightened) image, through a layer of its own; G reaches the image
            through the fusions alone, and its levels behind the last fusion are not computed; ours.
        upsample: how D doubles the size, `nearest` as published or `bilinear` as the supplement's table 1 says.
        padding: `exact` pads to the next multiple of 8; `published` always to the next multiple of 64 (in eval mode).
        prior: checkpoint of a `VQGANPrior` (ours or a published one) to start from.
        freeze_prior: freeze codebook, G, after-quant and output layer; default: whether `prior` is given.
        curve: checkpoint of an `IlluminationCurve` that was trained alone, to start from; it is frozen then.

    Source: VQCNIR (AAAI 2024) sections 3.1-3.4.
    """

    per_level_blocks = ("fusion",)
    start_options = (*VQAutoencoder.start_options, "curve")
    runtime_options = (*VQAutoencoder.runtime_options, "curve")

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        codebook_size: int = 1024,
        code_dim: int = 512,
        res_blocks: int = 2,
        norm_groups: int = 32,
        quantizer: dict[str, Any] | None = None,
        enhancer: dict[str, Any] | None = None,
        fusion: dict[str, Any] | None = None,
        upsample: Literal["nearest", "bilinear"] = "nearest",
        generator_upsample: Literal["nearest", "bilinear"] = "nearest",
        illumination: dict[str, Any] | None = None,
        skips: bool = False,
        residual: bool = False,
        padding: str = "exact",
        prior: str | None = None,
        freeze_prior: bool | None = None,
        curve: str | None = None,
    ) -> None:
        super().__init__()
        channels = list(channels)
        self.remember_options(locals())
        quantizer, enhancer, fusion = (self.options[name] for name in ("quantizer", "enhancer", "fusion"))
        built_quantizer = build(QUANTIZER_REGISTRY, quantizer, codebook_size=codebook_size, code_dim=code_dim)
        self.build_autoencoder(
            channels, built_quantizer, code_dim, res_blocks, norm_groups, upsample=generator_upsample
        )
        self.enhancer = build_enhancer(enhancer, channels[-1])
        self.decoder = FusionDecoder(channels, fusion, norm_groups, upsample, skips)
        self.illumination = IlluminationCurve(**illumination) if illumination is not None else None
        self.residual_conv = nn.Conv2d(channels[0], 3, 3, padding=1) if residual else None
        self.draw_weights()
        start_from_prior(self, prior, freeze_prior)
        start_from_curve(self.illumination, curve)
        if self.illumination is not None and self.illumination.full_lift and not residual:
            raise UserError("illumination: full_lift needs `residual: true`, it says how much of the residual is added")
        if residual:
            self.out_conv.requires_grad_(False)  # takes no part but in `decode_indices`
            unused = [stage for level, stage in zip(self.decoder.levels[1:], self.generator, strict=True)
                      if not self.uses_guide(level)]  # fmt: skip
            for stage in unused:
                stage.requires_grad_(False)

    def reset_parameters(self) -> None:
        """A fresh network with `residual` gives the (brightened) image as it is."""
        if self.residual_conv is not None:
            for tensor in self.residual_conv.parameters():
                nn.init.zeros_(tensor)

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        options = super().complete_options(options)
        enhancer = {"type": "AIEM", "depth": 12, **(options["enhancer"] or {})}
        fusion = {"type": "DBCA", **(options["fusion"] or {})}
        has_heads = fusion["type"] in ("DBCA", "CrossAttention") and fusion.get("attention") != "paper"
        if has_heads and len(options["channels"]) == len(CHANNELS):
            fusion.setdefault("heads", [4, 4, 2, 1])
        return {
            **options,
            "enhancer": with_defaults(ENHANCER_REGISTRY, enhancer),
            "fusion": levels_with_defaults(FUSION_REGISTRY, fusion, level_names(check_channels(options["channels"]))),
        }

    def adaptive_layer(self) -> nn.Conv2d:
        return self.out_conv if self.residual_conv is None else self.residual_conv

    def checkpointed_modules(self) -> list[nn.Module]:
        decoder = self.decoder
        levels = [*decoder.fusions.values(), *decoder.upsamples.values(), *decoder.blocks.values()]
        return [*super().checkpointed_modules(), *self.enhancer, *levels]

    def float32_modules(self) -> list[nn.Module]:
        return [*super().float32_modules(), self.enhancer]

    def uses_guide(self, level: str) -> bool:
        """Whether G's features of a level, or of a finer one, are wanted."""
        finer = self.decoder.levels[self.decoder.levels.index(level) :]
        return self.residual_conv is None or any(name in self.decoder.fusions for name in finer)

    def compute(self, x: Tensor, return_codes: bool = False, small: Tensor | None = None) -> Any:
        """Restore night images; with `return_codes` give (image, codes).

        Args:
            x: [B, 3, H, W], H and W multiples of `size_multiple`.
            return_codes: give the codes, too.
            small: thumbnails of the whole images where `x` are crops of them, for the illumination curve.
        """
        share: Tensor | int = 1
        if self.illumination is not None:
            curve, share = self.illumination.choose(x, small)
            x = self.illumination.apply_curve(x, curve)
        skips: list[Tensor] = []
        enhanced = self.enhancer(self.encoder(x, skips) if len(self.decoder.skips) else self.encoder(x))
        codes = self.quantizer(self.before_quant(enhanced))
        enhanced, guide = to_channels_last(enhanced), to_channels_last(self.after_quant(codes.output))
        guides: list[Tensor | None] = [guide]
        for level, stage in zip(self.decoder.levels[1:], self.generator, strict=True):
            guides.append(stage(guides[-1]) if self.uses_guide(level) else None)
        restored = self.decoder(enhanced, guides, [*skips, x])
        if self.residual_conv is not None:
            image = x + share * self.residual_conv(restored)
        else:
            image = self.out_conv(guides[-1] + restored)
        return (image, codes) if return_codes else image
