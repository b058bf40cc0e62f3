"""What of an option file cannot be checked, so that it can be said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from basicsr.models.esrgan_model import ESRGANModel
from basicsr.models.sr_model import SRModel
from basicsr.models.srgan_model import SRGANModel
from basicsr.models.swinir_model import SwinIRModel

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.contradictions import switches_without_reader
from vqcnir_arch.options.schema import Experiment, TrainSection
from vqcnir_arch.options.sections import join, mapping, unknown_keys
from vqcnir_arch.options.signatures import takes_any_option
from vqcnir_arch.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    Registry,
    lookup,
    names,
)

KNOWN_MODELS = (SRModel, SRGANModel, ESRGANModel, SwinIRModel)
"""Models of BasicSR that read what the schema describes and nothing else; its others read keys of their own."""


def model_class(options: dict[str, Any]) -> type | None:
    """Return the class that `model_type` names, None where there is none of that name."""
    try:
        return lookup(MODEL_REGISTRY, str(options.get("model_type")))
    except UserError:
        return None


def reads_own_keys(options: dict[str, Any]) -> bool:
    """Tell whether the experiment's model is a class that may read keys that only it knows."""
    model = model_class(options)
    return not (model is None or model in KNOWN_MODELS or model.__module__.startswith("vqcnir_arch."))


def is_own_loss(options: dict[str, Any], key: str, block: Any) -> bool:
    """Tell whether an entry `*_opt` of `train:` is for the model's own class to read: no loss that is registered."""
    if key in TrainSection.model_fields or not reads_own_keys(options):
        return False
    return not isinstance(block, dict) or str(block.get("type")) not in names(LOSS_REGISTRY)


def unchecked_blocks(options: dict[str, Any]) -> list[str]:
    """Return one line for each thing that is not checked; `options` as `check_options` gives them."""
    found = []
    model = options["model_type"]
    if reads_own_keys(options):
        for place, key, known in unknown_keys(Experiment, options):
            hint = nearest(key, known)
            hint = hint if "did you mean" in hint else ""
            found.append(f"{join(place, key)}: is not checked, only {model} can know it{hint}")
        train = mapping(options.get("train"))
        if not getattr(model_class(options), "has_speed_switches", False):
            found += [f"{line}, or {model} itself" for line in switches_without_reader(train, "BasicSR")]
        for key, block in train.items():
            if key.endswith("_opt") and block and is_own_loss(options, key, block):
                found.append(f"train: {key}: is not checked, only {model} can know it")
    for name, dataset in options["datasets"].items():
        if not hasattr(lookup(DATASET_REGISTRY, dataset["type"]), "Options"):
            found.append(f"datasets: {name}: {dataset['type']} takes any dictionary: its options are not checked")
    for where, registry, block in typed_blocks(options):
        if takes_any_option(lookup(registry, block["type"])):
            found.append(f"{where}: {block['type']} takes any option: misspelt ones are not found")
    return found


def typed_blocks(options: dict[str, Any]) -> Iterator[tuple[str, Registry, dict[str, Any]]]:
    """Yield place, registry and content of every block with a type but the data sets."""
    for name, block in options.items():
        if name.startswith("network_") and block:
            yield name, ARCH_REGISTRY, block
    for name, block in mapping(options.get("train")).items():
        if name.endswith("_opt") and block and not is_own_loss(options, name, block):
            yield f"train: {name}", LOSS_REGISTRY, block
    for name, block in mapping(mapping(options.get("val")).get("metrics")).items():
        yield f"val: metrics: {name}", METRIC_REGISTRY, block
