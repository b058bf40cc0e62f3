"""Images per second and core of the hosts' degradations, on photographs of a folder."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from vqcnir_arch.data.degradations import (
    FACE_SETTINGS,
    BSRGANPlusSettings,
    BSRGANSettings,
    bsrgan,
    bsrgan_plus,
    face,
)
from vqcnir_arch.data.degradations.steps import as_float
from vqcnir_arch.data.files import find_images, read_image
from vqcnir_arch.devices import peak_memory

RUNS, IMAGES = 3, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=512, help="side of the images that are degraded")
    known = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    paths = list(find_images(known.folder).values())[:IMAGES]
    images = [as_float(cv2.resize(read_image(path)[..., ::-1], (known.side, known.side))) for path in paths]
    cases = [(f"bsrgan x{scale}", bsrgan, BSRGANSettings(scale)) for scale in (2, 4)]
    cases += [(f"bsrgan_plus x{scale}", bsrgan_plus, BSRGANPlusSettings(scale)) for scale in (2, 4)]
    cases += [(name, face, settings) for name, settings in FACE_SETTINGS.items()]
    for name, degradation, settings in cases:
        rates = [rate(degradation, settings, images, run) for run in range(RUNS)]
        print(f"{name:<20}{statistics.median(rates):6.1f} images/s ({min(rates):.1f} to {max(rates):.1f})")
    print(f"peak memory {peak_memory() / 2**20:.0f} MiB")


def rate(degradation: object, settings: object, images: list[np.ndarray], seed: int) -> float:
    """Degrade all images once; return images per second of this process's CPU time."""
    rng = np.random.default_rng(seed)
    start = time.process_time()
    for image in images:
        degradation(image, rng, settings)
    return len(images) / (time.process_time() - start)


if __name__ == "__main__":
    main()
