"""Swin layers: the block, FeMaSR's stack of them, and the encoder that FeMaSR and AdaCode share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vqcnir_arch.archs.autoencoder import Encoder
from vqcnir_arch.archs.layers import ResidualBlock, Upsample
from vqcnir_arch.archs.padding import crop_bottom_right, pad_bottom_right
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ENHANCER_REGISTRY, register


@register(ENHANCER_REGISTRY)
class SwinBlock(nn.Module):
    """SwinIR's layer: attention in windows, shifted by half a window in every second block; timm's implementation.

    [B, C, H, W] to the same shape.

    Args:
        channels: C.
        index: place of the block in its stack, which decides about the shift.
        num_heads: attention heads.
        window: height and width of a window.
        mlp_ratio: hidden channels of the MLP over C.
    """

    def __init__(self, channels: int, index: int, num_heads: int = 8, window: int = 8, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformerBlock  # slow to import

        if num_heads < 1 or channels % num_heads:
            raise UserError(f"SwinBlock: num_heads {num_heads} does not divide {channels} channels")
        self.window = window
        self.block = SwinTransformerBlock(
            channels,
            input_resolution=(window, window),  # any other follows from the input
            num_heads=num_heads,
            window_size=window,
            shift_size=window // 2 if index % 2 else 0,
            mlp_ratio=mlp_ratio,
            always_partition=True,
            dynamic_mask=True,
        )

    def forward(self, x: Tensor) -> Tensor:
        # timm pads after the shift, where its mask does not expect it: opposite edges would see each other
        padded = pad_bottom_right(x, self.window)
        padded = self.block(padded.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return crop_bottom_right(padded, *x.shape[-2:])


class SwinGroup(nn.Module):
    """SwinIR's residual group (RSTB): Swin blocks, a 3×3 convolution, and the input added; [B, C, H, W] to the same.

    Args:
        channels: C.
        depth: blocks.
        num_heads: attention heads.
        window: height and width of a window.
    """

    def __init__(self, channels: int, depth: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(SwinBlock(channels, i, num_heads, window) for i in range(depth)))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.blocks(x))


class SwinStack(nn.Sequential):
    """FeMaSR's stack of residual Swin groups, without a norm before or after it; [B, C, H, W] to the same.

    Args:
        channels: C.
        groups: residual groups.
        depth, num_heads, window: as `SwinGroup`.
    """

    def __init__(self, channels: int, groups: int, depth: int, num_heads: int, window: int) -> None:
        super().__init__(*(SwinGroup(channels, depth, num_heads, window) for _ in range(groups)))


class SwinEncoder(Encoder):
    """Encoder of low-quality images: halvings down to the code grid, a Swin stack, and doublings for feature fusion.

    An image that is to grow by `scale` is that much smaller, so that the first log2(scale) halvings fall away and the
    code grid stays that of the prior on the restored image.

    Args:
        channels: the prior's, at f1, f2, ... of the restored image.
        scale: size of the restored image over that of the input, a power of two.
        stack: the Swin stack, at `channels[-1]` channels.
        res_blocks: residual blocks per level.
        norm_groups: groups of the group norms.
        ups: whether there are doublings: one for every level of the generator but the finest.
    """

    def __init__(
        self, channels: Sequence[int], scale: int, stack: SwinStack, res_blocks: int, norm_groups: int, ups: bool
    ) -> None:
        scales = [2**i for i in range(len(channels) - 1)]
        if scale not in scales:
            raise UserError(
                f"scale {scale} does not fit {len(channels)} channels (known: {', '.join(map(str, scales))})"
            )
        channels = list(channels)
        super().__init__(channels[scales.index(scale) :], res_blocks, norm_groups)
        self.halvings = len(self.stages)
        self.stages.append(stack)
        for before, after in pairwise(channels[:0:-1] if ups else ()):
            blocks = (ResidualBlock(after, after, norm_groups) for _ in range(res_blocks))
            self.stages.append(nn.Sequential(*Upsample(before, after), *blocks))

    # called as what it is alone: the base gives it the layers
    def forward(self, x: Tensor, ups: bool = True) -> list[Tensor]:  # type: ignore[override]
        """Return the feature on the code grid and, with `ups`, those of the finer levels that exist, coarsest first."""
        x, features = self.in_conv(x), []
        for i, stage in enumerate(self.stages):
            if i > self.halvings and not ups:
                break
            x = stage(x)
            if i >= self.halvings:
                features.append(x)
        return features
