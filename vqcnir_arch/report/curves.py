"""The scalars of a training run over its iterations, from `metrics.jsonl` or from TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVENT_FILES = "events.out.tfevents.*"
PLACE = ("kind", "epoch", "iter", "lrs", "time", "data_time")
"""What in a training line of `metrics.jsonl` is no scalar that TensorBoard would get."""


@dataclass(frozen=True)
class Curve:
    """Values of one scalar at rising iterations."""

    steps: list[int]
    values: list[float]

    @property
    def last(self) -> float:
        return self.values[-1]

    def thinned(self, points: int) -> Curve:
        """Return every n-th point, so many that at most `points` are left, and always the last one."""
        every = -(-len(self.steps) // points)
        keep = range((len(self.steps) - 1) % every, len(self.steps), every)
        return Curve([self.steps[i] for i in keep], [self.values[i] for i in keep])


def read_events(folder: Path) -> dict[str, Curve]:
    """Read all scalars that a run wrote for TensorBoard: tag to curve.

    After a resume TensorBoard's reader drops what the run before wrote past the checkpoint.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})  # 0: all, where the default draws a sample
    events.Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        by_step = {scalar.step: scalar.value for scalar in events.Scalars(tag)}
        curves[tag] = Curve(*map(list, zip(*sorted(by_step.items()), strict=True)))
    return curves


def recorded_curves(lines: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """Return the scalars of the lines of `metrics.jsonl` under the tags that BasicSR gives them in TensorBoard."""
    points: dict[str, dict[int, float]] = {}
    for line in lines:
        if line["kind"] == "training":
            found = {tag_of(key): value for key, value in line.items() if key not in PLACE}
        elif line["kind"] == "validation":
            found = {f"metrics/{line['dataset']}/{metric}": value for metric, value in line["metrics"].items()}
        else:
            continue
        for tag, value in found.items():
            points.setdefault(tag, {})[line["iter"]] = value
    return curves_of(points)


def tag_of(name: str) -> str:
    """Return the tag in TensorBoard of what the log calls by a name."""
    return f"losses/{name}" if name.startswith("l_") else name


def curves_of(points: Mapping[str, Mapping[int, float]]) -> dict[str, Curve]:
    """Return curves from the values of each tag by iteration."""
    return {tag: Curve(list(by_step), list(by_step.values())) for tag, by_step in points.items() if by_step}
