"""The parts that the prior and every network that starts from it have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.layers import ResidualBlock, Upsample
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.quantizers import Codes, Quantizer
from vqcnir_arch.errors import UserError

CHANNELS = (64, 128, 256, 256)
"""Published channels at f1, f2, f4 and f8."""


class Encoder(nn.Module):
    """E: image to features at 1/2^n of its size, [B, 3, H, W] to [B, C_n, H/2^n, W/2^n].

    Args:
        channels: channels at full size and after each of the n halvings.
        res_blocks: residual blocks per halving.
        norm_groups: groups of the group norms.
    """

    def __init__(self, channels: Sequence[int], res_blocks: int, norm_groups: int) -> None:
        super().__init__()
        # 4x4 without stride gives (H-1, W-1); the stride-2 convolutions then reach exactly H/2, H/4, H/8
        self.in_conv = nn.Conv2d(3, channels[0], 4, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                *(ResidualBlock(after, after, norm_groups) for _ in range(res_blocks)),
            )
            for before, after in pairwise(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_conv(x)
        for stage in self.stages:
            x = stage(x)
        return x


class Generator(nn.ModuleList):
    """G: features to the features of each finer level; the last one has the image's size.

    Args:
        channels: as the encoder's, full size first.
        res_blocks: residual blocks per doubling.
        norm_groups: groups of the group norms.
    """

    def __init__(self, channels: Sequence[int], res_blocks: int, norm_groups: int) -> None:
        coarse_to_fine = list(channels)[::-1]
        super().__init__(
            nn.Sequential(
                Upsample(before, after), *(ResidualBlock(after, after, norm_groups) for _ in range(res_blocks))
            )
            for before, after in pairwise(coarse_to_fine)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for stage in self:
            x = stage(x)
            levels.append(x)
        return levels


class VQAutoencoder(VQNetwork):
    """Base of the networks with encoder E, codebook and decoder G: a prior's tensors have the same names in all."""

    published_required = (
        "quantize_group.0.embedding.weight",
        "multiscale_encoder.in_conv.weight",
        "multiscale_encoder.blocks.0.0.weight",
        "multiscale_encoder.blocks.1.0.weight",
        "multiscale_encoder.blocks.2.0.weight",
        "after_quant_group.0.conv.weight",
    )
    published_names = (
        (r"^encoder\.stages\.", "multiscale_encoder.blocks."),
        (r"^encoder\.", "multiscale_encoder."),
        (r"^(multiscale_encoder\.blocks\.\d+\.\d+)\.norm1\.", r"\1.conv.0.norm."),
        (r"^(multiscale_encoder\.blocks\.\d+\.\d+)\.conv1\.", r"\1.conv.2."),
        (r"^(multiscale_encoder\.blocks\.\d+\.\d+)\.norm2\.", r"\1.conv.3.norm."),
        (r"^(multiscale_encoder\.blocks\.\d+\.\d+)\.conv2\.", r"\1.conv.5."),
        (r"^generator\.(\d+)\.0\.1\.", r"decoder_group.\1.block.1."),
        (r"^generator\.(\d+)\.1\.", r"decoder_group.\1.block.2."),
        (r"^generator\.(\d+)\.2\.", r"decoder_group.\1.block.3."),
        (r"^(decoder_group\.\d+\.block\.\d)\.norm1\.", r"\1.conv.0.norm."),
        (r"^(decoder_group\.\d+\.block\.\d)\.conv1\.", r"\1.conv.2."),
        (r"^(decoder_group\.\d+\.block\.\d)\.norm2\.", r"\1.conv.3.norm."),
        (r"^(decoder_group\.\d+\.block\.\d)\.conv2\.", r"\1.conv.5."),
        (r"^quantizer\.codebook$", "quantize_group.0.embedding.weight"),
        (r"^before_quant\.", "before_quant_group.0."),
        (r"^after_quant\.", "after_quant_group.0.conv."),
        (r"^semantic_head\.", "conv_semantic."),
    )

    def build_autoencoder(
        self, channels: list[int], quantizer: Quantizer, code_dim: int, res_blocks: int, norm_groups: int
    ) -> None:
        """Build the parts that the prior and the networks that start from it have in common, under the same names."""
        if len(channels) < 2:
            raise UserError(f"channels needs an entry for f1 and one per halving, got {channels}")
        self.size_multiple = 2 ** (len(channels) - 1)
        self.encoder = Encoder(channels, res_blocks, norm_groups)
        self.before_quant = nn.Conv2d(channels[-1], code_dim, 1)
        self.quantizer = quantizer
        self.after_quant = nn.Conv2d(code_dim, channels[-1], 3, padding=1)
        self.generator = Generator(channels, res_blocks, norm_groups)
        self.out_conv = nn.Conv2d(channels[0], 3, 3, padding=1)

    def big_blocks(self) -> list[nn.Module]:
        return [*self.encoder.stages, *self.generator]

    def code_parts(self) -> list[nn.Module]:
        return [self.encoder, self.before_quant]

    def encode(self, x: Tensor) -> Codes:
        """Quantise the features of [B, 3, H, W] images whose size fits `size_multiple`."""
        return self.quantizer(self.before_quant(self.encoder(x)))

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Decode codes with G alone: [B, h, w] int64 to [B, 3, 8h, 8w] (f8)."""
        return self.out_conv(self.generator(self.after_quant(self.quantizer.lookup(indices)))[-1])


def autoencoder_options(shapes: dict[str, torch.Size]) -> dict[str, Any] | None:
    """Read the prior's options off the published tensor names and shapes; None where they are not a prior's at f8."""
    codebook = shapes.get("quantize_group.0.embedding.weight")
    first = shapes.get("multiscale_encoder.in_conv.weight")
    stages = [shapes.get(f"multiscale_encoder.blocks.{i}.0.weight") for i in range(3)]
    if codebook is None or first is None or None in stages or "after_quant_group.0.conv.weight" not in shapes:
        return None
    return {
        "channels": [first[0], *(stage[0] for stage in stages)],
        "codebook_size": codebook[0],
        "code_dim": codebook[1],
    }
