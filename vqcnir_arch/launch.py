"""Run BasicSR's own pipelines on a checked option file; errors of the user end in one line each and exit status 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vqcnir_arch.errors import UserError
from vqcnir_arch.memory import keep_freed_memory
from vqcnir_arch.training.distributed import is_first, leave_processes, speaks

USER_ERROR_STATUS = 2


def run(pipeline: str, arguments: Sequence[str]) -> None:
    """Train or test.

    Args:
        pipeline: `train` or `test`.
        arguments: command line: `-opt FILE`, BasicSR's own flags, and `--root DIR` (default: the current folder), below
            which experiments/, results/ and tb_logger/ go.

    Raises:
        UserError: bad input; nothing has been written then.
    """
    parser = argparse.ArgumentParser(prog=f"vqcnir {pipeline}", allow_abbrev=False)
    parser.add_argument("-opt", required=True, help="option file (YAML)")
    parser.add_argument("--root", default=".", help="folder for experiments/ and results/ (default: the current one)")
    parser.add_argument("--force_yml", nargs="+", default=[], help="options to change, e.g. train:total_iter=100")
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm"], default="none", help="set by torchrun users"
    )
    parser.add_argument("--auto_resume", action="store_true", help="go on from the newest training state")
    parser.add_argument(
        "--debug", action="store_true", help="BasicSR's debug mode: validate and save every 8 iterations"
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    if pipeline == "test":
        parser.add_argument("--protocol", help="then evaluate what was written, as `vqcnir evaluate` does")
        parser.add_argument(
            "--set", nargs="+", default=[], metavar="NAME", help="the papers' test set of each data set"
        )
        parser.add_argument("--reference", type=Path, metavar="DIR", help="the images that FID compares with")
    known = parser.parse_args(arguments)
    if pipeline == "test" and known.protocol is None and (known.set or known.reference):
        raise UserError("--set and --reference are for an evaluation: name its --protocol")

    from vqcnir_arch.options import preflight, read_options
    from vqcnir_arch.options.unchecked import unchecked_blocks
    from vqcnir_arch.pipeline_fixes import command_line, launcher_fixes
    from vqcnir_arch.training.stop import Stopped

    is_train = pipeline == "train"
    root = Path(known.root).expanduser().resolve()
    options = preflight(read_options(known.opt, known.force_yml), is_train, root)
    after = None
    if not is_train and known.protocol is not None:
        from vqcnir_arch.evaluation.after_test import AfterTest

        after = AfterTest(known.protocol, options, known.set, known.reference)
        known.force_yml += after.entries
    for note in unchecked_blocks(options):
        print(f"vqcnir: note: {note}", file=sys.stderr)

    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ours.add_argument("--root")
    ours.add_argument("--protocol")
    ours.add_argument("--set", nargs="+")
    ours.add_argument("--reference")
    ours.add_argument("--force_yml", nargs="+")
    _, kept = ours.parse_known_args(arguments)  # the rest is BasicSR's
    kept += ["--force_yml", *known.force_yml] if known.force_yml else []
    status = 0
    try:
        with launcher_fixes(options), command_line(f"vqcnir_{pipeline}", kept):
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


def exit_with_one_line(function: Callable[[], object]) -> None:
    """Call a command in a process of its own; print a `UserError` as one line per finding and exit with status 2."""
    keep_freed_memory()
    try:
        function()
    except UserError as error:
        # an error from a data-loader worker arrives with that worker's traceback before it
        message = str(error).rpartition("UserError: ")[2].strip()
        for line in message.splitlines() if speaks() else ():
            print(f"vqcnir: error: {line}", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)
    except KeyboardInterrupt:
        print("vqcnir: interrupted", file=sys.stderr)
        sys.exit(130)
