"""`vqcnir study`: train a small VQCNIR with each quantizer and each ablation on the same pairs, and compare."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from vqcnir_arch.arguments import positive
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.signals import handled
from vqcnir_arch.study.rows import BASE, rows_of

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

ITERATIONS = 300
MARKER = ".vqcnir-study"
VARIANTS = rows_of("study")


def main(arguments: Sequence[str]) -> None:
    """Run the study, or continue with it where it was interrupted."""
    parser = argparse.ArgumentParser(prog="vqcnir study", description=main.__doc__)
    parser.add_argument(
        "--out", default="study_out", help="new folder, or that of an earlier call (default: study_out)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"these beside {BASE}; known: {', '.join(VARIANTS)}")
    parser.add_argument(
        "--jobs", type=int, choices=(1, 2), default=2, help="runs at once, one thread each (default: 2)"
    )
    parser.add_argument(
        "--iterations", type=positive, default=ITERATIONS, help=f"of every stage II run (default: {ITERATIONS})"
    )
    known = parser.parse_args(arguments)
    if fcntl is None:
        raise UserError("vqcnir study locks its folder with fcntl, which Linux and macOS alone have")
    for name in known.only or ():
        if name not in VARIANTS:
            raise UserError(f"--only: there is no variant '{name}'{nearest(name, VARIANTS)}")
    if len(set(known.seeds)) < len(known.seeds) or min(known.seeds) < 0:
        raise UserError(f"--seeds {' '.join(map(str, known.seeds))}: expected different numbers from 0 on")
    out = Path(known.out).expanduser().resolve()
    # SIGTERM ends it by an exception, like Ctrl-C, so that the runs are ended too, and save first
    with handled(lambda number, frame: sys.exit(128 + number), signal.SIGTERM):
        print(run_study(out, known.seeds, known.only or list(VARIANTS), known.jobs, known.iterations))


def run_study(out: Path, seeds: Sequence[int], variants: Sequence[str], jobs: int, iterations: int) -> str:
    """Train, measure, and write `table.md`, `table.csv`, `study.json` and `study.png` into `out`.

    What an earlier call with the same options has finished is not done again.

    Returns:
        The table, with where the files are.
    """
    from vqcnir_arch.study import figure, report, runs

    priors, stage_two = runs.plan(variants, seeds)
    with claimed(out) as lock:
        write_pairs(out / "data")
        runs.write_options(out, [*priors, *stage_two], iterations)
        runs.run_all(out, priors, jobs, lock, "stage I")
        runs.run_all(out, stage_two, jobs, lock, "stage II")
        costs = measure_costs(out, [run for run in stage_two if run.seed == seeds[0] and run.trains], iterations)
        study = report.collect(out, stage_two, costs, iterations)
        (out / "study.json").write_text(json.dumps(study, indent=2) + "\n", encoding="utf-8")
        (out / "table.csv").write_text(report.csv_table(study), encoding="utf-8")
        table = report.table(study)
        (out / "table.md").write_text(table, encoding="utf-8")
        figure.save(out / "study.png", study)
    return f"\n{table}\nwritten to {out}: table.md, table.csv, study.json, study.png"


@contextmanager
def claimed(out: Path) -> Iterator[IO[str]]:
    """Make `out` a study's folder, used by one call at a time.

    Yields:
        The locked file. A process that inherits it keeps the lock, so that none is left over unseen.

    Raises:
        UserError: `out` holds something else, cannot be written, or is in use.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).exists())):
        raise UserError(f"--out '{out}' exists and no study wrote it: name a new folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        marker = open(out / MARKER, "w")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise UserError(f"--out '{out}' cannot be written: {error.strerror}") from error
    with marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"--out '{out}': another study is at work there") from None
        yield marker


def write_pairs(folder: Path) -> None:
    """Write the demo's pairs, the same for every seed of the study, unless they are there."""
    from vqcnir_arch.demo import scenes

    whole = folder / ".whole"
    if not whole.exists():
        scenes.write_pairs(folder, seed=0)
        whole.touch()


def measure_costs(out: Path, runs: Sequence[Any], iterations: int) -> dict[str, dict[str, float]]:
    """Measure what a step of each variant costs; `cost.json` keeps it, and is made again when a variant is missing."""
    from vqcnir_arch.study import cost

    path = out / "cost.json"
    costs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not {run.variant for run in runs} <= costs.keys():
        costs = cost.measure({run.variant: run.options(out, iterations) for run in runs})
        path.write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")
    return costs
