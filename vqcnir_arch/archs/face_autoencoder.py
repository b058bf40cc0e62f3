"""The parts that the face networks share: encoder and generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from vqcnir_arch.archs.face_layers import Downsample, SpatialAttention
from vqcnir_arch.archs.hub_network import HubNetwork
from vqcnir_arch.archs.layers import ResidualBlock, Upsample, group_norm
from vqcnir_arch.archs.quantizers import Quantizer
from vqcnir_arch.errors import UserError

FACE_CHANNELS = (64, 128, 128, 256, 256, 512)
"""Published channels at f1, f2, f4, f8, f16 and f32."""
FLAVOURS = ("codeformer", "daefr")
ENCODER_BLOCKS = 2
GENERATOR_BLOCKS = {"codeformer": 2, "daefr": 3}


def attention(channels: int, norm_groups: int, flavour: str) -> SpatialAttention:
    """Return a self-attention of an auto-encoder; DAEFR's carries a second norm that is never used."""
    block = SpatialAttention(channels, norm_groups, query_norm=flavour == "daefr")
    if flavour == "daefr":
        block.query_norm.requires_grad_(False)
    return block


class FaceStack(nn.Sequential):
    """Base of encoder and generator: named parts in the order in which they run."""

    conv_out: nn.Conv2d

    def add_level(self, level: int, blocks: int, before: int, after: int, norm_groups: int, attend: str | None) -> None:
        """Append a level's residual blocks, each with an attention of flavour `attend` behind it if that is given."""
        for i in range(blocks):
            self.append_part(f"level{level}_block{i}", ResidualBlock(before if i == 0 else after, after, norm_groups))
            if attend:
                self.append_part(f"level{level}_attention{i}", attention(after, norm_groups, attend))

    def add_middle(self, channels: int, norm_groups: int, flavour: str) -> None:
        """Append what stands at the coarsest level between encoder and generator."""
        self.append_part("middle_block0", ResidualBlock(channels, channels, norm_groups))
        self.append_part("middle_attention", attention(channels, norm_groups, flavour))
        self.append_part("middle_block1", ResidualBlock(channels, channels, norm_groups))

    def add_end(self, before: int, after: int, norm_groups: int, flavour: str) -> None:
        """Append norm and last convolution; only DAEFR has an activation between them."""
        self.append_part("norm_out", group_norm(before, norm_groups))
        if flavour == "daefr":
            self.append_part("activation", nn.SiLU())
        self.append_part("conv_out", nn.Conv2d(before, after, 3, padding=1))

    def append_part(self, name: str, part: nn.Module) -> None:
        self.add_module(name, part)


class FaceEncoder(FaceStack):
    """E: image in [-1, 1] to features at 1/2^n of its size, [B, 3, H, W] to [B, code_dim, H/2^n, W/2^n].

    Args:
        channels: channels at full size and after each of the n halvings; attention is at the coarsest level alone.
        code_dim: channels of the feature.
        norm_groups: groups of the group norms.
        flavour: `codeformer` or `daefr`.
    """

    def __init__(self, channels: Sequence[int], code_dim: int, norm_groups: int, flavour: str) -> None:
        super().__init__()
        coarsest = len(channels) - 1
        self.append_part("conv_in", nn.Conv2d(3, channels[0], 3, padding=1))
        before = channels[0]
        for level, after in enumerate(channels):
            attend = flavour if level == coarsest else None
            self.add_level(level, ENCODER_BLOCKS, before, after, norm_groups, attend)
            if level < coarsest:
                self.append_part(f"level{level}_down", Downsample(after))
            before = after
        self.add_middle(before, norm_groups, flavour)
        self.add_end(before, code_dim, norm_groups, flavour)
        self.level_ends = {f"level{level}_block{ENCODER_BLOCKS - 1}": level for level in range(coarsest)}

    def forward(self, x: Tensor, return_levels: bool = False) -> Any:
        """Return the feature; with `return_levels` (feature, {level: feature of that level, before it is halved})."""
        levels = {}
        for name, part in self.named_children():
            x = part(x)
            if return_levels and name in self.level_ends:
                levels[self.level_ends[name]] = x
        return (x, levels) if return_levels else x


