"""Blocks of an option file that cannot be checked, so that it can be said."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from vqcnir_arch.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    Registry,
    lookup,
)


def unchecked_blocks(options: dict[str, Any]) -> list[str]:
    """Return one line for each block whose class takes any option; `options` as `check_options` gives them."""
    found = []
    for name, dataset in options["datasets"].items():
        if not hasattr(lookup(DATASET_REGISTRY, dataset["type"]), "Options"):
            found.append(f"datasets: {name}: {dataset['type']} takes any dictionary: its options are not checked")
    for where, registry, block in typed_blocks(options):
        parameters = inspect.signature(lookup(registry, block["type"])).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            found.append(f"{where}: {block['type']} takes any option: misspelt ones are not found")
    return found


def typed_blocks(options: dict[str, Any]) -> Iterator[tuple[str, Registry, dict[str, Any]]]:
    """Yield place, registry and content of every block with a type but the data sets."""
    for name, block in options.items():
        if name.startswith("network_") and block:
            yield name, ARCH_REGISTRY, block
    for name, block in (options.get("train") or {}).items():
        if name.endswith("_opt") and block:
            yield f"train: {name}", LOSS_REGISTRY, block
    for name, block in ((options.get("val") or {}).get("metrics") or {}).items():
        yield f"val: metrics: {name}", METRIC_REGISTRY, block
