"""Check `{type: ..., options}` blocks against the signature of the class that each type names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, create_model
from torch.optim import Optimizer

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.data.files import LoaderOptions
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.sections import check_section, mapping, shown
from vqcnir_arch.options.signatures import signature_schema, takes_any_option
from vqcnir_arch.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    ENHANCER_REGISTRY,
    FUSION_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    QUANTIZER_REGISTRY,
    Registry,
    level_block,
    lookup,
    names,
    optimizers,
)
from vqcnir_arch.training.run_folder import name_problem


class MultiStep(MultiStepRestartLR):
    """BasicSR's schedule, with the types that its lists have: it takes `milestones: [2k]`, and never comes to one."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[NonNegativeInt],
        gamma: float = 0.1,
        restarts: Sequence[NonNegativeInt] = (0,),
        restart_weights: Sequence[float] = (1,),
    ) -> None:
        super().__init__(optimizer, milestones, gamma, restarts, restart_weights)


class CosineAnnealing(CosineAnnealingRestartLR):
    """BasicSR's schedule, with the types that its lists have."""

    def __init__(
        self,
        optimizer: Optimizer,
        periods: Sequence[PositiveInt],
        restart_weights: Sequence[float] = (1,),
        eta_min: float = 0,
    ) -> None:
        super().__init__(optimizer, periods, restart_weights, eta_min)


AnyLoaderOptions = create_model(
    "AnyLoaderOptions", __base__=LoaderOptions, dataset_enlarge_ratio=(PositiveInt | PositiveFloat, 1)
)
"""What BasicSR reads from the block of a data set of any project."""

SCHEDULERS = {
    "MultiStepLR": MultiStep,
    "MultiStepRestartLR": MultiStep,
    "CosineAnnealingRestartLR": CosineAnnealing,
}
PARTS = {
    # block inside a network of ours: its registry, the arguments that the network decides, options that it takes
    "quantizer": (QUANTIZER_REGISTRY, ("codebook_size", "code_dim"), {}),
    "enhancer": (ENHANCER_REGISTRY, ("channels", "index"), {"depth": int}),
    "fusion": (FUSION_REGISTRY, ("channels", "coarser_channels", "norm_groups"), {}),
}


def known_options(place: tuple[str, ...], block: Mapping[str, Any]) -> set[str] | None:
    """Return the options of the type, or the types, that a block at a place of the option file has.

    None where that cannot be said: the type is unknown, or takes any option.
    """
    kinds = block["type"] if isinstance(block["type"], list) else [block["type"]]
    each = [options_of_type(place, str(kind)) for kind in kinds]
    return None if None in each else {"type"}.union(*(options or () for options in each))


def options_of_type(place: tuple[str, ...], kind: str) -> set[str] | None:
    """Return what `known_options` does, of one type and without `type` itself."""
    registry: Registry | None = None
    known: Mapping[str, Any] = {}
    decided: tuple[str, ...] = ()
    more: Mapping[str, type] = {}
    match place:
        case (network,) if network.startswith("network_"):
            registry = ARCH_REGISTRY
        case (network, part) if network.startswith("network_") and part in PARTS:
            registry, decided, more = PARTS[part]
            if kind == "none":
                return {*more}
        case ("datasets", _):
            registry = DATASET_REGISTRY
        case ("val", "metrics", _):
            registry, decided, more = METRIC_REGISTRY, ("img", "img2"), {"better": str}
        case ("train", "optim_g" | "optim_d"):
            known, decided = optimizers(), ("params",)
        case ("train", "scheduler"):
            known, decided = SCHEDULERS, ("optimizer",)
        case ("train", _):
            registry = LOSS_REGISTRY
    if registry is not None and kind in names(registry):
        known = {kind: lookup(registry, kind)}
    target = known.get(kind)
    if target is None:
        return None
    if registry is DATASET_REGISTRY:
        schema = getattr(target, "Options", None)  # BasicSR's take any dictionary
        return None if schema is None else {field.alias or name for name, field in schema.model_fields.items()}
    return None if takes_any_option(target) else {*inspect.signature(target).parameters, *more} - {*decided}


