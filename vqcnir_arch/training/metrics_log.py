"""`metrics.jsonl`: what a run measured, one JSON object a line, in the folder of its log. By `kind`:

* `training`, every `logger: print_freq` iterations: `epoch`, `iter`, `lrs`, `time` (seconds an iteration), `data_time`
  (seconds of it that the data took), and under the names that they have in the log losses, gradient norms, learning
  rates, codebook usage, speed;
* `validation`, after each data set of a validation: `iter`, `dataset`, `metrics` (name to mean) and `best` (name to
  `value` and `iter`);
* `test`, after each data set of a test: `dataset` and `metrics`.

JSON has neither NaN nor infinity: they stand there as the strings "nan", "inf" and "-inf", which `float` reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils import MessageLogger, get_root_logger

from vqcnir_arch.atomic_files import atomic_write, reason
from vqcnir_arch.errors import UserError
from vqcnir_arch.training.watchdog import Watchdog

NAME = "metrics.jsonl"
REQUIRED = {
    "training": {"iter": int},
    "validation": {"iter": int, "dataset": str, "metrics": dict},
    "test": {"dataset": str, "metrics": dict},
}
WORDS = ("kind", "dataset")
"""Keys whose values are words; all others are numbers, or mappings and lists of them."""


class MetricsLog:
    """Writes a run's `metrics.jsonl`; for the first of its processes alone.

    Args:
        folder: of the run, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line at once, so that it is there whatever ends the process.

        Raises:
            UserError: it cannot be written.
        """
        content = (json.dumps(_plain(line), allow_nan=False) + "\n").encode()
        try:
            with open(self.path, "ab", buffering=0) as file:
                written = file.write(content)
        except OSError as error:
            raise UserError(f"'{self.path}' cannot be written: {reason(error)}") from error
        if written < len(content):
            raise UserError(f"'{self.path}' cannot be written: {written} of {len(content)} bytes fitted on the disk")

    def go_back(self, state: Mapping[str, Any]) -> None:
        """Drop what was written after a checkpoint was: the resumed run measures it again.

        Args:
            state: the training state that the run is resumed from. A checkpoint is written after the training line of
                its iteration; it says of which data sets it also has the validation behind it.

        Raises:
            UserError: the file is broken, or cannot be written.
        """
        last, validated = state["iter"], state.get("vqcnir", {}).get("validated", {})
        lines = read_metrics(self.path.parent)
        kept = [
            line
            for line in lines
            if line["iter"] < last
            or (line["iter"] == last and (line["kind"] == "training" or validated.get(line["dataset"]) == last))
        ]
        if self.path.exists():  # also without a line to drop: the last one may be cut off
            with atomic_write(self.path) as file:
                file.writelines((json.dumps(_plain(line)) + "\n").encode() for line in kept)


class RecordingLogger(MessageLogger):
    """BasicSR's, which also writes each line to the run's `metrics.jsonl`, and warns of what looks collapsed."""

    def __init__(self, metrics: MetricsLog | None, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.metrics = metrics
        self.watchdog = Watchdog()

    def __call__(self, log_vars: dict[str, Any]) -> None:
        if self.metrics is not None:
            self.metrics.append({"kind": "training", **log_vars})
        super().__call__(log_vars)
        for warning in self.watchdog.look(log_vars):
            get_root_logger().warning(warning)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's `metrics.jsonl`; none where it has no such file.

    A last line without its end is left out: it is being written, or the disk was full.

    Raises:
        UserError: the file cannot be read, or a line of it is none of ours.
    """
    path = folder / NAME
    if not path.exists():
        return []
    try:
        *texts, _ = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read: {reason(error)}") from error
    return [_parsed(text, f"'{path}', line {number}") for number, text in enumerate(texts, 1)]


def last_validation(folder: Path) -> dict[str, float]:
    """Return the metrics of the last validation or test of a run; none where there was none."""
    lines = [line for line in read_metrics(folder) if line["kind"] != "training"]
    return lines[-1]["metrics"] if lines else {}


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
        if all(isinstance(line[key], kind) for key, kind in REQUIRED[line["kind"]].items()):
            return {key: value if key in WORDS else _numbers(value) for key, value in line.items()}
    except (ValueError, TypeError, LookupError):
        pass
    raise UserError(f"{where}: is no line of a run's metrics: {text[:80]}")


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, str | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _numbers(value: Any) -> Any:
    """Undo `_plain` where there are numbers alone."""
    if isinstance(value, dict):
        return {key: _numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return float(value) if isinstance(value, str) else value
