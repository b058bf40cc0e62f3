"""AdaCode: a weighted sum of several codebooks, each of one kind of image (ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from torch import Tensor, nn

from vqcnir_arch.archs.autoencoder import CHANNELS
from vqcnir_arch.archs.quantizers import Codes, MergedCodes, Quantizer
from vqcnir_arch.archs.start import freeze_prior, start_from_prior, start_parts
from vqcnir_arch.archs.swin_autoencoder import SwinAutoencoder, build_stack
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ARCH_REGISTRY, QUANTIZER_REGISTRY, build, register

CATEGORIES = ("architecture", "indoor_objects", "natural_scenes", "street_views", "portraits")
"""What the five published codebooks were learnt from, in their order (SinCA appendix A)."""
CODEBOOK_SIZES = (512, 256, 512, 256, 256)
DEPTHS = [5, 4, 3, 4, 4]
"""Layers of the transformer of each codebook (SinCA appendix A)."""


def codebook_names(count: int) -> list[str]:
    """Return the codebooks' names: the five published ones, or numbers where there are not five."""
    return list(CATEGORIES) if count == len(CATEGORIES) else [str(k) for k in range(count)]


class CodebookBranch(nn.Module):
    """One codebook and the layers around it: [B, C, H, W] to its codes and their [B, C, H, W] for the decoder."""

    def __init__(self, channels: int, code_dim: int, quantizer: Quantizer) -> None:
        super().__init__()
        self.before_quant = nn.Conv2d(channels, code_dim, 1)
        self.quantizer = quantizer
        self.after_quant = nn.Conv2d(code_dim, channels, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Codes, Tensor]:
        codes = self.quantizer(self.before_quant(features))
        return codes, self.after_quant(codes.output)


