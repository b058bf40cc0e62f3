"""What a run left in its folder: measurements, options, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from vqcnir_arch.data.files import existing_folder
from vqcnir_arch.errors import UserError
from vqcnir_arch.report.basicsr_log import (
    read_log_curves,
    read_log_metrics,
    read_options_of_log,
    read_times,
    read_versions,
)
from vqcnir_arch.report.curves import EVENT_FILES, Curve, read_events, recorded_curves
from vqcnir_arch.training.metrics_log import NAME, read_metrics


@dataclass
class Experiment:
    """A training or a test of BasicSR's loop.

    Attributes:
        kind: `train` or `test`.
        options: what the run used, from its log, flat: `train: total_iter` to text.
        files: the option files that BasicSR copied into the folder: name to text.
        metrics: `data set metric` to (last value, best value, iteration of the best).
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
    times = read_times("".join(texts))
    if not times:
        raise UserError(f"'{logs[kind][-1]}' is no log of BasicSR: no line of it begins with a date and 'INFO: '")
    record = read_metrics(folder)
    experiment = Experiment(
        name="/".join(below_root(folder)[1]), folder=folder, kind=kind, began=times[0], ended=times[-1],
        options=read_options_of_log(texts[-1]),
        files=files,
        versions=read_versions(texts[-1]),
        metrics=recorded_metrics(record) or read_log_metrics("".join(texts)),
    )  # fmt: skip
    if kind == "train":
        experiment.curves, experiment.source = recorded_curves(record), NAME
        if events is not None or not experiment.curves:
            add_curves(experiment, event_folders(folder, events, only), texts)
    return experiment


def recorded_metrics(record: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float | None, str]]:
    """Return the last result of every data set in the lines of `metrics.jsonl`, with the best one of a training."""
    found = {}
    for line in record:
        if line["kind"] != "training":
            for metric, value in line["metrics"].items():
                best = line.get("best", {}).get(metric, {"value": None, "iter": ""})
                found[f"{line['dataset']} {metric}"] = (value, best["value"], str(best["iter"]))
    return found


def below_root(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder that holds `experiments/` or `results/`, and the parts of the name (`night/first run`)."""
    root = next((above for above in folder.parents if above.name in ("experiments", "results")), folder.parent)
    return root.parent, folder.relative_to(root).parts


def event_folders(folder: Path, events: str | None, only: bool) -> list[Path]:
    """Return where the event files of an experiment may be."""
    root, name = below_root(folder)
    if events is None:
        return [root.joinpath("tb_logger", *name)]
    given = existing_folder(Path(events).expanduser(), "--tb")
    return [given.joinpath(*name), given] if only else [given.joinpath(*name)]


def add_curves(experiment: Experiment, folders: Sequence[Path], texts: Sequence[str]) -> None:
    """Read the curves from the event files; where there are none, take those there are or the log's, and say so."""
    looked_in = " or ".join(f"'{folder}'" for folder in folders)
    files = next((folder for folder in folders if any(folder.glob(EVENT_FILES))), None)
    from_files = read_events(files) if files is not None else {}
    logged = read_log_curves(texts)
    if from_files:
        experiment.curves, experiment.source = from_files, f"event files in {files}"
        if not any(tag.startswith("lr_") for tag in from_files):  # BasicSR's own models do not send it
            experiment.curves |= {tag: curve for tag, curve in logged.items() if tag.startswith("lr_")}
        return
    problem = f"no event files in {looked_in}" if files is None else f"the event files in '{files}' hold no scalars"
    if experiment.curves:
        experiment.notes.append(f"{problem}: curves from {experiment.source}")
        return
    if not logged:
        raise UserError(f"experiment '{experiment.folder}': {problem}, and its log has no iteration either")
    experiment.notes.append(f"{problem}: curves from the log, to five digits and without validation metrics")
    experiment.curves, experiment.source = logged, "the log"


def differing_options(experiments: Sequence[Experiment]) -> Mapping[str, list[str]]:
    """Return the options in which experiments differ, with each one's value; paths that hold the name are left out."""
    keys = dict.fromkeys(key for experiment in experiments for key in experiment.options)
    rows = {key: [experiment.options.get(key, "-") for experiment in experiments] for key in keys}
    derived = ("name", "path: experiments_root", "path: models", "path: training_states", "path: log",
               "path: visualization", "path: results_root")  # fmt: skip
    return {key: row for key, row in rows.items() if len(set(row)) > 1 and key not in derived}
