"""Measure the memory and disk that `vqcnir restore` takes with a network of the default size, whole and in strips.

    python scripts/restore_memory.py --whole 256x256 512x384 --strips 512x512 --limits 1.6 2

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

from vqcnir_arch.measuring import peak_memory
from vqcnir_arch.restoration.inference import restore_tensor
from vqcnir_arch.restoration.tiling import GB, map_bytes, restore_within, used_memory


def whole(size: tuple[int, int]) -> str:
    """Restore an image at once."""
    net, image = random_network(), night(*size)
    restore_tensor(net, night(64, 64))
    before, began = used_memory(), time.process_time()
    restore_tensor(net, image)
    maps = (peak_memory() - before) / map_bytes(net, image)
    return f"{before / GB:.2f} | {peak_memory() / GB:.2f} | {maps:.1f} | - | - | {time.process_time() - began:.0f}"


def strips(size: tuple[int, int], limit: float) -> str:
    """Restore an image in strips below a limit in GB."""
    net, image, said = random_network(), night(*size), []
    before, began = used_memory(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = restore_within(net, image, limit * GB, folder=Path(folder), announce=said.append)
    announced = said[0].split(", with ")[1].split(" of ")[0]
    seconds = time.process_time() - began
    return f"{before / GB:.2f} | {peak_memory() / GB:.2f} | - | {announced} | {result.disk / GB:.1f} GB | {seconds:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
            row = pool.apply(whole, (pixels,)) if limit is None else pool.apply(strips, (pixels, limit))
        print(f"| {size} | {limit or 'whole'} | {row} |", flush=True)


if __name__ == "__main__":
    main()
