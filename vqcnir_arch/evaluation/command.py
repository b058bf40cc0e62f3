"""`vqcnir evaluate`: a folder of results under a named protocol."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vqcnir_arch.arguments import named_path, positive
from vqcnir_arch.evaluation.protocols import PROTOCOLS, find_protocol
from vqcnir_arch.shards import add_shard, alone, chosen_shard

if TYPE_CHECKING:
    from vqcnir_arch.evaluation.run import Evaluation

INCOMPLETE_STATUS = 1


def main(arguments: Sequence[str]) -> None:
    """`vqcnir evaluate`; exits with status 1 if an image could not be measured, the others being measured."""
    lines = [f"  {protocol.name:<14}{protocol.summary}" for protocol in PROTOCOLS.values()]
    parser = argparse.ArgumentParser(
        prog="vqcnir evaluate",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure a folder of results, <video>/<frame>.png or flat, under a named protocol.",
        epilog="\n".join(["protocols:", *lines]),
    )
    parser.add_argument("results", type=named_path, help="folder of restored images (.npy for protocol darkir)")
    parser.add_argument("--protocol", required=True, metavar="NAME", help="how to measure, see below")
    parser.add_argument("--gt", type=named_path, metavar="DIR", help="ground truths, with the names of the results")
    parser.add_argument(
        "--out", type=named_path, metavar="DIR", help="where to write (default: RESULTS_PROTOCOL beside it)"
    )
    parser.add_argument("--reference", type=named_path, metavar="DIR", help="the images that FID compares with")
    parser.add_argument("--set", dest="test_set", metavar="NAME", help="the papers' test set, e.g. 'DIV2K valid x2'")
    parser.add_argument(
        "--row", metavar="NAME", help="the one of the papers' rows to show, e.g. 'SinCA 4: FeMaSR + SA'"
    )
    parser.add_argument("--pair", nargs=2, metavar=("INPUT", "TRUTH"), help="folders, e.g. low_blur high_sharp_scaled")
    parser.add_argument("--suffix", default="", help="what the results' names end in beyond the ground truths'")
    parser.add_argument("--device", help="cuda, cuda:1, cpu (default: the GPU if there is one)")
    parser.add_argument("--batch", type=positive, help="images at once on the device (default: 8 on a GPU, else 1)")
    parser.add_argument("--workers", type=positive, default=2, help="threads for reading and CPU metrics (default: 2)")
    add_shard(parser)
    known = parser.parse_args(arguments)
    known.shard = chosen_shard(known.shard)

    from vqcnir_arch.evaluation.run import evaluate
    from vqcnir_arch.evaluation.sets import find_row

    if known.row is not None:
        find_row(known.row, find_protocol(known.protocol), [known.test_set])
    results, protocol, truths = known.results, known.protocol, known.gt
    rest = {name: value for name, value in vars(known).items() if name not in ("results", "protocol", "gt")}
    with alone(known.shard):
        if report(evaluate(results, protocol, truths, **rest)):
            sys.exit(INCOMPLETE_STATUS)


def report(evaluation: Evaluation) -> bool:
    """Write the files of an evaluation and print its means; return whether an image could not be measured.

    Of a part only what failed is said: its values are in its journal.
    """
    from vqcnir_arch.evaluation.write import missing, write_all

    if evaluation.part.count > 1:
        for name, reason in evaluation.measured.failed.items():
            print(f"image {name} FAILED: {reason}", file=sys.stderr)
        number, out = len(evaluation.pairs), evaluation.out
        print(f"{evaluation.part.label}{number} of {evaluation.conditions.images} images, measured into '{out}'")
        print("when all parts are done, the same command with --shard 1/1 joins them and writes the table")
        return bool(evaluation.measured.failed)
    written = write_all(evaluation)
    for column in evaluation.columns:
        mean = evaluation.means[column.name]
        interval = "" if mean.low is None else f" [{mean.low:.4f}, {mean.high:.4f}]"
        print(f"{column.title} {column.arrow} {mean.mean:.4f}{interval} over {mean.n} images")
    for line in missing(evaluation)[1:]:
        print(line, file=sys.stderr)
    print("written: " + ", ".join(map(str, written)))
    return bool(evaluation.measured.failed)
