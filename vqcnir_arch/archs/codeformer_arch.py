"""CodeFormer: face restoration by predicting the codes of a clean face (NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.face_autoencoder import FACE_CHANNELS, FaceAutoencoder, to_unit
from vqcnir_arch.archs.layers import ResidualBlock
from vqcnir_arch.archs.start import start_from_prior
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ARCH_REGISTRY, QUANTIZER_REGISTRY, build, register

ADAIN_EPS = 1e-5


def adaptive_instance_norm(x: Tensor, style: Tensor) -> Tensor:
    """Give every channel of `x` the mean and the standard deviation of `style`'s, both [B, C, H, W]."""
    std, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
    style_std, style_mean = torch.std_mean(style, dim=(2, 3), keepdim=True)
    scale = ((style_std.square() + ADAIN_EPS) / (std.square() + ADAIN_EPS)).sqrt()
    return (x - mean) * scale + style_mean


def branch(channels: int) -> nn.Sequential:
    """Return two convolutions, C to C, that predict a scale or a shift."""
    convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
    return nn.Sequential(convs[0], nn.LeakyReLU(0.2), convs[1])


class ControllableFusion(nn.Module):
    """Controllable feature transformation of CodeFormer (section 3.3): F_d + w · (α ⊙ F_d + β).

    α and β come from the encoder's feature F_e and the generator's F_d of one level, both [B, C, H, W].
    """

    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.encode = ResidualBlock(2 * channels, channels, norm_groups)
        self.scale = branch(channels)
        self.shift = branch(channels)

    def forward(self, encoded: Tensor, decoded: Tensor, w: float | Tensor) -> Tensor:
        both = self.encode(torch.cat((encoded, decoded), dim=1))
        return decoded + w * (decoded * self.scale(both) + self.shift(both))


@register(ARCH_REGISTRY)
class CodeFormer(FaceAutoencoder):
    """Restores aligned faces: a transformer predicts the codes, w sets how much of the input's detail is added.

    Default sizes are the published ones (94,112,707 parameters). It takes images of `image_size` alone, for the
    transformer's position embedding. The codebook never has a gradient here.

    Args:
        channels, codebook_size, code_dim, norm_groups: as `FaceVQGANPrior`; equal to those of the prior.
        quantizer: `{type: CodePrediction}` as published, or `{type: SinCA | VectorRegression | CrossAttention |
            SelfAttention | NearestCode}` with that quantizer's options; for `CodePrediction`, `attention: CodeFormer`
            is the published transformer.
        image_size: height and width of the images.
        fusion_sizes: heights of the features that are fused; default: of all levels but the finest and the coarsest,
            256, 128, 64 and 32 for images of 512. CodeFormer's inpainting has 128, 64 and 32, its stage II none.
        w: fidelity weight where a call gives none: 0 is the codes alone, 1 adds the input's detail in full.
        adain: in eval mode, where a call does not say: give the quantizer's output the mean and standard deviation of
            its input, channel by channel, as the published inference does. Training never does.
        prior: checkpoint of a `FaceVQGANPrior` of flavour `codeformer` (ours or the published one) to start from.
        freeze_prior: freeze codebook and G; default: whether `prior` is given.

    Source: CodeFormer (NeurIPS 2022) sections 3.2 and 3.3; quantizers: SinCA appendix A.
    """

    has_fidelity_weight = True
    runtime_options = ("w", "adain", "prior", "freeze_prior")

    def __init__(
        self,
        channels: Sequence[int] = FACE_CHANNELS,
        codebook_size: int = 1024,
        code_dim: int = 256,
        norm_groups: int = 32,
        quantizer: dict[str, Any] | None = None,
        image_size: int = 512,
        fusion_sizes: Sequence[int] | None = None,
        w: float = 0.5,
        adain: bool = True,
        prior: str | None = None,
        freeze_prior: bool | None = None,
    ) -> None:
        super().__init__()
        channels = list(channels)
        self.remember_options(locals())
        self.fixed_size = image_size
        self.w, self.adain = w, adain
        built = build(QUANTIZER_REGISTRY, self.options["quantizer"], codebook_size=codebook_size, code_dim=code_dim)
        self.build_autoencoder(channels, built, norm_groups, "codeformer")
        # by the level's number
        levels = fused_levels(image_size, len(channels), fusion_sizes)
        self.fusions = nn.ModuleDict({str(i): ControllableFusion(channels[i], norm_groups) for i in levels})
        self.draw_weights()
        start_from_prior(self, prior, freeze_prior)

    def compute(
        self,
        x: Tensor,
        w: float | Tensor | None = None,
        adain: bool | None = None,
        return_codes: bool = False,
        decode: bool = True,
    ) -> Any:
        """Restore faces.

        Args:
            x: [B, 3, image_size, image_size].
            w: fidelity weight: a number, a tensor without axes, or one value per image [B]; None: the option. A
                number 0 skips the fusion; a tensor never does, so that an exported network has it as an input.
            adain: None: the option in eval mode, no in training mode.
            return_codes: give (image, codes).
            decode: without, give (None, codes): stage II needs no image.
        """
        feature, levels = self.encoder(x * 2 - 1, True)
        codes = self.quantizer(feature)
        if not decode:
            return None, codes
        # predicted codes pass no gradient to the encoder, unlike DAEFR's
        output = codes.output.detach() if self.quantizer.output_kind == "logits" else codes.output
        if self.adain and not self.training if adain is None else adain:
            output = adaptive_instance_norm(output, feature)
        w = self.w if w is None else w
        if isinstance(w, Tensor):
            w = w.reshape(-1, 1, 1, 1)

        def fuse(level: int, decoded: Tensor) -> Tensor:
            if str(level) not in self.fusions:
                return decoded
            return self.fusions[str(level)](levels[level].detach(), decoded, w)

        image = to_unit(self.generator(output, fuse if isinstance(w, Tensor) or w != 0 else None))
        return (image, codes) if return_codes else image

    def adaptive_layer(self) -> nn.Conv2d:
        if not self.fusions:
            raise UserError("adaptive_gan_weight: fusion_sizes is empty, no layer that makes the image trains")
        finest = cast(ControllableFusion, self.fusions[min(self.fusions, key=int)])
        return cast(nn.Conv2d, finest.shift[-1])  # the generator is frozen: the last layer that trains

    def checkpointed_modules(self) -> list[nn.Module]:
        return [*super().checkpointed_modules(), *self.fusions.values()]


def fused_levels(image_size: int, levels: int, sizes: Sequence[int] | None) -> list[int]:
    """Return the numbers of the levels whose features have these heights, finest first.

    Raises:
        UserError: one is named twice, or a height is no level's but the finest's and the coarsest's.
    """
    heights = {image_size >> level: level for level in range(1, levels - 1)}
    wanted = list(heights) if sizes is None else list(sizes)
    if len(set(wanted)) < len(wanted) or not set(wanted) <= heights.keys():
        known = ", ".join(map(str, heights))
        raise UserError(f"fusion_sizes: expected some of {known}, each once, got {wanted}")
    return sorted(heights[height] for height in wanted)
