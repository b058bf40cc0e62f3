"""CPU seconds per image of every evaluation column that needs no weights, at LOL-Blur's 1120 x 640."""

from __future__ import annotations

import statistics
import sys
import time

import cv2
import numpy as np
import skimage.data
import torch

from vqcnir_arch import UserError
from vqcnir_arch.evaluation import PROTOCOLS
from vqcnir_arch.evaluation.columns import batch_function, host_function
from vqcnir_arch.evaluation.protocols import PIXELS_FLOAT

REPEATS = 3


def main() -> None:
    torch.set_num_threads(1)
    truth = cv2.resize(skimage.data.astronaut()[..., ::-1], (1120, 640), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 8, truth.shape)
    image = np.clip(np.round(truth + noise), 0, 255).astype(np.uint8)
    seen = set()
    for protocol in PROTOCOLS.values():
        pair = (image, truth)
        if protocol.pixels == PIXELS_FLOAT:
            pair = tuple(x.astype(np.float32) / 255 for x in pair)
        for column in protocol.columns:
            if column.settings in seen or column.reference == "set":
                continue
            seen.add(column.settings)
            try:
                seconds = [timed(column, protocol, pair) for _ in range(REPEATS)]
            except UserError as error:
                print(f"{column.settings}: left out, {error}", file=sys.stderr)
                continue
            print(f"| {column.title} | `{column.settings}` | {statistics.median(seconds):.2f} |", flush=True)


def timed(column, protocol, pair) -> float:  # noqa: ANN001
    """Return the CPU seconds of this process for one image; other work on the machine does not count."""
    if column.library == "pyiqa":
        function = batch_function(column, protocol, torch.device("cpu"))
        start = time.process_time()
        function([pair[0]], [pair[1]])
    else:
        function = host_function(column, protocol)
        start = time.process_time()
        function(*pair)
    return time.process_time() - start


if __name__ == "__main__":
    main()
