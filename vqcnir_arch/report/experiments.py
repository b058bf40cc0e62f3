"""What a run left in its folder: log, options, versions, scalars."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from vqcnir_arch.data.files import existing_folder
from vqcnir_arch.errors import UserError
from vqcnir_arch.report.curves import EVENT_FILES, Curve, read_events, read_log_curves

_STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ INFO: ", re.MULTILINE)
_VERSION = re.compile(r"^\t(BasicSR|PyTorch|TorchVision): (\S+)", re.MULTILINE)
_OWN_VERSION = re.compile(r" INFO: Versions: (.+)")
_VALIDATION = re.compile(r" INFO: Validation (.+)\n((?:\t # .*\n)+)")
_METRIC = re.compile(r"\t # (\S+): (\S+)(?:\tBest: (\S+) @ (\S+) iter)?")
_NESTED, _VALUE = re.compile(r"^\s*([^:\s]+):\[$"), re.compile(r"^\s*([^:\s]+): (.*)$")


@dataclass
class Experiment:
    """A training or a test of BasicSR's loop.

    Attributes:
        kind: `train` or `test`.
        options: what the run used, from its log, flat: `train: total_iter` to text.
        files: the option files that BasicSR copied into the folder: name to text.
        metrics: `data set metric` to (last value, best value, iteration of the best), as logged.
        source: where the curves come from.
        notes: what is missing.
    """

    name: str
    folder: Path
    kind: str
    began: datetime
    ended: datetime
    options: dict[str, str]
    files: dict[str, str]
    versions: dict[str, str]
    metrics: dict[str, tuple[float, float | None, str]]
    curves: dict[str, Curve] = field(default_factory=dict)
    source: str = ""
    notes: list[str] = field(default_factory=list)


def read_experiments(folders: Sequence[str], events: str | None) -> list[Experiment]:
    """Read the experiments; see `read_experiment`.

    Raises:
        UserError: one line for each folder that is no experiment.
    """
    found, problems = [], []
    for folder in folders:
        try:
            found.append(read_experiment(Path(folder).expanduser(), events, only=len(folders) == 1))
        except UserError as error:
            problems.append(str(error))
    names = [experiment.name for experiment in found]
    problems += [f"two experiments are named '{name}'" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise UserError("\n".join(problems))
    return found


def read_experiment(folder: Path, events: str | None = None, only: bool = True) -> Experiment:
    """Read `experiments/NAME` of a training or `results/NAME` of a test.

    Args:
        folder: the folder; it holds `train_*.log` or `test_*.log`.
        events: folder that holds the event files of a training in a folder of its name; without it `tb_logger` beside
            `experiments`.
        only: whether `events` may also hold the event files themselves, since there is but one experiment.

    Raises:
        UserError: the folder is no experiment, or a training of which no scalar was kept.
    """
    existing_folder(folder, "experiment")
    folder = folder.resolve()
    logs = {kind: sorted(folder.glob(f"{kind}_*.log"), key=lambda log: log.name[-19:]) for kind in ("train", "test")}
    kind = "train" if logs["train"] else "test"
    if not logs[kind]:
        inside = sorted(log.parent.name for log in folder.glob("*/t*_*.log"))
        hint = f" (below it there are: {', '.join(dict.fromkeys(inside))})" if inside else ""
        raise UserError(f"'{folder}' is no experiment: it holds neither train_*.log nor test_*.log{hint}")
    try:
        texts = [log.read_text(encoding="utf-8", errors="replace") for log in logs[kind]]
        option_files = sorted(folder.glob("*.y*ml"))
        files = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in option_files}
    except OSError as error:
        raise UserError(f"'{error.filename}' cannot be read: {error.strerror}") from error
    stamps = _STAMP.findall("".join(texts))
    if not stamps:
        raise UserError(f"'{logs[kind][-1]}' is no log of BasicSR: no line of it begins with a date and 'INFO: '")
    began, ended = (datetime.fromisoformat(stamp) for stamp in (stamps[0], stamps[-1]))
    experiment = Experiment(
        name=folder.name, folder=folder, kind=kind, began=began, ended=ended,
        options=read_options_of_log(texts[-1]),
        files=files,
        versions=read_versions(texts[-1]),
        metrics=read_metrics("".join(texts)),
    )  # fmt: skip
    if kind == "train":
        add_curves(experiment, event_folders(folder, events, only), texts)
    return experiment


def event_folders(folder: Path, events: str | None, only: bool) -> list[Path]:
    """Return where the event files of an experiment may be."""
    if events is None:
        return [folder.parent.parent / "tb_logger" / folder.name]
    given = existing_folder(Path(events).expanduser(), "--tb")
    return [given / folder.name, given] if only else [given / folder.name]


def add_curves(experiment: Experiment, folders: Sequence[Path], texts: Sequence[str]) -> None:
    """Read the curves from the event files; where there are none, from the log, and say so."""
    looked_in = " or ".join(f"'{folder}'" for folder in folders)
    files = next((folder for folder in folders if any(folder.glob(EVENT_FILES))), None)
    if files is not None:
        experiment.curves = read_events(files)
        experiment.source = f"event files in {files}"
    logged = read_log_curves(texts)
    if not experiment.curves:
        problem = f"no event files in {looked_in}" if files is None else f"the event files in '{files}' hold no scalars"
        if not logged:
            raise UserError(f"experiment '{experiment.folder}': {problem}, and its log has no iteration either")
        experiment.notes.append(f"{problem}: curves from the log, to five digits and without validation metrics")
        experiment.curves, experiment.source = logged, "the log"
    if not any(tag.startswith("lr_") for tag in experiment.curves):  # BasicSR's own models do not send it
        experiment.curves |= {tag: curve for tag, curve in logged.items() if tag.startswith("lr_")}


def read_versions(text: str) -> dict[str, str]:
    """Read the versions that BasicSR and our launchers log at the start of a run."""
    versions = dict(_VERSION.findall(text))
    for line in _OWN_VERSION.findall(text)[:1]:
        versions |= dict(entry.split(" ", 1) for entry in line.split(", "))
    return versions


def read_metrics(text: str) -> dict[str, tuple[float, float | None, str]]:
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


def differing_options(experiments: Sequence[Experiment]) -> Mapping[str, list[str]]:
    """Return the options in which experiments differ, with each one's value; paths that hold the name are left out."""
    keys = dict.fromkeys(key for experiment in experiments for key in experiment.options)
    rows = {key: [experiment.options.get(key, "-") for experiment in experiments] for key in keys}
    derived = ("name", "path: experiments_root", "path: models", "path: training_states", "path: log",
               "path: visualization", "path: results_root")  # fmt: skip
    return {key: row for key, row in rows.items() if len(set(row)) > 1 and key not in derived}