@register(ARCH_REGISTRY)
class AdaCode(SwinAutoencoder):
    """Restores images with several codebooks, whose contributions it weighs at every position.

    Default sizes are the published ones: 35,438,088 parameters in stage 2, which reconstructs clean images and is the
    prior of stage 3; in stage 3 59,972,616 at ×2, 57,321,352 at ×4 and 60,634,696 at ×1 (inpainting). Stage 1, a prior
    for each kind of image, is `VQGANPrior`. The codebooks never have a gradient here.

    Args:
        stage: 2, encoder, codebooks and weights for clean images; 3, FeMaSR's encoder for low-quality ones.
        scale: size of the output over size of the input: 1, 2 or 4; 1 in stage 2.
        codebook_size: number of codes of each codebook.
        quantizer: as `FeMaSR`; an option given as a list has one value per codebook. With five codebooks the depth of
            a transformer is by default SinCA's: 5, 4, 3, 4, 4.
        weight_softmax: whether the weights are positive and sum to one; published: any real number.
        channels, code_dim, res_blocks, norm_groups, feature_fusion, swin_groups, swin_depth, swin_heads, window,
            padding, prior_encoder: as `FeMaSR`.
        prior: in stage 2 the checkpoints of stage 1, one `VQGANPrior` per codebook, of which the codebooks are taken;
            in stage 3 the checkpoint of stage 2.
        freeze_prior: freeze G, output layer and after-quant (not the weights' predictor); default: in stage 3, whether
            `prior` is given. Codebooks are frozen in any case.

    Source: AdaCode (ICCV 2023); SinCA appendix A for the continuous quantizers.
    """

    prior_type = "AdaCode"
    per_level_blocks = ("quantizer",)
    has_several_codebooks = True

    def __init__(
        self,
        stage: int = 3,
        scale: int = 4,
        channels: Sequence[int] = CHANNELS,
        codebook_size: Sequence[int] = CODEBOOK_SIZES,
        code_dim: int = 256,
        res_blocks: int = 2,
        norm_groups: int = 32,
        quantizer: dict[str, Any] | None = None,
        weight_softmax: bool = False,
        feature_fusion: bool = True,
        swin_groups: int = 4,
        swin_depth: int = 6,
        swin_heads: int = 8,
        window: int = 8,
        padding: str = "exact",
        prior_encoder: Literal["none", "published"] = "none",
        prior: str | list[str] | None = None,
        freeze_prior: bool | None = None,
    ) -> None:
        super().__init__()
        channels, codebook_size = list(channels), list(codebook_size)
        if stage not in (2, 3):
            raise UserError(f"stage {stage} is unknown (known: 2, 3; stage 1 is a VQGANPrior for each codebook)")
        if stage == 2:
            scale = 1
        self.remember_options(locals())
        self.is_prior = stage == 2
        encoder = None if self.is_prior else self.build_swin_encoder(channels, self.options)
        self.build_codec(channels, res_blocks, norm_groups, encoder)
        self.codebooks = nn.ModuleDict()
        for k, name in enumerate(codebook_names(len(codebook_size))):
            options = self.quantizer_of(k)
            built = build(QUANTIZER_REGISTRY, options, codebook_size=codebook_size[k], code_dim=code_dim)
            self.codebooks[name] = CodebookBranch(channels[-1], code_dim, built)
        positive = [nn.Softmax(dim=1)] if weight_softmax else []
        stack = build_stack(channels[-1], self.options)
        self.weight_predictor = nn.Sequential(stack, nn.Conv2d(channels[-1], len(codebook_size), 1), *positive)
        self.size_multiple = self.published_size_multiple = window * 2 ** (len(channels) - 1) // scale
        branches = [f"codebooks.{name}.after_quant" for name in self.codebooks]
        self.frozen_parts = () if self.is_prior else ("generator", "out_conv", *branches)
        self.draw_weights()
        self.start(prior, freeze_prior)

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        given = options.get("quantizer") or {}
        options = super().complete_options(options)
        quantizer = options["quantizer"]
        if "depth" in quantizer and "depth" not in given and len(options["codebook_size"]) == len(DEPTHS):
            options["quantizer"] = {**quantizer, "depth": DEPTHS}
        return options

    @classmethod
    def builds_prior(cls, options: Mapping[str, Any]) -> bool:
        return options.get("stage") == 2

    @classmethod
    def scale_of(cls, options: Mapping[str, Any]) -> int:
        return 1 if cls.builds_prior(options) else super().scale_of(options)

    def prior_options(self) -> dict[str, Any]:
        return {**super().prior_options(), "stage": 2, "quantizer": None}

    def quantizer_of(self, k: int) -> dict[str, Any]:
        """Return the quantizer's options for codebook k."""
        count, options = len(self.options["codebook_size"]), {}
        for name, value in self.options["quantizer"].items():
            if isinstance(value, list) and len(value) != count:
                raise UserError(f"quantizer: {name} needs one value per codebook ({count}), got {value}")
            options[name] = value[k] if isinstance(value, list) else value
        return options

    def start(self, prior: str | list[str] | None, freeze: bool | None) -> None:
        """Start from stage 2's checkpoint; or, in stage 2, take the codebooks of stage 1's."""
        if not self.is_prior:
            if isinstance(prior, list):
                raise UserError(f"prior: stage 3 starts from one checkpoint of stage 2, got {prior}")
            start_from_prior(self, prior, freeze, self.loose_parts())
            return
        if prior is not None and (isinstance(prior, str) or len(prior) != len(self.codebooks)):
            raise UserError(f"prior: stage 2 needs {len(self.codebooks)} checkpoints of stage 1, got {prior}")
        for path, name in zip(prior or (), self.codebooks, strict=prior is not None):
            start_parts(self, path, {f"codebooks.{name}.quantizer.codebook": "quantizer.codebook"}, "VQGANPrior")
        freeze_prior(self)

    def prior_parts(self) -> dict[str, str]:
        return {**super().prior_parts(), "codebooks": "codebooks", "weight_predictor": "weight_predictor"}

    def checkpointed_modules(self) -> list[nn.Module]:
        return [*super().checkpointed_modules(), *self.weight_predictor[0].children()]

    def float32_modules(self) -> list[nn.Module]:
        return [self.encoder, *(branch.before_quant for branch in self.branches())]

    def branches(self) -> list[CodebookBranch]:
        """Return the codebooks with the layers around them, in their order."""
        return cast("list[CodebookBranch]", list(self.codebooks.values()))

    # it has several codebooks, so that what it encodes to and decodes from is no prior's
    def encode(self, x: Tensor) -> MergedCodes:  # type: ignore[override]
        return self.merge(self.encoder(x) if self.is_prior else self.encoder(x, ups=False)[0])

    def merge(self, features: Tensor) -> MergedCodes:
        """Quantise features of the code grid with every codebook and merge what comes out."""
        weights = self.weight_predictor(features)
        per_codebook: list[Codes] = []
        merged: Any = 0
        for k, branch in enumerate(self.codebooks.values()):
            codes, decodable = branch(features)
            per_codebook.append(codes)
            merged = merged + weights[:, k : k + 1] * decodable
        return MergedCodes(tuple(per_codebook), features, merged, weights)

    def compute(self, x: Tensor, return_codes: bool = False, decode: bool = True) -> Any:
        """Restore images; with `return_codes` give (image, codes), without `decode` (None, codes)."""
        features, *skips = [self.encoder(x)] if self.is_prior else self.encoder(x, self.feature_fusion)
        codes = self.merge(features)
        image = self.out_conv(self.generator(codes.merged, skips)[-1]) if decode else None
        return (image, codes) if return_codes or not decode else image

    # with the weights of several codebooks, see `encode`
    def decode_indices(self, indices: Sequence[Tensor], weights: Tensor) -> Tensor:  # type: ignore[override]
        """Decode the codes of every codebook, each [B, h, w], with their weights [B, K, h, w], by G alone."""
        merged = sum(
            weights[:, k : k + 1] * branch.after_quant(branch.quantizer.lookup(chosen))
            for k, (branch, chosen) in enumerate(zip(self.branches(), indices, strict=True))
        )
        return self.out_conv(self.generator(merged)[-1])
