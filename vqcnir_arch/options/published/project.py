"""A published project: its stages, and the names by which its files are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vqcnir_arch.options.published.rules import Stage


@dataclass(frozen=True)
class Project:
    """A published project.

    Attributes:
        name: of the project.
        models: its values of `model_type`.
        stages: its kinds of option files.
        types: what our library has in place of each of its types (models, networks, data sets).
    """

    name: str
    models: tuple[str, ...]
    stages: tuple[Stage, ...]
    types: Mapping[str, str]
