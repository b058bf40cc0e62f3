"""Run the launchers as a user runs them, with a progress bar in place of their long log."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vqcnir_arch.errors import UserError
from vqcnir_arch.shipped import shipped

IMAGES = re.compile(r"\|\s*(\d+)/(\d+) \[")
"""How far the bar of a test is (`val: pbar`)."""
TAIL = 5


def option_folder(name: str = "demo") -> Path:
    """Return the folder of a command's option files."""
    folder = shipped(f"options/{name}")
    if folder is None:
        raise UserError(f"the option files of vqcnir {name} (options/{name}) are missing: install vqcnir again")
    return folder


def run_stage(pipeline: str, options: Path, root: Path, force: Sequence[str], resume: bool = False) -> None:
    """Run `python -m vqcnir_arch.train` or `.test` and show how far it is.

    Args:
        pipeline: `train` or `test`.
        options: the option file.
        root: folder for experiments/ and results/.
        force: `section:key=value` entries.
        resume: continue where an earlier run was stopped.

    Raises:
        UserError: the launcher failed; its last lines are in the message, all of them in its log.
    """
    from vqcnir_arch.options import read_options
    from vqcnir_arch.training.metrics_log import read_metrics

    content = read_options(options, force)
    folder = root / ("experiments" if pipeline == "train" else "results") / content["name"]
    total = content["train"]["total_iter"] if pipeline == "train" else None
    command = [sys.executable, "-m", f"vqcnir_arch.{pipeline}", "-opt", str(options), "--root", str(root)]
    command += [*(["--auto_resume"] if resume else []), "--force_yml", *force]
    tail: list[str] = []
    seen = last_change(folder)
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1) as process,
        tqdm(total=total, desc=content["name"], unit="it" if total else "image") as bar,
    ):
        for line in process.stdout:
            tail = [*tail, line.rstrip()][-TAIL:]
            if images := IMAGES.search(line):
                bar.total = int(images[2])
                bar.update(int(images[1]) - bar.n)
            if seen != (seen := last_change(folder)):
                show(bar, read_metrics(folder))
        show(bar, read_metrics(folder))
    if process.returncode:
        raise UserError(f"{pipeline} {options.name} failed (exit status {process.returncode}): " + " | ".join(tail))


def last_change(folder: Path) -> int:
    """Return when a run's `metrics.jsonl` was last written to, 0 where there is none."""
    path = folder / "metrics.jsonl"
    return path.stat().st_mtime_ns if path.exists() else 0


def show(bar: tqdm, lines: Sequence[Mapping[str, Any]]) -> None:
    """Show the last of the lines of `metrics.jsonl` on a bar."""
    for line in lines[-1:]:
        values = line.get("metrics") or {name: value for name, value in line.items() if name.startswith("l_")}
        bar.set_postfix_str(" ".join(f"{name}={value:.4g}" for name, value in values.items()), refresh=False)
        bar.update(line.get("iter", bar.n) - bar.n)
        bar.refresh()
