"""Run the launchers as a user runs them, with a progress bar in place of their long log."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from tqdm import tqdm

from vqcnir_arch.errors import UserError
from vqcnir_arch.options.shipped import shipped

PROGRESS = re.compile(r"\[epoch:.*iter:\s*([\d,]+)")
IMAGES = re.compile(r"\|\s*(\d+)/(\d+) \[")
"""How far the bar of BasicSR's test loop is (`val: pbar`)."""
VALUE = re.compile(r"\b(l_\w+|psnr|ssim|niqe): ([-+.\de]+)")
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
        resume: go on where an earlier run was stopped.

    Raises:
        UserError: the launcher failed; its last lines are in the message, all of them in its log.
    """
    content = yaml.safe_load(options.read_text(encoding="utf-8"))
    total = content["train"]["total_iter"] if pipeline == "train" else None
    command = [sys.executable, "-m", f"vqcnir_arch.{pipeline}", "-opt", str(options), "--root", str(root)]
    command += [*(["--auto_resume"] if resume else []), "--force_yml", *force]
    tail: list[str] = []
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1) as process,
        tqdm(total=total, desc=content["name"], unit="it" if total else "image") as bar,
    ):
        for line in process.stdout:
            tail = [*tail, line.rstrip()][-TAIL:]
            progress, images = PROGRESS.search(line), IMAGES.search(line)
            if images:
                bar.total = int(images[2])
                bar.update(int(images[1]) - bar.n)
            if progress or "\t # " in line:  # an iteration, or a line of a validation's result
                values = [f"{name}={float(value):.4g}" for name, value in VALUE.findall(line)]
                bar.set_postfix_str(" ".join(values), refresh=False)
                bar.update(int(progress[1].replace(",", "")) - bar.n if progress else 0)
                bar.refresh()
    if process.returncode:
        raise UserError(f"{pipeline} {options.name} failed (exit status {process.returncode}): " + " | ".join(tail))
