"""Run BasicSR's own pipelines on a checked option file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vqcnir_arch.errors import UserError
from vqcnir_arch.processes import is_first


def argument_parser(pipeline: str) -> argparse.ArgumentParser:
    """Return the parser of a command line of `vqcnir train` or `vqcnir test`."""
    parser = argparse.ArgumentParser(prog=f"vqcnir {pipeline}", allow_abbrev=False)
    parser.add_argument("-opt", required=True, help="option file (YAML)")
    parser.add_argument("--root", default=".", help="folder for experiments/ and results/ (default: the current one)")
    parser.add_argument("--force_yml", nargs="+", default=[], help="options to change, e.g. train:total_iter=100")
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm"], default="none", help="set by torchrun users"
    )
    parser.add_argument("--auto_resume", action="store_true", help="resume from the newest training state")
    parser.add_argument(
        "--debug", action="store_true", help="BasicSR's debug mode: validate and save every 8 iterations"
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    if pipeline == "test":
        parser.add_argument("--protocol", help="then evaluate what was written, as `vqcnir evaluate` does")
        parser.add_argument(
            "--set", nargs="+", default=[], metavar="NAME", help="the papers' test set of each data set"
        )
        parser.add_argument("--row", metavar="NAME", help="the papers' row to show alone, e.g. 'SinCA 4: FeMaSR + SA'")
        parser.add_argument("--reference", type=Path, metavar="DIR", help="the images that FID compares with")
    return parser


def run(pipeline: str, arguments: Sequence[str]) -> None:
    """Train or test.

    Args:
        pipeline: `train` or `test`.
        arguments: command line: `-opt FILE`, BasicSR's own flags, and `--root DIR` (default: the current folder), below
            which experiments/, results/ and tb_logger/ go.

    Raises:
        UserError: bad input; nothing has been written then.
    """
    known = argument_parser(pipeline).parse_args(arguments)
    if pipeline == "test" and known.protocol is None and (known.set or known.reference or known.row):
        raise UserError("--set, --reference and --row are for an evaluation: name its --protocol")

    from vqcnir_arch.options import preflight, read_options
    from vqcnir_arch.options.unchecked import unchecked_blocks
    from vqcnir_arch.pipeline_fixes import launcher_fixes
    from vqcnir_arch.signals import Stopped
    from vqcnir_arch.training.basicsr_parts import replaced
    from vqcnir_arch.training.distributed import leave_processes

    is_train = pipeline == "train"
    root = Path(known.root).expanduser().resolve()
    notes: list[str] = []
    options = preflight(read_options(known.opt, known.force_yml, notes), is_train, root)
    after = None
    if not is_train and known.protocol is not None:
        from vqcnir_arch.evaluation.after_test import AfterTest

        after = AfterTest(known.protocol, options, known.set, known.reference, known.row)
        options["val"] |= after.wanted
    for note in (*notes, *unchecked_blocks(options)):
        print(f"vqcnir: note: {note}", file=sys.stderr)

    flags = ["-opt", known.opt, "--launcher", known.launcher]
    flags += [flag for flag, given in (("--auto_resume", known.auto_resume), ("--debug", known.debug)) if given]
    status = 0
    try:
        # the command stands in the copy of the option file that BasicSR keeps
        with launcher_fixes(options, flags, notes), replaced(sys, "argv", [f"vqcnir_{pipeline}", *arguments]):
            if is_train:
                from basicsr.train import train_pipeline

                train_pipeline(str(root))
            else:
                from basicsr.test import test_pipeline

                test_pipeline(str(root))
    except Stopped as stopped:
        status = stopped.status
    leave_processes()
    if after is not None and is_first():
        status = after.evaluate(root)
    if status:
        sys.exit(status)


def train(arguments: Sequence[str]) -> None:
    """Train by an option file; see `run`."""
    run("train", arguments)


def test(arguments: Sequence[str]) -> None:
    """Test by an option file; see `run`."""
    run("test", arguments)
