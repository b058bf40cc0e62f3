"""Check a whole option file and report every finding at once; nothing is built."""

from __future__ import annotations

import inspect
import re
import typing
from typing import Any

import torch
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.contradictions import training_contradictions, unknown_switches
from vqcnir_arch.options.schema import Experiment, Section
from vqcnir_arch.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    ENHANCER_REGISTRY,
    FUSION_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    QUANTIZER_REGISTRY,
    Registry,
    lookup,
    optimizers,
)

SCHEDULERS = {
    "MultiStepLR": MultiStepRestartLR,
    "MultiStepRestartLR": MultiStepRestartLR,
    "CosineAnnealingRestartLR": CosineAnnealingRestartLR,
}
PARTS = {
    # block inside network_g: its registry, the arguments that the network decides, options that the network takes
    "quantizer": (QUANTIZER_REGISTRY, ("codebook_size", "code_dim"), {}),
    "enhancer": (ENHANCER_REGISTRY, ("channels", "index"), {"depth": int}),
    "fusion": (FUSION_REGISTRY, ("channels", "coarser_channels", "norm_groups"), {}),
}


def check_options(options: dict[str, Any], is_train: bool) -> dict[str, Any]:
    """Check an option file's content.

    Args:
        options: as read from the file; not changed.
        is_train: whether it is to train or to test.

    Returns:
        The options with numbers in place of strings that spell one (`lr: 1e-4`), otherwise as given.

    Raises:
        UserError: one line per finding; unknown keys come with the nearest right name.
    """
    checker = Checker()
    checked = checker.section(Experiment, options, "")
    shapes = [checked.get(name) for name in ("datasets", "path", "train", "val", "logger")]
    if all(shape is None or isinstance(shape, dict) for shape in shapes):  # else the finding is there already
        checker.experiment(checked, is_train)
    if checker.findings:
        raise UserError("\n".join(checker.findings))
    return checked


