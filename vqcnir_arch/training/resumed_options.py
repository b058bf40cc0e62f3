"""What an option file says of optimisers and schedule, beside what a training state was made with.

Rates, schedule, warm-up, decay and other numbers are the option file's: where they differ from the state's, the rates
go on as if the new ones had held from the start. Moments are the state's, so another optimiser is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vqcnir_arch.errors import UserError

NO_OPTIONS = ("params", "param_names", "lr")
"""Entries of an optimiser's group that are no options; the option `lr` is its `initial_lr`."""
HOW_IT_COMPUTES = ("foreach", "fused", "capturable", "differentiable")
START_ANEW = "to start from its networks alone, name them as path: pretrain_network_* of a run of another name"


def made_with(optimizers: Mapping[str, Optimizer], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training state must say of its making beside the states of optimisers and schedule.

    Args:
        optimizers: by label (`g`, `d`).
        options: the run's.
    """
    return {
        "model_type": options["model_type"],
        "optimizers": {label: type(optimizer).__name__ for label, optimizer in optimizers.items()},
        "warmup_iter": options["train"].get("warmup_iter", -1),
    }


def refuse_other_types(state: Mapping[str, Any], model_type: str, optimizers: Mapping[str, str]) -> None:
    """Raise `UserError` if a state was made by another model or another type of optimiser.

    Older states, and BasicSR's own, do not say: `ResumedOptions` then finds most of them.

    Args:
        state: the training state.
        model_type: of the run.
        optimizers: types of the run's optimisers by label.
    """
    kept = state.get("vqcnir", {}).get("made_with", {})
    if kept.get("model_type", model_type) != model_type:
        raise UserError(
            f"the training state is of a {kept['model_type']}, model_type is {model_type}: name a state of this model"
        )
    for label, kind in kept.get("optimizers", {}).items():
        if optimizers.get(label, kind) != kind:
            raise UserError(other_optimizer(label, f"{kind}'s", optimizers[label]))


def other_optimizer(label: str, kept: str, kind: str) -> str:
    return (
        f"train: optim_{label}: type: {kind} cannot go on from a training state of {kept}: set the type back, or, "
        + START_ANEW
    )


class ResumedOptions:
    """Compares a model's optimisers and schedulers, as its options made them, with a training state.

    Args:
        optimizers: by label, before the state is loaded.
        schedulers: one for each optimiser.
        state: the training state.
        warmup_iter: of the run.

    Attributes:
        changes: one line for each option that differs.
        schedule_changed: whether the rates are others than those in the state.

    Raises:
        UserError: the optimisers' states do not fit.
    """

    def __init__(
        self,
        optimizers: Mapping[str, Optimizer],
        schedulers: Sequence[LRScheduler],
        state: Mapping[str, Any],
        warmup_iter: int,
    ) -> None:
        self.optimizers = list(optimizers.values())
        self.groups = [[dict(group) for group in optimizer.param_groups] for optimizer in self.optimizers]
        refuse_other_networks(optimizers, state["optimizers"])
        made = state.get("vqcnir", {}).get("made_with", {})
        before = made.get("warmup_iter", warmup_iter)
        rates: list[str] = [] if before == warmup_iter else [f"train: warmup_iter: {before} -> {warmup_iter}"]
        others: list[str] = []
        for (label, optimizer), kept in zip(optimizers.items(), state["optimizers"], strict=True):
            refuse_other_state(label, optimizer, kept)
            for group, kept_group in zip(optimizer.param_groups, kept["param_groups"], strict=True):
                for name, change in group_changes(label, group, kept_group):
                    (rates if name == "lr" else others).append(change)
        if schedulers:
            rates += schedule_changes(schedulers[0], state["schedulers"][0])
        self.schedule_changed = bool(rates)
        self.changes = list(dict.fromkeys([*others, *rates]))

    def apply(self) -> None:
        """Put the options into the optimisers, which hold what the state has by now."""
        for optimizer, groups in zip(self.optimizers, self.groups, strict=True):
            for group, made in zip(optimizer.param_groups, groups, strict=True):
                left = ("params", "param_names") if self.schedule_changed else NO_OPTIONS
                group.update({key: value for key, value in made.items() if key not in left})


def refuse_other_networks(optimizers: Mapping[str, Optimizer], kept: Sequence[Mapping[str, Any]]) -> None:
    """Raise `UserError` if the run trains other parameters than the state's did."""
    if len(kept) != len(optimizers):
        names = ", ".join(f"optim_{label}" for label in optimizers)
        raise UserError(
            f"the training state has {len(kept)} optimisers, the option file {len(optimizers)} ({names}): a GAN came "
            f"or went: set it back, or, {START_ANEW}"
        )
    for (label, optimizer), other in zip(optimizers.items(), kept, strict=True):
        now = [len(group["params"]) for group in optimizer.param_groups]
        before = [len(group["params"]) for group in other["param_groups"]]
        if now != before:
            raise UserError(
                f"train: optim_{label}: the training state is of {sum(before)} tensors, the option file trains "
                f"{sum(now)}: freeze what was frozen (freeze_prior), or, {START_ANEW}"
            )


def refuse_other_state(label: str, optimizer: Optimizer, kept: Mapping[str, Any]) -> None:
    """Raise `UserError` if the state of the parameters lacks what the optimiser needs: another type, or a switch."""
    group, kept_group = optimizer.param_groups[0], kept["param_groups"][0]
    decoupled = [bool(one.get("decoupled_weight_decay")) for one in (kept_group, group)]
    if "decoupled_weight_decay" in kept_group and decoupled[0] != decoupled[1]:  # all that tells AdamW from Adam
        raise UserError(other_optimizer(label, "AdamW's" if decoupled[0] else "Adam's", type(optimizer).__name__))
    if kept_group.keys() - group.keys() and group.keys() - kept_group.keys():
        raise UserError(other_optimizer(label, "another type", type(optimizer).__name__))
    names = {name for state in kept["state"].values() for name, value in state.items() if value is not None}
    missing = state_names(optimizer) - names if kept["state"] else set()
    if missing:
        switched = [
            key for key in group if isinstance(group[key], bool) and group[key] and not kept_group.get(key, group[key])
        ]
        what = f"train: optim_{label}: {switched[0]}: true" if switched else f"train: optim_{label}"
        raise UserError(
            f"{what} cannot go on from the training state, which has no {', '.join(sorted(missing))}: set it back, or, "
            + START_ANEW
        )


def state_names(optimizer: Optimizer) -> set[str]:
    """Return what an optimiser keeps of a parameter, found by a step of one of its kind."""
    parameter = nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.zeros(2, 2)
    known = inspect.signature(type(optimizer)).parameters.keys() - {"params", *HOW_IT_COMPUTES}
    options = {key: value for key, value in optimizer.param_groups[0].items() if key in known}
    trial = type(optimizer)([parameter], **options)
    trial.step()
    return {name for name, value in trial.state[parameter].items() if value is not None}


def group_changes(label: str, group: Mapping[str, Any], kept: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and line of each option of an optimiser that differs."""
    for key, value in group.items():
        if key in (*NO_OPTIONS, *HOW_IT_COMPUTES) or key not in kept or plain(kept[key]) == plain(value):
            continue
        name = "lr" if key == "initial_lr" else key
        yield name, f"train: optim_{label}: {name}: {kept[key]} -> {value}"


def schedule_changes(scheduler: LRScheduler, kept: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each option of the schedule that differs, or one for another type."""
    known = inspect.signature(type(scheduler)).parameters
    options = [name for name in known if name not in ("optimizer", "last_epoch")]
    if not all(name in kept for name in options):
        yield f"train: scheduler: type: another -> {type(scheduler).__name__}"
        return
    for name in options:
        before, now = plain(kept[name]), plain(getattr(scheduler, name))
        if before != now:
            yield f"train: scheduler: {name}: {before} -> {now}"


def plain(value: Any) -> Any:
    """Return a value without what says nothing: tuples as lists, BasicSR's counted milestones as a list."""
    if isinstance(value, Mapping):
        return sorted(key for key, count in value.items() for _ in range(count))
    return list(value) if isinstance(value, tuple) else value
