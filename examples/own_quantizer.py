"""A quantizer of your own in VQCNIR: the mean of the nearest codes, `python examples/own_quantizer.py`.

Twenty steps on noise show that it trains, is saved and is found again. To train it by an option file, import this
module and call the launcher: `vqcnir_arch.launch.train(["-opt", "train.yml"])`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

import vqcnir_arch
from vqcnir_arch.archs import VQCNIR, Codes, Quantizer
from vqcnir_arch.archs.quantizers.nearest_code import code_distances
from vqcnir_arch.registry import QUANTIZER_REGISTRY, register

SMALL = {"channels": [16, 16, 32, 32], "norm_groups": 8, "codebook_size": 32, "code_dim": 16}
PARTS = {
    "enhancer": {"type": "AIEM", "depth": 1, "splits": 4},
    "fusion": {"type": "DBCA", "heads": [2, 2, 1, 1], "offset_groups": 2},
}


@register(QUANTIZER_REGISTRY)
class MeanOfNearest(Quantizer):
    """Replace each feature by the mean of the codes nearest to it; gradients pass straight through.

    Args:
        codebook_size, code_dim: as `Quantizer`.
        count: number of codes.
    """

    output_kind = "features"  # no single code is chosen: `matching_opt` fits, `token_opt` does not

    def __init__(self, codebook_size: int, code_dim: int, count: int = 4) -> None:
        super().__init__(codebook_size, code_dim)
        self.count = count

    def forward(self, features: Tensor) -> Codes:
        rows = features.permute(0, 2, 3, 1)
        nearest = code_distances(rows.flatten(0, 2), self.codebook).topk(self.count, largest=False).indices
        mean = self.codebook[nearest].mean(1).view_as(rows).permute(0, 3, 1, 2)
        return Codes(features, (features - features.detach()) + mean.detach())


def main() -> None:
    """Train a small VQCNIR with the quantizer, save it, and load it as any other checkpoint."""
    torch.manual_seed(0)
    net = VQCNIR(**SMALL, **PARTS, quantizer={"type": "MeanOfNearest", "count": 3})
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3)
    sharp = torch.rand(2, 3, 32, 32)
    losses = []
    for _ in range(20):
        loss = F.l1_loss(net(0.3 * sharp), sharp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    torch.save({"params": net.state_dict()}, "own_quantizer.pth")  # as BasicSR saves
    loaded = vqcnir_arch.load_network("own_quantizer.pth")  # its options stand in the file
    with torch.inference_mode():
        same = torch.equal(loaded(sharp), net.eval()(sharp))
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}; loaded {loaded.options['quantizer']}, equal: {same}")


if __name__ == "__main__":
    main()
