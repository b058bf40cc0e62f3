"""BasicSR's text log: what a run was, and, of one without `metrics.jsonl`, what it measured. Nobody else reads logs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from vqcnir_arch.report.curves import Curve, curves_of, tag_of

_STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ INFO: ", re.MULTILINE)
_VERSION = re.compile(r"^\t(BasicSR|PyTorch|TorchVision): (\S+)", re.MULTILINE)
_OWN_VERSION = re.compile(r" INFO: Versions: (.+)")
_VALIDATION = re.compile(r" INFO: Validation (.+)\n((?:\t # .*\n)+)")
_METRIC = re.compile(r"\t # (\S+): (\S+)(?:\tBest: (\S+) @ (\S+) iter)?")
_ITERATION = re.compile(r"\[epoch:\s*\d+, iter:\s*([\d,]+), lr:\(([^)]*)\)\](?: \[eta: [^\]]*\])?(.*)")
_ITEM = re.compile(r"(\S+): (\S+)")
_NESTED, _VALUE = re.compile(r"^\s*([^:\s]+):\[$"), re.compile(r"^\s*([^:\s]+): (.*)$")


def read_times(text: str) -> list[datetime]:
    """Read when each line was written."""
    return [datetime.fromisoformat(stamp) for stamp in _STAMP.findall(text)]


def read_versions(text: str) -> dict[str, str]:
    """Read the versions that BasicSR and our launchers log at the start of a run."""
    versions = dict(_VERSION.findall(text))
    for line in _OWN_VERSION.findall(text)[:1]:
        versions |= dict(entry.split(" ", 1) for entry in line.split(", "))
    return versions


def read_log_metrics(text: str) -> dict[str, tuple[float, float | None, str]]:
    """Read the last result of every validation of a log, with the best one where BasicSR says it."""
    found = {}
    for dataset, lines in _VALIDATION.findall(text):
        for metric, value, best, iteration in _METRIC.findall(lines):
            found[f"{dataset} {metric}"] = (float(value), float(best) if best else None, iteration)
    return found


def read_options_of_log(text: str) -> dict[str, str]:
    """Read the options that BasicSR logs once everything is filled in (`dict2str`), flat: `section: key` to text.

    They are those of the run, also where the command line changed the option file.
    """
    options: dict[str, str] = {}
    places: list[str] = []
    for record in _STAMP.split(text)[2::2]:
        if not re.match(r"\s*\n  \w+:( |\[\n)", record):
            continue
        for line in record.splitlines():
            if nested := _NESTED.match(line):
                places.append(nested[1])
            elif line.strip() == "]" and places:
                places.pop()
            elif value := _VALUE.match(line):
                options[": ".join([*places, value[1]])] = value[2]
        break
    return options


def read_log_curves(texts: Iterable[str]) -> dict[str, Curve]:
    """Read the scalars of BasicSR's `MessageLogger` lines under the tags that it gives them in TensorBoard.

    Args:
        texts: the run's log files from the oldest to the newest; a later one, after a resume, overrules.

    Returns:
        Tag to curve, to the log's five digits; the learning rates as `lr_0`, `lr_1`, ... where the model logs none.
        A log does not say at which iteration a validation was, so there are no metrics.
    """
    points: dict[str, dict[int, float]] = {}
    for text in texts:
        found = [(int(step.replace(",", "")), rates, rest) for step, rates, rest in _ITERATION.findall(text)]
        if found:
            first = found[0][0]
            points = {tag: {s: v for s, v in by_step.items() if s < first} for tag, by_step in points.items()}
        for step, rates, rest in found:
            items = {tag_of(key): float(value) for key, value in _ITEM.findall(rest)}
            if not any(tag.startswith("lr_") for tag in items):
                items |= {f"lr_{i}": float(rate) for i, rate in enumerate(filter(None, rates.split(",")))}
            for tag, value in items.items():
                points.setdefault(tag, {})[step] = value
    return curves_of(points)
