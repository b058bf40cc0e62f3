"""Measure parameters, multiplications, CPU time and memory of the four hosts with VQ, SinCA and VR at inference.

    python scripts/host_costs.py [--size 128] [--hosts FeMaSR AdaCode CodeFormer DAEFR]

Super-resolution: size × size in, ×2. Faces: 512 × 512. One thread, random weights. Time is the process's own, median of
three after one warm-up, so that other jobs on the machine count little; memory is the
peak of the process above that before the first image.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

HOSTS = {
    # options, and what stands in the place of VQ in the published network, with the options that it has there
    "FeMaSR": ({"scale": 2}, "NearestCode"),
    "AdaCode": ({"scale": 2}, "NearestCode"),
    "CodeFormer": ({}, "CodePrediction"),
    "DAEFR": ({}, "CodePrediction"),
}
REPEATS = 3


def measure(host: str, quantizer: str, size: int) -> dict[str, float]:
    """Return what one network costs; in a process of its own."""
    import torch

    from vqcnir_arch import archs
    from vqcnir_arch.devices import peak_memory
    from vqcnir_arch.inspection.cost import multiply_adds

    torch.set_num_threads(1)
    torch.manual_seed(0)
    chosen = {} if quantizer == HOSTS[host][1] else {"quantizer": {"type": quantizer}}
    net = getattr(archs, host)(**HOSTS[host][0], **chosen).eval()
    size = net.fixed_size or size
    x = torch.rand(1, 3, size, size)
    before, seconds = peak_memory(), []
    with torch.inference_mode():
        net(x)
        for _ in range(REPEATS):
            start = time.process_time()
            net(x)
            seconds.append(time.process_time() - start)
        peak = peak_memory()
    with torch.no_grad():  # the counter cannot follow inference mode
        macs = multiply_adds(lambda: net(torch.rand(1, 3, size, size)))
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "gmacs": macs / 1e9,
        "seconds": statistics.median(seconds),
        "megabytes": (peak - before) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--hosts", nargs="+", choices=HOSTS, default=list(HOSTS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(*given.one, given.size)))
        return
    print("| network | parameters | GMACs | CPU seconds | MB |\n|---|---|---|---|---|")
    rows = [(host, each) for host in given.hosts for each in (HOSTS[host][1], "SinCA", "VectorRegression")]
    for host, quantizer in rows:
        command = [sys.executable, __file__, "--size", str(given.size), "--one", host, quantizer]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        cells = f"{found['parameters']:,} | {found['gmacs']:.1f} | {found['seconds']:.2f} | {found['megabytes']:.0f}"
        print(f"| {host}, {quantizer} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
