"""What in an option file for training cannot go together, whatever the model."""

from __future__ import annotations

from typing import Any

from vqcnir_arch.errors import nearest


def training_contradictions(options: dict[str, Any]) -> list[str]:
    """Return findings, one line each; values of a wrong type are left to the check of types."""
    train = options.get("train") or {}
    found = schedule_contradictions(train.get("scheduler"), train.get("total_iter"))
    val = options.get("val") or {}
    key, metrics = val.get("key_metric"), val.get("metrics") or {}
    if key and key not in metrics:
        found.append(f"val: key_metric '{key}' is not in val: metrics{nearest(key, metrics)}")
    return found


def schedule_contradictions(block: Any, total_iter: Any) -> list[str]:
    """BasicSR would notice these when it builds the schedule, or only at the iteration where the schedule ends."""
    if not isinstance(block, dict):
        return []
    where = f"train: scheduler ({block.get('type')})"
    found = []
    weights = block.get("restart_weights", [1])
    for name in ("periods", "restarts"):
        values = block.get(name)
        if isinstance(values, list) and isinstance(weights, list) and len(values) != len(weights):
            found.append(f"{where}: {name} has {len(values)} values, restart_weights has {len(weights)}")
    periods = block.get("periods")
    readable = isinstance(periods, list) and all(isinstance(n, int) for n in (*periods, total_iter))
    if readable and sum(periods) < total_iter:
        found.append(f"{where}: periods end at iteration {sum(periods)}, train: total_iter is {total_iter}")
    return found
