"""The parts that the prior and every network that starts from it have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, zip_longest

from torch import Tensor, nn

from vqcnir_arch.archs.hub_network import HubNetwork
from vqcnir_arch.archs.layers import ResidualBlock, Upsample
from vqcnir_arch.archs.quantizers import Codes, Quantizer
from vqcnir_arch.errors import UserError

CHANNELS = (64, 128, 256, 256)
"""Published channels at f1, f2, f4 and f8."""


def check_channels(channels: Sequence[int]) -> Sequence[int]:
    """Return `channels`, or raise `UserError` if there is no halving in them."""
    if len(channels) < 2:
        raise UserError(f"channels needs an entry for f1 and one per halving, got {list(channels)}")
    return channels


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

    def forward(self, x: Tensor, finer: list[Tensor] | None = None) -> Tensor:
        """Encode images; to a list `finer` the features of the levels between are added, coarsest first."""
        x = self.in_conv(x)
        for i, stage in enumerate(self.stages):
            if finer is not None and i:
                finer.insert(0, x)
            x = stage(x)
        return x


class Generator(nn.ModuleList):
    """G: features to the features of each finer level; the last one has the image's size.

    Args:
        channels: as the encoder's, full size first.
        res_blocks: residual blocks per doubling.
        norm_groups: groups of the group norms.
        upsample: `nearest` or `bilinear`.
    """

    def __init__(self, channels: Sequence[int], res_blocks: int, norm_groups: int, upsample: str = "nearest") -> None:
        coarse_to_fine = list(channels)[::-1]
        super().__init__(
            nn.Sequential(
                Upsample(before, after, upsample),
                *(ResidualBlock(after, after, norm_groups) for _ in range(res_blocks)),
            )
            for before, after in pairwise(coarse_to_fine)
        )

    def forward(self, x: Tensor, skips: Sequence[Tensor] = ()) -> list[Tensor]:
        """Return the features of all levels; `skips` are added to the coarsest ones, in this order."""
        levels = []
        for stage, skip in zip_longest(self, skips):
            x = stage(x) if skip is None else stage(x) + skip
            levels.append(x)
        return levels


class VQAutoencoder(HubNetwork):
    """Base of the networks with encoder E, codebook and decoder G: a prior's tensors have the same names in all."""

    frozen_parts: tuple[str, ...] = ("after_quant", "generator", "out_conv")

    def build_codec(
        self,
        channels: list[int],
        res_blocks: int,
        norm_groups: int,
        encoder: Encoder | None = None,
        upsample: str = "nearest",
    ) -> None:
        """Build E, G, which doubles the size by `upsample`, and the output layer; `encoder` stands in E's place."""
        self.size_multiple = 2 ** (len(check_channels(channels)) - 1)
        self.encoder = encoder or Encoder(channels, res_blocks, norm_groups)
        self.generator = Generator(channels, res_blocks, norm_groups, upsample)
        self.out_conv = nn.Conv2d(channels[0], 3, 3, padding=1)

    def build_autoencoder(
        self,
        channels: list[int],
        quantizer: Quantizer,
        code_dim: int,
        res_blocks: int,
        norm_groups: int,
        encoder: Encoder | None = None,
        upsample: str = "nearest",
    ) -> None:
        """Build the parts that the prior and the networks that start from it have in common, under the same names."""
        self.build_codec(channels, res_blocks, norm_groups, encoder, upsample)
        self.before_quant = nn.Conv2d(channels[-1], code_dim, 1)
        self.quantizer = quantizer
        self.after_quant = nn.Conv2d(code_dim, channels[-1], 3, padding=1)

    def prior_parts(self) -> dict[str, str]:
        modules = ("encoder", "before_quant", "after_quant", "generator", "out_conv")
        return {name: name for name in (*modules, "quantizer.codebook")}

    def checkpointed_modules(self) -> list[nn.Module]:
        return [*self.encoder.stages, *self.generator]

    def float32_modules(self) -> list[nn.Module]:
        return [self.encoder, self.before_quant]

    def encode(self, x: Tensor) -> Codes:
        """Quantise the features of [B, 3, H, W] images whose size fits `size_multiple`."""
        return self.quantizer(self.before_quant(self.encoder(x)))

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Decode codes with G alone: [B, h, w] int64 to [B, 3, 8h, 8w] (f8)."""
        return self.out_conv(self.generator(self.after_quant(self.quantizer.lookup(indices)))[-1])
