"""The discriminator of CodeFormer's and DAEFR's stages with a GAN."""

from __future__ import annotations

from torch import Tensor, nn

from vqcnir_arch.registry import ARCH_REGISTRY, register


@register(ARCH_REGISTRY)
class PatchDiscriminator(nn.Sequential):
    """Judges patches: 4×4 convolutions, of which `num_layers` halve the size, with batch norm (pix2pix's PatchGAN).

    Args:
        num_in_ch: channels of the image.
        num_feat: channels behind the first convolution; doubled with each further one, up to eightfold.
        num_layers: convolutions of stride 2.

    Takes [B, 3, H, W], gives one score per patch, about [B, 1, H/2^num_layers, W/2^num_layers].
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, num_layers: int = 4) -> None:
        layers: list[nn.Module] = [nn.Conv2d(num_in_ch, num_feat, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        before = num_feat
        for i in range(1, num_layers + 1):
            after = num_feat * min(2**i, 8)
            stride = 2 if i < num_layers else 1
            layers.append(nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False))
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
            before = after
        super().__init__(*layers, nn.Conv2d(before, 1, 4, padding=1))
        for layer in layers:
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1, 0.02)
            elif isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 2 - 1)  # as published, on images in [-1, 1]
