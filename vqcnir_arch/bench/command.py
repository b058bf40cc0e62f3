"""`vqcnir bench`: a table of time and memory of networks on this machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from vqcnir_arch.arguments import positive, sides
from vqcnir_arch.errors import UserError
from vqcnir_arch.names import PEERS, PRECISIONS


def main(arguments: Sequence[str]) -> None:
    """Measure time, peak memory and arithmetic of networks; medians over interleaved rounds, with their spread.

    Raises:
        UserError: an unknown network, a bad checkpoint, or nothing that could be measured.
    """
    known = parse(arguments)

    from vqcnir_arch.atomic_files import atomic_write
    from vqcnir_arch.bench.rows import cases_of, machine, run, table
    from vqcnir_arch.devices import choose_device

    device = choose_device(known.device)
    networks = [*known.arch, *known.weights] or ["VQCNIR"]
    results, skipped = run(cases_of(networks, known), device, known.repeats, known.quiet)
    print(machine(device))
    print(table(results))
    for line in skipped:
        print(f"skipped: {line}")
    if known.json:
        record = {"machine": machine(device), "rows": results, "skipped": skipped}
        with atomic_write(Path(known.json)) as file:
            file.write(json.dumps(record, indent=1).encode())
    if not results:
        raise UserError("nothing could be measured")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="vqcnir bench", description=main.__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "-w", "--weights", nargs="+", default=[], metavar="FILE", help="checkpoints, published or ours, or vqcnir-s"
    )
    parser.add_argument("--arch", nargs="+", default=[], metavar="NAME", help="networks with random weights")
    parser.add_argument("--peers", action="store_true", help=f"also {', '.join(PEERS)}, where installed")
    parser.add_argument("--size", nargs="+", type=sides, default=[(512, 512)], metavar="HxW", help="default: 512x512")
    parser.add_argument("--batch", type=positive, default=1)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32"])
    parser.add_argument("--train", action="store_true", help="training steps instead of forward passes")
    parser.add_argument(
        "--no-reference", action="store_true",
        help="leave out the rows with torchvision's deformable convolution and published padding",
    )  # fmt: skip
    parser.add_argument("--repeats", type=positive, default=5, help="rounds (default: 5)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... (default: a GPU where there is one)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(arguments)
