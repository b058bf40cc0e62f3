"""The scalars of a training run over its iterations, from TensorBoard's event files or from BasicSR's log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EVENT_FILES = "events.out.tfevents.*"
_ITERATION = re.compile(r"\[epoch:\s*\d+, iter:\s*([\d,]+), lr:\(([^)]*)\)\](?: \[eta: [^\]]*\])?(.*)")
_ITEM = re.compile(r"(\S+): (\S+)")


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
            items = {k if not k.startswith("l_") else f"losses/{k}": float(v) for k, v in _ITEM.findall(rest)}
            if not any(tag.startswith("lr_") for tag in items):
                items |= {f"lr_{i}": float(rate) for i, rate in enumerate(filter(None, rates.split(",")))}
            for tag, value in items.items():
                points.setdefault(tag, {})[step] = value
    return {tag: Curve(list(by_step), list(by_step.values())) for tag, by_step in points.items() if by_step}
