"""The journal of an evaluation: every value as soon as it is measured, so that a restart continues where it stopped.

A part of the images has a journal of its own; whoever measures the whole joins them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.errors import UserError
from vqcnir_arch.shards import WHOLE, Shard

ESCAPED = "backslashreplace"
"""How a file's name that is no Unicode is written: in JSON it is the same name when it is read again."""
NAME = "journal.jsonl"
PART_NAME = "journal.{}-of-{}.jsonl"


@dataclass(frozen=True)
class Value:
    """A measured value, or the reason why the metric has none for this image."""

    value: float | None
    note: str = ""


class Journal:
    """Values on disk, one JSON object a line, by image and column.

    A value counts only for the same files (size and time of change) and the same settings of its column; others are
    measured again. The last line may be torn by a kill, or be that which another process is writing: it is left out.

    Args:
        folder: of the journal; it is made.
        part: whose values are added. All read what all have measured; the whole takes over the journals of parts.

    Raises:
        UserError: a file cannot be read or written.
    """

    def __init__(self, folder: Path, part: Shard = WHOLE) -> None:
        self.path = folder / (NAME if part.count == 1 else PART_NAME.format(part.number, part.count))
        self.entries: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.outdated = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths = [path for name in (NAME, PART_NAME.format("*", "*")) for path in sorted(folder.glob(name))]
            known = {path: whole_lines(path) for path in paths}
            for path, content in known.items():
                self._read(path, content)
            own = known if part.count == 1 else {self.path: known.get(self.path, b"")}
            write_file(self.path, b"".join(own.values()))
            for path in own.keys() - {self.path}:
                path.unlink()
            self.file = self.path.open("a", encoding="utf-8", errors=ESCAPED)
        except OSError as error:
            raise UserError(f"journal '{self.path}' cannot be written: {error.strerror}") from error

    def _read(self, path: Path, content: bytes) -> None:
        for number, line in enumerate(content.split(b"\n")[:-1], 1):
            try:
                entry = json.loads(line)
                self.entries.setdefault((entry["image"], entry["column"]), []).append(entry)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"journal '{path}', line {number} is damaged: remove the file") from error

    def find(self, image: str, column: str, settings: str, stamp: list[int]) -> Value | None:
        """Return what was measured for these files under these settings; what is of others is counted."""
        entries = self.entries.get((image, column), [])
        for entry in entries:
            if entry["settings"] == settings and entry["stamp"] == stamp:
                return Value(entry["value"], entry["note"])
        self.outdated += bool(entries)
        return None

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


def whole_lines(path: Path) -> bytes:
    """Return a file's content up to the end of its last whole line."""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]
