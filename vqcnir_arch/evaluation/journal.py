"""The journal of an evaluation: every value as soon as it is measured, so that a restart continues where it stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqcnir_arch.errors import UserError


@dataclass(frozen=True)
class Value:
    """A measured value, or the reason why the metric has none for this image."""

    value: float | None
    note: str = ""


class Journal:
    """Values on disk, one JSON object a line, by image and column.

    A value counts only for the same files (size and time of change) and the same settings of its column; others are
    measured again. The last line may be torn by a kill: it is left out.

    Raises:
        UserError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[tuple[str, str], dict[str, Any]] = {}
        self.outdated = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            if content and not content.endswith(b"\n"):
                content = content[: content.rfind(b"\n") + 1]
                path.write_bytes(content)
            self.file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"journal '{path}' cannot be written: {error.strerror}") from error
        for number, line in enumerate(content.decode().splitlines(), 1):
            try:
                entry = json.loads(line)
                self.entries[entry["image"], entry["column"]] = entry
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"journal '{path}', line {number} is damaged: remove the file") from error

    def find(self, image: str, column: str, settings: str, stamp: list[int]) -> Value | None:
        """Return what was measured for these files under these settings; what is of others is counted."""
        entry = self.entries.get((image, column))
        if entry is None:
            return None
        if entry["settings"] != settings or entry["stamp"] != stamp:
            self.outdated += 1
            return None
        return Value(entry["value"], entry["note"])

    def add(self, image: str, column: str, settings: str, stamp: list[int], value: Value) -> None:
        """Write one value."""
        entry = {"image": image, "column": column, "value": value.value, "note": value.note, "stamp": stamp}
        self._write({**entry, "settings": settings})

    def _write(self, entry: dict[str, Any]) -> None:
        try:
            self.file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self.file.flush()
        except OSError as error:
            raise UserError(f"journal '{self.path}' cannot be written: {error.strerror}") from error

    def close(self) -> None:
        self.file.close()
