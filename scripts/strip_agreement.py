"""Compare a photograph restored in strips with the same one restored whole, with a network of the default size.

    python scripts/strip_agreement.py                 # 1120x640, random weights, a photograph of scikit-image, darkened
    python scripts/strip_agreement.py --weights net.pth --size 512 512

Reported are the codes that differ, those that are near ties (the two nearest codes' distances differ by less than 1e-4
of them), and the largest difference of a pixel when the strips get the whole image's codes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import skimage.data
import torch
from torch import Tensor, nn

from vqcnir_arch import load_network
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.restoration.strips.network import restore_in_strips
from vqcnir_arch.restoration.strips.store import Scratch


def random_network() -> VQCNIR:
    """Return a network of the default size in which no part is switched off, as parts of a fresh one are."""
    torch.manual_seed(0)
    net = VQCNIR().eval().requires_grad_(False)
    for name, parameter in net.named_parameters():
        if name.endswith((".beta", ".gamma")):
            nn.init.normal_(parameter, std=0.1)
        if ".conv_offset.weight" in name:
            nn.init.normal_(parameter, std=0.01)
    return net


def night(width: int, height: int) -> Tensor:
    """Return a dark photograph, [1, 3, height, width]."""
    image = cv2.resize(skimage.data.astronaut(), (width, height), interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255 * 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="checkpoint (default: random weights)")
    parser.add_argument("--size", type=int, nargs=2, default=(1120, 640), metavar=("W", "H"))
    parser.add_argument("--strip-memory", type=float, default=0.1, help="GB that a strip may take")
    known = parser.parse_args()
    net, image = load_network(known.weights) if known.weights else random_network(), night(*known.size)
    began = time.process_time()
    with torch.inference_mode():
        whole, codes = net(image, return_codes=True)
    whole_seconds = time.process_time() - began
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for indices in (None, codes.indices):
            began = time.process_time()
            scratch = Scratch(Path(folder), 0, int(known.strip_memory * 1e9))
            results.append(restore_in_strips(net, image, scratch, indices))
            seconds = time.process_time() - began
    free, imposed = results
    differing = int((free.indices != codes.indices).sum())
    difference = (imposed.image - whole).abs().max()
    print(
        f"{known.size[0]}x{known.size[1]}: {differing} of {codes.indices.numel()} codes differ, "
        f"{free.near_ties} are near ties; with the same codes the largest difference is {difference * 255:.4f}/255,\n"
        f"standard deviation of the result {whole.std() * 255:.0f}/255; CPU time "
        f"{whole_seconds:.0f} s whole, {seconds:.0f} s in strips"
    )


if __name__ == "__main__":
    main()
