"""A JSON schema of the option files, for editors: `python -m vqcnir_arch.options.json_schema > options/schema.json`.

It is made of what checks an option file: the sections of `schema.py`, the signatures of registered classes, the data
sets' `Options`. An editor then knows the options of this library's classes and of BasicSR's; a block whose type is
another may hold anything. `vqcnir inspect` says more: what contradicts itself, and what cannot be built.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.options.blocks import PARTS, SCHEDULERS
from vqcnir_arch.options.from_checkpoint import FROM
from vqcnir_arch.options.schema import Experiment, PathSection, TrainSection
from vqcnir_arch.options.signatures import signature_schema
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

Schema = dict[str, Any]
CHECKPOINT: Schema = {"type": "string", "description": "checkpoint whose network this is"}
KNOWN = ("vqcnir_arch.", "basicsr.")
"""Beginnings of the modules whose classes the schema describes."""


class Generator(GenerateJsonSchema):
    """Pydantic's, but a type that JSON cannot hold may be anything."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:
        return {}


class SchemaMaker:
    """Collects the definitions that the schema of the whole file refers to."""

    def __init__(self) -> None:
        self.definitions: Schema = {}

    def option_file(self) -> Schema:
        """Return the schema of an option file."""
        for part, (registry, decided, more) in PARTS.items():
            self.block(part, {name: self.call(lookup(registry, name), decided, more) for name in known(registry)})
        self.block("network", {name: self.network(name) for name in known(ARCH_REGISTRY)})
        network = self.definitions["network"]
        network["anyOf"] = [{"required": network.pop("required")}, {"required": [FROM]}]
        network["properties"][FROM] = CHECKPOINT
        self.block("loss", {name: self.call(lookup(LOSS_REGISTRY, name)) for name in known(LOSS_REGISTRY)})
        metrics = {
            name: self.call(lookup(METRIC_REGISTRY, name), ("img", "img2"), {"better": str})
            for name in known(METRIC_REGISTRY)
        }
        self.block("metric", metrics)
        datasets = {name: getattr(lookup(DATASET_REGISTRY, name), "Options", None) for name in known(DATASET_REGISTRY)}
        self.block("dataset", {name: self.model(cls) if cls else {} for name, cls in datasets.items()})
        self.block("scheduler", {name: self.call(cls, ("optimizer",)) for name, cls in SCHEDULERS.items()})
        self.definitions["optimizer"] = {
            "type": "object",
            "required": ["type", "lr"],
            "properties": {"type": {"type": "string", "examples": ["Adam", "AdamW"]}, "lr": {"type": "number"}},
        }
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **self.sections(), "$defs": self.definitions}

    def sections(self) -> Schema:
        """Return the schema of the file's top level; its blocks are those that have been defined."""
        whole = self.model(Experiment)
        train, val = (self.definitions[name]["properties"] for name in ("TrainSection", "ValSection"))
        whole["properties"]["model_type"] |= one_of(known(MODEL_REGISTRY))
        whole["properties"]["datasets"] |= {
            "patternProperties": {r"^(train|(val|test)(_\w+)?)$": {"$ref": "#/$defs/dataset"}},
            "additionalProperties": False,
        }
        refer(whole["properties"], {"network_g": "network", "network_d": "network"})
        refer(train, {name: "loss" for name in train if name.endswith("_opt")})
        refer(train, {"optim_g": "optimizer", "optim_d": "optimizer", "scheduler": "scheduler"})
        val["metrics"] = {**val["metrics"], "anyOf": [
            {"type": "object", "additionalProperties": {"$ref": "#/$defs/metric"}}, {"type": "null"},
        ]}  # fmt: skip
        allow(whole, Experiment.more, or_null("network"))
        whole["patternProperties"]["^x-"] = {}  # sections that others refer to
        allow(self.definitions["TrainSection"], TrainSection.more, or_null("loss"))
        allow(self.definitions["PathSection"], PathSection.more, {})
        for name in ("ValSection", "LoggerSection"):
            self.definitions[name]["additionalProperties"] = False
        return whole

    def block(self, kind: str, targets: dict[str, Schema]) -> None:
        """Define a block with a `type`: each of the types with what it takes, another type with anything."""
        cases = []
        for name, options in targets.items():
            if options:  # BasicSR's data sets take any dictionary
                options["properties"]["type"] = {"const": name}
                self.definitions[f"{kind}_{name}"] = options
                is_named = {"required": ["type"], "properties": {"type": {"const": name}}}
                cases.append({"if": is_named, "then": {"$ref": f"#/$defs/{kind}_{name}"}})
        self.definitions[kind] = {
            "type": "object",
            "required": ["type"],
            "properties": {"type": one_of(list(targets))},
            "allOf": cases,
        }

    def network(self, name: str) -> Schema:
        """Return what a network takes, in one of ours with the blocks inside."""
        target = lookup(ARCH_REGISTRY, name)
        schema = self.call(target)
        if inspect.isclass(target) and issubclass(target, VQNetwork):
            inside = {
                part: part for part in PARTS if part in schema["properties"] and part not in target.per_level_blocks
            }
            refer(schema["properties"], inside)
            schema["properties"][FROM] = CHECKPOINT
        return schema

    def call(self, target: Any, decided: tuple[str, ...] = (), more: Mapping[str, type] | None = None) -> Schema:
        """Return what the signature of a class or function takes."""
        schema = self.model(signature_schema(target, decided, more or {}))
        text = inspect.cleandoc(target.__doc__ or "").splitlines()
        return {**schema, "description": text[0]} if text else schema

    def model(self, cls: type[BaseModel]) -> Schema:
        """Return the schema of a pydantic model, and define those that stand in it."""
        schema = without_titles(cls.model_json_schema(schema_generator=Generator))
        self.definitions |= schema.pop("$defs", {})
        schema.setdefault("properties", {})
        return schema


def known(registry: Registry) -> list[str]:
    """Return the names of a registry that are this library's or BasicSR's."""
    return [name for name in names(registry) if lookup(registry, name).__module__.startswith(KNOWN)]


def one_of(choices: list[str]) -> Schema:
    """Return a type that an editor completes, and that may be another one's."""
    return {"anyOf": [{"enum": choices}, {"type": "string"}]}


def or_null(kind: str) -> Schema:
    return {"anyOf": [{"$ref": f"#/$defs/{kind}"}, {"type": "null"}]}


def refer(properties: Schema, kinds: dict[str, str]) -> None:
    """Put the definition of a block in the place of a mapping of anything; its description stays."""
    for name, kind in kinds.items():
        kept = {key: value for key, value in properties[name].items() if key in ("description", "default")}
        may_be_null = properties[name].get("type") != "object"
        properties[name] = {**kept, **(or_null(kind) if may_be_null else {"$ref": f"#/$defs/{kind}"})}


def allow(section: Schema, pattern: str, schema: Schema) -> None:
    """Let a section have its own keys and those of a pattern alone."""
    section |= {"patternProperties": {f"^({pattern})$": schema}, "additionalProperties": False}


def without_titles(schema: Any) -> Any:
    """Leave out pydantic's titles, which repeat the keys."""
    if isinstance(schema, dict):
        return {k: without_titles(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    return [without_titles(value) for value in schema] if isinstance(schema, list) else schema


def json_schema() -> str:
    """Return the schema as text."""
    return json.dumps(SchemaMaker().option_file(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
