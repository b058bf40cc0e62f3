"""Option file and `--force_yml` to a dictionary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.published import refuse_published
from vqcnir_arch.shipped import shipped
from vqcnir_arch.tensor_files import existing_file


class OptionLoader(yaml.SafeLoader):
    """PyYAML's safe loader that notes, in `twice`, keys that stand twice, of which YAML silently takes the last."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.twice: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        self.twice += [
            f"line {node.value[i][0].start_mark.line + 1}: '{key}' stands there twice"
            for i, key in enumerate(keys)
            if key in keys[:i]
        ]
        return super().construct_mapping(node, deep)


def read_options(path: str | os.PathLike[str], force: Sequence[str] = ()) -> dict[str, Any]:
    """Read an option file and apply `--force_yml` entries such as `train:ema_decay=0.999`.

    Raises:
        UserError: the file is missing, not YAML or a published project's, or an entry names a key that is not in it.
    """
    path = option_file(path)
    options, twice = load_file(path)
    refuse_published(options, path)
    if twice:
        raise UserError(f"option file '{path}', {twice[0]}")
    for entry in force:
        apply_forced(options, entry)
    return options


def load_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the content of an option file, whoever's it is, and a line for each key that stands in it twice.

    Raises:
        UserError: it is not YAML, or no mapping.
    """
    try:
        loader = OptionLoader(path.read_text(encoding="utf-8"))
        options = loader.get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"option file '{path}'{where} is not YAML: {getattr(error, 'problem', None) or error}"
        ) from error
    if not isinstance(options, dict):
        raise UserError(f"option file '{path}' holds a {type(options).__name__}, expected a mapping of options")
    return options, loader.twice


def option_file(path: str | os.PathLike[str]) -> Path:
    """Return an existing option file; the error for a missing one says where vqcnir brings one of that name."""
    try:
        return existing_file(path, "option file")
    except UserError as error:
        own = shipped(path)
        if own is None or not own.is_file():
            raise
        raise UserError(f"{error}; vqcnir brings '{own}'") from error


def apply_forced(options: dict[str, Any], entry: str) -> None:
    """Set one existing option from `section:key=value`; the value is read as YAML."""
    place, equals, value = entry.partition("=")
    if not equals:
        raise UserError(f"--force_yml '{entry}': expected section:key=value")
    *sections, last = place.strip().split(":")
    block = options
    for key in sections:
        if not isinstance(block.get(key), dict):
            raise UserError(f"--force_yml '{entry}': there is no section '{key}'{nearest(key, block)}")
        block = block[key]
    if last not in block:
        raise UserError(f"--force_yml '{entry}': there is no option '{last}' in the file{nearest(last, block)}")
    try:
        block[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: as of the date 2026-02-30
        raise UserError(f"--force_yml '{entry}': '{value}' is not YAML") from error