def check_block(
    findings: list[str],
    registry: Registry,
    values: Any,
    where: str,
    decided: tuple[str, ...] = (),
    more: Mapping[str, type] | None = None,
) -> dict[str, Any]:
    """Check a block whose type is in a registry.

    Args:
        findings: takes one line for each problem.
        registry: where the type stands.
        values: the block.
        where: its place, as users read it.
        decided: arguments that the caller of the class fills in.
        more: options that the caller takes itself.
    """
    target = block_target(findings, registry, values, where)
    return values if target is None else check_call(findings, target, values, where, decided, more)


def block_target(findings: list[str], registry: Registry, values: Any, where: str) -> Any:
    """Return what a block's type names, or None after a finding."""
    if not isinstance(values, dict) or not values.get("type"):
        findings.append(f"{where}: expected a block with a 'type', got {shown(values)}")
        return None
    try:
        return lookup(registry, str(values["type"]))
    except UserError as error:
        findings.append(f"{where}: {error}")
        return None


def check_call(
    findings: list[str],
    target: Any,
    values: dict[str, Any],
    where: str,
    decided: tuple[str, ...] = (),
    more: Mapping[str, type] | None = None,
) -> dict[str, Any]:
    """Check the options of a block as the arguments of a call of `target`."""
    schema = signature_schema(target, decided, more or {})
    rest = {key: value for key, value in values.items() if key != "type"}
    return {"type": values["type"], **check_section(findings, schema, rest, f"{where} ({values['type']})")}


def check_named(
    findings: list[str], known: dict[str, Any], block: Any, where: str, decided: tuple[str, ...]
) -> dict[str, Any]:
    """Check a block whose type is not in a registry of BasicSR: an optimiser, a schedule."""
    kind = block.get("type") if isinstance(block, dict) else block
    if not isinstance(block, dict) or not isinstance(kind, str) or kind not in known:
        findings.append(f"{where}: unknown type '{kind}'{nearest(str(kind), known)}")
        return block
    return check_call(findings, known[kind], block, where, decided)


def check_network(findings: list[str], block: Any, where: str) -> dict[str, Any]:
    """Check a network, and in one of ours the blocks inside; what another class calls `fusion` is its own affair."""
    checked = check_block(findings, ARCH_REGISTRY, block, where)
    target = block_target([], ARCH_REGISTRY, block, where)
    if not (inspect.isclass(target) and issubclass(target, VQNetwork)):
        return checked
    for part, (registry, decided, more) in PARTS.items():
        inner = checked.get(part)
        if not isinstance(inner, dict) or (inner.get("type") == "none" and inner.keys() <= {"type", *more}):
            continue  # what is no mapping has its finding from the network's signature
        place = f"{where}: {part}"
        if part in target.per_level_blocks:
            check_levels(findings, registry, inner, place, decided)
        else:
            checked[part] = check_block(findings, registry, inner, place, decided, more)
    return checked


def check_levels(
    findings: list[str], registry: Registry, block: dict[str, Any], where: str, decided: tuple[str, ...]
) -> None:
    """Check a block whose options may be lists of one value per level or codebook: the type holds for each of them."""
    levels = max((len(v) for v in block.values() if isinstance(v, list)), default=1)
    padded = {k: [*v, *v[-1:] * (levels - len(v))] if isinstance(v, list) and v else v for k, v in block.items()}
    for i in range(levels):
        try:
            level = level_block(registry, padded, i)
        except (UserError, LookupError) as error:
            findings.append(f"{where}: {error}")
            return
        if level == {"type": "none"}:
            continue
        found: list[str] = []
        check_block(found, registry, level, where, decided)
        if found:
            findings += found
            return


def check_dataset(findings: list[str], block: Any, phase: str) -> dict[str, Any]:
    """Check a data set; BasicSR's take any dictionary, so that there is nothing to check against."""
    where = f"datasets: {phase}"
    if not re.fullmatch(r"train|(val|test)(_\w+)?", phase):
        findings.append(f"datasets: phase '{phase}' is unknown (known: train, val, val_*, test, test_*)")
    target = block_target(findings, DATASET_REGISTRY, block, where)
    if target is None:
        return mapping(block)
    if "name" not in block:
        findings.append(f"{where}: name is missing")
    elif isinstance(block["name"], str) and (problem := name_problem(block["name"])):
        findings.append(f"{where}: name: {problem}, got {shown(block['name'])}")
    schema = getattr(target, "Options", None)
    if schema is not None:
        return check_section(findings, schema, block, where)
    of_loader = {key: value for key, value in block.items() if key in LoaderOptions.model_fields}
    return {**block, **check_section(findings, AnyLoaderOptions, of_loader, where)}