class Checker:
    """Collects findings instead of stopping at the first."""

    def __init__(self) -> None:
        self.findings: list[str] = []

    def section(self, schema: type[BaseModel], values: Any, where: str) -> dict[str, Any]:
        """Check values against a pydantic model; return them with numbers read, or as they are if they do not fit."""
        if not isinstance(values, dict):
            self.findings.append(f"{where}: expected a mapping, got {values!r}")
            return {}
        self._unknown_keys(schema, values, where)
        try:
            return schema.model_validate(values).model_dump(exclude_unset=True)
        except ValidationError as error:
            wrong: dict[tuple[str, str], list[str]] = {}  # an option of several types has a problem with each of them
            for problem in error.errors():
                if problem["type"] == "missing":
                    self.findings.append(f"{join(where, *problem['loc'])} is missing")
                elif problem["type"] != "extra_forbidden":
                    keys, value = existing_keys(values, problem["loc"])
                    wrong.setdefault((join(where, *keys), repr(value)), []).append(problem["msg"].lower())
            self.findings += [
                f"{place}: {' or '.join(messages)}, got {value}" for (place, value), messages in wrong.items()
            ]
            return values

    def _unknown_keys(self, schema: type[BaseModel], values: dict[str, Any], where: str) -> None:
        known = [field.alias or name for name, field in schema.model_fields.items()]
        if issubclass(schema, Section) or schema.model_config.get("extra") == "forbid":
            more = getattr(schema, "more", r"(?!)")
            for key in values:
                if key not in known and not re.fullmatch(more, str(key)):
                    self.findings.append(f"{where + ': ' if where else ''}unknown option '{key}'{nearest(key, known)}")
        for name, field in schema.model_fields.items():
            nested = [a for a in (field.annotation, *typing.get_args(field.annotation)) if inspect.isclass(a)]
            for inner in nested:
                if issubclass(inner, Section) and isinstance(values.get(name), dict):
                    self._unknown_keys(inner, values[name], f"{where}: {name}" if where else name)

    def block(
        self,
        registry: Registry,
        values: Any,
        where: str,
        decided: tuple[str, ...] = (),
        more: dict[str, type] | None = None,
    ) -> dict[str, Any]:
        """Check a `{type: ...}` block against the signature of the class that its type names."""
        if not isinstance(values, dict) or "type" not in values:
            self.findings.append(f"{where}: expected a block with a 'type', got {values!r}")
            return values
        try:
            target = lookup(registry, str(values["type"]))
        except UserError as error:
            self.findings.append(f"{where}: {error}")
            return values
        return self.call(target, values, where, decided, more)

    def call(
        self,
        target: Any,
        values: dict[str, Any],
        where: str,
        decided: tuple[str, ...] = (),
        more: dict[str, type] | None = None,
    ) -> dict[str, Any]:
        """Check the options of a block as the arguments of a call of `target`."""
        schema = signature_schema(target, decided, more or {})
        rest = {key: value for key, value in values.items() if key != "type"}
        return {"type": values["type"], **self.section(schema, rest, f"{where} ({values['type']})")}

    def experiment(self, options: dict[str, Any], is_train: bool) -> None:
        """Check what the sections' types do not say: blocks, and what must go together."""
        self.network(options, "network_g")
        if options.get("network_d"):
            self.network(options, "network_d")
        for name, dataset in (options.get("datasets") or {}).items():
            self.dataset(options["datasets"], name, dataset)
        for name, metric in ((options.get("val") or {}).get("metrics") or {}).items():
            # `better` is BasicSR's own key, read by its best-so-far table
            decided, more = ("img", "img2"), {"better": str}
            options["val"]["metrics"][name] = self.block(
                METRIC_REGISTRY, metric, f"val: metrics: {name}", decided, more
            )
        if is_train:
            self.training(options)
        elif not options.get("val"):
            self.findings.append("val is missing: a test needs at least save_img")
        self.model(options, is_train)
        if isinstance(options.get("num_gpu"), int) and options["num_gpu"] > torch.cuda.device_count():
            self.findings.append(
                f"num_gpu: {options['num_gpu']}, but torch sees {torch.cuda.device_count()} GPUs: use 0 or auto"
            )

    def network(self, options: dict[str, Any], name: str) -> None:
        if name not in options:
            return
        options[name] = self.block(ARCH_REGISTRY, options[name], name)
        for part, (registry, decided, more) in PARTS.items():
            block = options[name].get(part) if isinstance(options[name], dict) else None
            if block is None or block == {"type": "none"}:
                continue
            if part == "fusion" and isinstance(block, dict):
                # a list has one value per level: the type holds for each of them
                for i in range(max((len(v) for v in block.values() if isinstance(v, list)), default=1)):
                    level = {k: v[min(i, len(v) - 1)] if isinstance(v, list) and v else v for k, v in block.items()}
                    found = len(self.findings)
                    self.block(registry, level, f"{name}: {part}", decided, more)
                    if len(self.findings) > found:
                        break
                continue
            options[name][part] = self.block(registry, block, f"{name}: {part}", decided, more)

    def dataset(self, datasets: dict[str, Any], name: str, dataset: Any) -> None:
        if not re.fullmatch(r"train|(val|test)(_\w+)?", name):
            self.findings.append(f"datasets: phase '{name}' is unknown (known: train, val, val_*, test, test_*)")
        if not isinstance(dataset, dict) or "type" not in dataset:
            self.findings.append(f"datasets: {name}: expected a block with a 'type', got {dataset!r}")
            return
        try:
            target = lookup(DATASET_REGISTRY, str(dataset["type"]))
        except UserError as error:
            self.findings.append(f"datasets: {name}: {error}")
            return
        if "name" not in dataset:
            self.findings.append(f"datasets: {name}: name is missing")
        schema = getattr(target, "Options", None)  # BasicSR's data sets take any dictionary: nothing to check against
        if schema is not None:
            datasets[name] = self.section(schema, dataset, f"datasets: {name}")

    def training(self, options: dict[str, Any]) -> None:
        for section in ("train", "logger"):
            if not options.get(section):
                self.findings.append(f"{section} is missing: training needs it")
        if "train" not in (options.get("datasets") or {}):
            self.findings.append("datasets: train is missing: training needs it")
        if options.get("val") and not options["val"].get("val_freq"):
            self.findings.append("val: val_freq is missing: training needs it")
        train = options.get("train") or {}
        for key, block in train.items():
            if key.endswith("_opt") and block is not None:
                train[key] = self.block(LOSS_REGISTRY, block, f"train: {key}")
        for key in ("optim_g", "optim_d"):
            if train.get(key) is not None:
                train[key] = self.named(train[key], f"train: {key}", optimizers(), ("params",))
        if train.get("scheduler") is not None:
            train["scheduler"] = self.named(train["scheduler"], "train: scheduler", SCHEDULERS, ("optimizer",))
        self.findings += training_contradictions(options)

    def named(self, block: Any, where: str, known: dict[str, Any], decided: tuple[str, ...]) -> dict[str, Any]:
        """Check a block whose type is not in a registry of BasicSR."""
        if not isinstance(block, dict) or block.get("type") not in known:
            kind = block.get("type") if isinstance(block, dict) else block
            self.findings.append(f"{where}: unknown type '{kind}'{nearest(str(kind), known)}")
            return block
        return self.call(known[block["type"]], block, where, decided)

    def model(self, options: dict[str, Any], is_train: bool) -> None:
        if "model_type" not in options:
            return
        try:
            model = lookup(MODEL_REGISTRY, str(options["model_type"]))
        except UserError as error:
            self.findings.append(f"model_type: {error}")
            return
        sections = [options.get(name) for name in ("train", "network_g", "path")]
        if is_train and isinstance(options.get("train"), dict) and not getattr(model, "has_speed_switches", False):
            self.findings += unknown_switches(options["train"], options["model_type"])
        if is_train and hasattr(model, "contradictions") and all(isinstance(section, dict) for section in sections):
            self.findings.extend(model.contradictions(options))


