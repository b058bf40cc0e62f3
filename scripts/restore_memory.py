"""Measure the memory and disk that `vqcnir restore` takes, whole and in strips, with the default or another network.

    python scripts/restore_memory.py --whole 256x256 512x384 --strips 512x512 --limits 1.6 2
    python scripts/restore_memory.py -w vqcnir-s --whole 1000x1000 --strips 3000x4000 --limits 4

Each figure comes from a process of its own: the peak of its resident memory. What a whole image takes beyond what the
process holds before is also given in maps of the finest level: `WHOLE_IMAGE_MAPS` in restoration/tiling.py is from it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

from strip_agreement import night, random_network

from vqcnir_arch.archs.loading import load_network
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.devices import peak_memory
from vqcnir_arch.restoration.inference import restore_tensor
from vqcnir_arch.restoration.tiling import GB, map_bytes, restore_within, used_memory


def network(weights: str | None) -> VQNetwork:
    """Return the network that is measured."""
    return load_network(weights) if weights else random_network()


def whole(size: tuple[int, int], weights: str | None) -> str:
    """Restore an image at once."""
    net, image = network(weights), night(*size)
    restore_tensor(net, night(64, 64))
    before, began = used_memory(), time.process_time()
    restore_tensor(net, image)
    maps = (peak_memory() - before) / map_bytes(net, image)
    return f"{before / GB:.2f} | {peak_memory() / GB:.2f} | {maps:.1f} | - | - | {time.process_time() - began:.0f}"


def strips(size: tuple[int, int], weights: str | None, limit: float) -> str:
    """Restore an image in strips below a limit in GB."""
    net, image, said = network(weights), night(*size), []
    before, began = used_memory(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = restore_within(net, image, limit * GB, folder=Path(folder), announce=said.append)
    announced = said[0].split(", with ")[1].split(" of ")[0] if ", with " in said[0] else "0 GB"
    seconds = time.process_time() - began
    return f"{before / GB:.2f} | {peak_memory() / GB:.2f} | - | {announced} | {result.disk / GB:.1f} GB | {seconds:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--weights", help="checkpoint (default: random weights of the default size)")
    parser.add_argument("--whole", nargs="*", default=["256x256", "512x384"])
    parser.add_argument("--strips", nargs="*", default=["512x512"])
    parser.add_argument("--limits", nargs="*", type=float, default=[1.6, 2.0], help="GB")
    known = parser.parse_args()
    print("| size | limit, GB | before, GB | peak, GB | maps | disk announced | disk used | CPU time, s |")
    print("|" + "---|" * 8)
    jobs = [(size, None) for size in known.whole]
    jobs += [(size, limit) for size in known.strips for limit in known.limits]
    for size, limit in jobs:
        pixels = tuple(map(int, size.split("x")))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            if limit is None:
                row = pool.apply(whole, (pixels, known.weights))
            else:
                row = pool.apply(strips, (pixels, known.weights, limit))
        print(f"| {size} | {limit or 'whole'} | {row} |", flush=True)


if __name__ == "__main__":
    main()
