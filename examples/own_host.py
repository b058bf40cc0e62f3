"""A network of your own on a prior's codebook, `python examples/own_host.py`.

The host starts from a prior's checkpoint, freezes what is the prior's, learns the codes that the prior chooses for
clean images, and takes every quantizer of the library. Thirty steps on noise show it.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vqcnir_arch
from vqcnir_arch.archs import VQGANPrior
from vqcnir_arch.archs.autoencoder import CHANNELS, VQAutoencoder
from vqcnir_arch.archs.start import start_from_prior
from vqcnir_arch.registry import ARCH_REGISTRY, QUANTIZER_REGISTRY, build, register

SMALL = {"channels": [16, 16, 32, 32], "norm_groups": 8, "codebook_size": 32, "code_dim": 16}


@register(ARCH_REGISTRY)
class DetailHost(VQAutoencoder):
    """Encoder, codebook and decoder G of the prior, whose finest feature gets the image's own edges.

    Args:
        channels, codebook_size, code_dim, res_blocks, norm_groups: as `VQGANPrior`; equal to those of the prior.
        quantizer: `{type: ...}`, any quantizer that is registered.
        padding: `exact` or `published`, as every network.
        prior: checkpoint of a `VQGANPrior` to start from.
        freeze_prior: freeze codebook, G, after-quant and output layer; default: whether `prior` is given.
    """

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        codebook_size: int = 1024,
        code_dim: int = 512,
        res_blocks: int = 2,
        norm_groups: int = 32,
        quantizer: dict[str, Any] | None = None,
        padding: str = "exact",
        prior: str | None = None,
        freeze_prior: bool | None = None,
    ) -> None:
        super().__init__()
        channels = list(channels)
        self.remember_options(locals())  # the checkpoint carries them
        sizes = {"codebook_size": codebook_size, "code_dim": code_dim}
        built_quantizer = build(QUANTIZER_REGISTRY, self.options["quantizer"], **sizes)
        self.build_autoencoder(channels, built_quantizer, code_dim, res_blocks, norm_groups)
        self.detail = nn.Conv2d(3, channels[0], 3, padding=1)
        self.draw_weights()  # when all layers are there
        start_from_prior(self, prior, freeze_prior)

    def compute(self, x: Tensor, return_codes: bool = False) -> Any:
        """Restore images; with `return_codes` give (image, codes), which the losses on codes need."""
        codes = self.encode(x)
        image = self.out_conv(self.generator(self.after_quant(codes.output))[-1] + self.detail(x))
        return (image, codes) if return_codes else image


def main() -> None:
    """Train a small host from a prior, save it, and load it as any other checkpoint."""
    torch.manual_seed(0)
    prior = VQGANPrior(**SMALL)
    prior.quantizer.codebook.data.normal_()
    torch.save({"params": prior.state_dict()}, "prior.pth")  # in earnest: options/prior/train_prior.yml
    net = DetailHost(**SMALL, prior="prior.pth")
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3)
    sharp = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        truth = prior(sharp, return_codes=True)[1]
    losses = []
    for _ in range(30):
        image, codes = net(0.3 * sharp, return_codes=True)
        loss = F.l1_loss(image, sharp) + F.mse_loss(codes.features, truth.quantized)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    frozen = sum(p.numel() for p in net.parameters() if not p.requires_grad)
    torch.save({"params": net.state_dict()}, "own_host.pth")
    loaded = vqcnir_arch.load_network("own_host.pth")
    with torch.inference_mode():
        photo = torch.rand(1, 3, 33, 50)  # any size: padded and cropped by the base class
        same = torch.equal(loaded(photo), net.eval()(photo))
    kind = type(loaded).__name__
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}; {frozen} frozen parameters; loaded {kind}, equal: {same}")


if __name__ == "__main__":
    main()
