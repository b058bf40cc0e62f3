"""The manifest of a synthesis: JSON lines, first how pairs are made, then one line per pair with all that was drawn."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.data.recipes import find_recipe
from vqcnir_arch.errors import UserError
from vqcnir_arch.shards import WHOLE, Shard
from vqcnir_arch.version import __version__

NAME = "manifest.jsonl"
PART_NAME = "manifest.{}-of-{}.jsonl"
"""The same of a part of the photographs, until it is joined with the others'."""


class Plan(BaseModel):
    """First line: everything that decides a pair beside its photograph's content, name and number."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipe: str
    recipe_version: int
    seed: int
    split: str
    settings: dict[str, Any]
    made_with: dict[str, str] = Field(default_factory=lambda: Plan.versions())

    @staticmethod
    def versions() -> dict[str, str]:
        """Return the versions of what computes pixels; the last bit may differ between those of OpenCV."""
        return {"vqcnir": __version__, "opencv": cv2.__version__, "numpy": np.__version__}

    @classmethod
    def of(cls, recipe_name: str, seed: int, split: str, settings: BaseModel) -> Plan:
        """Return the plan of a recipe with these settings."""
        recipe = find_recipe(recipe_name)
        split = split if "{split}" in recipe.layout else ""
        return cls(
            recipe=recipe_name,
            recipe_version=recipe.version,
            seed=seed,
            split=split,
            settings=settings.model_dump(mode="json"),
        )

    def differences(self, other: Plan) -> list[str]:
        """Name what differs and changes pixels: `seed 0, not 1`."""
        ours, theirs = (
            {**plan.model_dump(exclude={"made_with", "settings"}), **plan.settings} for plan in (self, other)
        )
        return [
            f"{key.replace('_', ' ')} {ours.get(key)}, not {theirs.get(key)}"
            for key in {**ours, **theirs}
            if ours.get(key) != theirs.get(key)
        ]


class Row(BaseModel):
    """One pair: its photograph (name, file, SHA-256), its files with their SHA-256, and what was drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    pair: int
    source: str
    sha256: str
    files: dict[str, str]
    draws: dict[str, Any]


Line = TypeVar("Line", Plan, Row)


def parse_line(model: type[Line], line: str, what: str) -> Line:
    """Return a line of a manifest as its model, or raise `UserError` that begins with `what`."""
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        place = "".join(f"{part}: " for part in problem["loc"])
        raise UserError(f"{what}: {place}{problem['msg'].lower()}") from error


class Manifest:
    """A manifest file that grows.

    Attributes:
        path: of the file.
        plan: its first line.
        rows: its other lines, by name and number of the pair.
    """

    def __init__(self, path: Path, plan: Plan, rows: Iterable[Row] = ()) -> None:
        self.path = path
        self.plan = plan
        self.rows = {(row.name, row.pair): row for row in rows}

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest; a last line that a crash has cut is left out.

        Raises:
            UserError: the file is missing or not a manifest.
        """
        try:
            # not `splitlines`: a name may hold any character
            *whole, _ = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text"
            raise UserError(f"manifest '{path}' cannot be read: {reason}") from error
        first, *others = whole or [""]
        plan = parse_line(Plan, first, f"manifest '{path}', line 1")
        rows = [parse_line(Row, line, f"manifest '{path}', line {n}") for n, line in enumerate(others, 2)]
        return cls(path, plan, rows)

    @classmethod
    def open(cls, out: Path, plan: Plan, part: Shard = WHOLE) -> Manifest:
        """Begin a manifest below `out`, or continue with what is there; the whole takes over those of parts.

        Raises:
            UserError: what is there was made by another plan, or there are images and no manifest.
        """
        folder = out / plan.split
        places = [folder / name for name in find_recipe(plan.recipe).folders]
        filled = next((place for place in places if place.exists() and any(place.iterdir())), None)
        # looked for after the images: a part that is beginning writes its manifest before them
        there = {path: cls.read(path) for name in (NAME, PART_NAME.format("*", "*")) for path in folder.glob(name)}
        for path, other in there.items():
            if different := other.plan.differences(plan):
                raise UserError(f"manifest '{path}' was made with {'; '.join(different)}: name a new output folder")
        own = folder / (NAME if part.count == 1 else PART_NAME.format(part.number, part.count))
        if filled and not there:
            raise UserError(f"'{filled}' is not empty and '{own}' does not exist: name a new output folder")
        known = {pair: row for other in there.values() for pair, row in other.rows.items()}
        first = there.get(own) or next(iter(there.values()), None)
        manifest = cls(own, first.plan if first else plan, there[own].rows.values() if own in there else ())
        if part.count == 1:
            manifest.rows = known
        manifest.rewrite()
        if part.count == 1:
            for path in there.keys() - {own}:
                path.unlink()
        manifest.rows = known
        return manifest

    def known(self, name: str) -> dict[int, Row]:
        """Return the rows of one photograph by the number of the pair."""
        return {pair: row for (of, pair), row in self.rows.items() if of == name}

    def append(self, rows: Iterable[Row]) -> None:
        """Write down pairs; those that were there and made again are not written twice."""
        new = [row for row in rows if (row.name, row.pair) not in self.rows]
        if not new:
            return
        try:
            with self.path.open("r+", encoding="utf-8") as file:  # which must still be there: not "a"
                file.seek(0, os.SEEK_END)
                file.writelines(row.model_dump_json() + "\n" for row in new)
        except OSError as error:
            raise UserError(f"manifest '{self.path}' cannot be written: {error.strerror}") from error
        self.rows.update({(row.name, row.pair): row for row in new})

    def rewrite(self) -> None:
        """Write the whole file, in the order of one undisturbed run."""
        lines = [self.plan.model_dump_json(), *(self.rows[pair].model_dump_json() for pair in sorted(self.rows))]
        write_file(self.path, "".join(f"{line}\n" for line in lines).encode())
