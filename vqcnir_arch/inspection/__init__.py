"""`vqcnir inspect`: what an option file would train, or what a checkpoint is, without running anything."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vqcnir_arch.errors import UserError
from vqcnir_arch.names import OPTION_ENDINGS


def main(arguments: Sequence[str]) -> None:
    """Inspect option files (`.yml`), checkpoints (`.pth`) or training states (`.state`); option files give one table.

    Raises:
        UserError: all that is wrong with the files, after everything else has been printed.
    """
    if "--codebook" in arguments:
        from vqcnir_arch import analysis

        return analysis.main(arguments)
    parser = argparse.ArgumentParser(prog="vqcnir inspect", description=main.__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="option files, checkpoints or training states")
    parser.add_argument("--codebook", action="store_true", help="analyse a checkpoint's codebook; see with --help")
    parser.add_argument("--key", help="dictionary in the checkpoint that holds the network, where there are several")
    known = parser.parse_args(arguments)
    files = known.files

    findings, reports = [], []
    for file in files:
        if Path(file).suffix.lower() in OPTION_ENDINGS:
            from vqcnir_arch.inspection.experiments import inspect_options

            reports.append(inspect_options(file))
            findings += [f"{file}: {finding}" for finding in reports[-1].findings]
            continue
        from vqcnir_arch.inspection.checkpoints import describe_checkpoint

        try:
            print(describe_checkpoint(file, known.key))
        except UserError as error:
            findings += str(error).splitlines()
    if reports:
        from vqcnir_arch.inspection.text import describe, table

        print(table(reports) if len(reports) > 1 else describe(reports[0]))
    if findings:
        raise UserError("\n".join(findings))