class FaceGenerator(FaceStack):
    """G: features to images in [-1, 1], the encoder's way back; arguments as `FaceEncoder`."""

    def __init__(self, channels: Sequence[int], code_dim: int, norm_groups: int, flavour: str) -> None:
        super().__init__()
        coarsest = len(channels) - 1
        before = channels[-1]
        self.append_part("conv_in", nn.Conv2d(code_dim, before, 3, padding=1))
        self.add_middle(before, norm_groups, flavour)
        for level in reversed(range(len(channels))):
            attend = flavour if level == coarsest else None
            self.add_level(level, GENERATOR_BLOCKS[flavour], before, channels[level], norm_groups, attend)
            before = channels[level]
            if level:
                self.append_part(f"level{level}_up", Upsample(before, before))
        self.add_end(before, 3, norm_groups, flavour)
        self.level_starts = {f"level{level}_block0": level for level in range(coarsest)}

    def forward(self, x: Tensor, fuse: Callable[[int, Tensor], Tensor] | None = None) -> Tensor:
        """Decode; `fuse(level, feature)` may replace the feature behind the first block of each level but f32."""
        for name, part in self.named_children():
            x = part(x)
            if fuse is not None and name in self.level_starts:
                x = fuse(self.level_starts[name], x)
        return x


class FaceAutoencoder(HubNetwork):
    """Base of the face networks: a prior's tensors have the same names in all of one flavour."""

    prior_type = "FaceVQGANPrior"
    default_quantizer = "CodePrediction"
    decodes_on_demand = True
    frozen_parts: tuple[str, ...] = ("after_quant", "generator")
    flavour: str

    def build_autoencoder(
        self, channels: list[int], quantizer: Quantizer, norm_groups: int, flavour: Literal["codeformer", "daefr"]
    ) -> None:
        """Build the parts that a prior and the networks that start from it have in common, under the same names."""
        if flavour not in FLAVOURS:
            raise UserError(f"flavour '{flavour}' is unknown (known: {', '.join(FLAVOURS)})")
        if len(channels) < 2:
            raise UserError(f"channels needs an entry for f1 and one per halving, got {channels}")
        code_dim = quantizer.codebook.shape[1]
        self.flavour = flavour
        self.size_multiple = 2 ** (len(channels) - 1)
        self.encoder = FaceEncoder(channels, code_dim, norm_groups, flavour)
        has_convs = flavour == "daefr"
        self.before_quant = nn.Conv2d(code_dim, code_dim, 1) if has_convs else nn.Identity()
        self.quantizer = quantizer
        self.after_quant = nn.Conv2d(code_dim, code_dim, 1) if has_convs else nn.Identity()
        self.generator = FaceGenerator(channels, code_dim, norm_groups, flavour)

    @classmethod
    def quantizer_block(cls, options: dict[str, Any]) -> dict[str, Any]:
        quantizer = super().quantizer_block(options)
        if quantizer["type"] == "CodePrediction":  # as published
            quantizer.setdefault("attention", "CodeFormer")
            if quantizer["attention"] == "CodeFormer":
                quantizer.setdefault("tokens", (options["image_size"] >> (len(options["channels"]) - 1)) ** 2)
        return quantizer

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Decode codes with G alone: [B, h, w] int64 to [B, 3, 32h, 32w] (f32), nominal range [0, 1]."""
        return to_unit(self.generator(self.after_quant(self.quantizer.lookup(indices))))

    def prior_options(self) -> dict[str, Any]:
        return {**super().prior_options(), "flavour": self.flavour}

    def prior_parts(self) -> dict[str, str]:
        return {name: name for name in ("encoder", "generator", "quantizer.codebook")}

    def adaptive_layer(self) -> nn.Conv2d:
        return self.generator.conv_out

    def float32_modules(self) -> list[nn.Module]:
        return [self.encoder, self.before_quant, self.quantizer]

    def checkpointed_modules(self) -> list[nn.Module]:
        stacks = [part for part in self.children() if isinstance(part, FaceStack)]
        return [part for stack in stacks for name, part in stack.named_children() if "_block" in name]


def to_unit(x: Tensor) -> Tensor:
    """Map [-1, 1], in which the published networks work, to [0, 1]."""
    return x / 2 + 0.5