def join(*keys: Any) -> str:
    """Return the way to an option as users read it: `train: optim_g: lr`."""
    return ": ".join(str(key) for key in keys if key != "")


def existing_keys(values: Any, location: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """Follow pydantic's location of a problem as far as it names keys (types follow); return them and the value."""
    keys = []
    for key in location:
        known = values if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
        if key not in known:
            break
        keys.append(key)
        values = values[key]
    return keys, values


def signature_schema(target: Any, decided: tuple[str, ...], more: dict[str, type]) -> type[BaseModel]:
    """Turn the signature of a class or function into a pydantic model that refuses unknown keys.

    Args:
        target: what will be called with the options.
        decided: parameters that the caller fills in.
        more: options that the caller takes itself.

    A parameter without annotation takes the type of its default; `**kwargs` means that other keys are not checked.
    """
    parameters = inspect.signature(target).parameters
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # a third project's annotations may not resolve at run time
        hints = {}
    fields: dict[str, Any] = {name: (kind, None) for name, kind in more.items()}
    for name, parameter in parameters.items():
        if name in decided or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        kind = hints.get(name, type_of_default(default))
        # pydantic refuses names that begin with an underscore or shadow its own: an alias carries the real one
        fields[f"option_{name}"] = (kind, _field(name, default))
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    config = ConfigDict(extra="allow" if takes_any else "forbid", arbitrary_types_allowed=True, serialize_by_alias=True)
    return create_model(getattr(target, "__name__", "Options"), __config__=config, **fields)


def _field(name: str, default: Any) -> Any:
    from pydantic import Field

    return Field(alias=name) if default is ... else Field(default, alias=name)


def type_of_default(default: Any) -> Any:
    """Guess a parameter's type from its default value."""
    if isinstance(default, bool):
        return bool
    if isinstance(default, int | float):
        return int | float
    if isinstance(default, str):
        return str | None
    return Any
