"""The study's runs: option files made from one base, each run a process of the library's own launcher."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import yaml
from tqdm import tqdm

from vqcnir_arch.demo.stages import option_folder
from vqcnir_arch.errors import UserError
from vqcnir_arch.options import read_options
from vqcnir_arch.study.rows import BASE, ROWS, resized, rows_of
from vqcnir_arch.training.metrics_log import last_validation

PRIOR_FACTOR = 3
"""Stage I has so many times the iterations of a stage II run: its steps are shorter by more than that."""
CHECKPOINTS = 4
SIZES = {
    "quantizer": {"depth": 3, "num_heads": 4},
    "enhancer": {"depth": 4, "num_heads": 4, "window": 4},
    "fusion": {"offset_groups": 2},
}
"""What the rows are made smaller by, as the study's VQCNIR is."""
TAIL = 3


class StudyRun(NamedTuple):
    """One process: stage I of a seed, or a variant of a seed."""

    variant: str | None
    """None for stage I."""
    seed: int

    @property
    def name(self) -> str:
        return f"{self.variant or 'prior'}_seed{self.seed}"

    @property
    def trains(self) -> bool:
        return self.variant is None or ROWS[self.variant].trains

    def options(self, out: Path, iterations: int) -> dict[str, Any]:
        """Return the content of the run's option file."""
        if self.variant is None:
            made = read_options(option_folder("study") / "train_prior.yml")
            made["datasets"]["train"]["dataroot"] = str(out / "data/train/high_sharp_scaled")
            made["datasets"]["val"]["dataroot"] = str(out / "data/test/high_sharp_scaled")
            iterations *= PRIOR_FACTOR
        else:
            base = "train_vqcnir.yml" if self.trains else "test_prior.yml"
            made = read_options(option_folder("study") / base)
            for data in made["datasets"].values():
                data["dataroot"] = str(out / "data")
            row = ROWS[self.variant]
            made["network_g"].update(copy.deepcopy(resized(row.network, SIZES)))
            made.get("train", {}).update(copy.deepcopy(row.losses.get("vqcnir", {})))
            place = made["network_g"] if self.trains else made["path"]
            place["prior" if self.trains else "pretrain_network_g"] = str(
                out / f"experiments/prior_seed{self.seed}/models/net_g_latest.pth"
            )
        made["name"], made["manual_seed"] = self.name, self.seed
        if self.trains:
            made["train"]["total_iter"] = made["val"]["val_freq"] = iterations
            made["train"]["scheduler"]["periods"] = [iterations]
            made["logger"]["save_checkpoint_freq"] = max(1, iterations // CHECKPOINTS)
        return made


def plan(variants: Sequence[str], seeds: Sequence[int]) -> tuple[list[StudyRun], list[StudyRun]]:
    """Return the runs of stage I and those of the variants, seed by seed; the base is always among them."""
    chosen = [name for name in rows_of("study") if name in variants or name == BASE]
    return [StudyRun(None, seed) for seed in seeds], [StudyRun(name, seed) for seed in seeds for name in chosen]


def result_path(out: Path, run: StudyRun) -> Path:
    """Where a finished run's result stands."""
    return out / "runs" / f"{run.name}.json"


def write_options(out: Path, runs: Sequence[StudyRun], iterations: int) -> None:
    """Write the option files; a finished run must have been made with the same ones.

    Raises:
        UserError: a result in `out` is from other options.
    """
    (out / "options").mkdir(exist_ok=True)
    (out / "runs").mkdir(exist_ok=True)
    texts = {run: yaml.safe_dump(run.options(out, iterations), sort_keys=False) for run in runs}
    for run, text in texts.items():
        path = option_path(out, run)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise UserError(f"'{path}' is from a study with other options: name a new --out, or the same --iterations")
    for run, text in texts.items():
        option_path(out, run).write_text(text, encoding="utf-8")


def option_path(out: Path, run: StudyRun) -> Path:
    """Where a run's option file stands."""
    return out / "options" / f"{run.name}.yml"


def run_all(out: Path, runs: Sequence[StudyRun], jobs: int, lock: IO[str], title: str) -> None:
    """Run what has no result yet, `jobs` processes of one thread each at once.

    An interrupted run goes on from its newest checkpoint. When this ends early, the processes are asked to save and
    to end, and waited for.

    Raises:
        UserError: a run failed; the message has its last lines and names its log.
    """
    waiting = [run for run in runs if not result_path(out, run).exists()]
    running: dict[subprocess.Popen, tuple[StudyRun, float]] = {}
    with tqdm(total=len(runs), initial=len(runs) - len(waiting), desc=title, unit="run") as bar:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop(0)
                    running[start(out, run, lock)] = (run, time.perf_counter())
                    bar.set_postfix_str(", ".join(run.name for run, _ in running.values()))
                time.sleep(0.1)
                for process in [p for p in running if p.poll() is not None]:
                    run, started = running.pop(process)
                    finish(out, run, process.returncode, time.perf_counter() - started)
                    bar.update()
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()


def start(out: Path, run: StudyRun, lock: IO[str]) -> subprocess.Popen:
    """Begin a run; what it prints goes to `<out>/logs/<run>.log`."""
    (out / "logs").mkdir(exist_ok=True)
    pipeline = "train" if run.trains else "test"
    command = [sys.executable, "-m", f"vqcnir_arch.{pipeline}", "-opt", str(option_path(out, run)), "--root", str(out)]
    command += ["--auto_resume"] if run.trains else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with open(out / "logs" / f"{run.name}.log", "w", encoding="utf-8") as log:
        # a session of its own: Ctrl-C reaches this process alone, which asks each run once to save and to end
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )


def finish(out: Path, run: StudyRun, status: int, seconds: float) -> None:
    """Write the result of a run that has ended, and remove what only a resume would need."""
    log = out / "logs" / f"{run.name}.log"
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = " | ".join(line.strip() for line in lines[-TAIL:])
        raise UserError(f"run {run.name} failed (exit status {status}), see '{log}': {tail}")
    metrics = last_validation(out / ("experiments" if run.trains else "results") / run.name)
    if not metrics:
        raise UserError(f"run {run.name} ended without a validation, see '{log}'")
    shutil.rmtree(out / "experiments" / run.name / "training_states", ignore_errors=True)
    result = {"variant": run.variant, "seed": run.seed, **metrics, "seconds": round(seconds, 1)}
    temporary = result_path(out, run).with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, result_path(out, run))
