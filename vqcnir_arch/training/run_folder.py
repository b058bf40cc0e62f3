"""The folder of a run: how its name may look, and that nothing is moved away but what a run has written."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vqcnir_arch.atomic_files import make_folder, reason
from vqcnir_arch.errors import UserError

LONGEST_PART = 200
"""Bytes of a part of a name: with what stands before and after it in the names of logs, file systems allow 255."""
LONGEST_NAME = 1000
LOG_FILE = re.compile(r"(train|test)_.+_\d{8}_\d{6}\.log")
RECORDS = {"metrics.jsonl", "images.jsonl"}
MADE_FIRST = {"models", "training_states", "visualization", *RECORDS}
"""What stands in a run's folder before its log is opened; the folders are empty then."""
EVENT_FILE = "events.out.tfevents."


def name_problem(name: str) -> str | None:
    """Say what keeps a name from being that of a folder below `experiments/` or `results/`; None where nothing does.

    It may hold folders: `night/first run`.
    """
    parts = name.split("/")
    if name.startswith(("/", "~")) or "\\" in name or re.match("[A-Za-z]:", name) or ".." in parts:
        return "expected a name, or folders and a name ('night/first run'), not a path that leads elsewhere"
    if "" in parts or "." in parts or any(unicodedata.category(character) == "Cc" for character in name):
        return "expected a name, or folders and a name ('night/first run'), without empty parts or control characters"
    inner = next((part for part in parts[1:] if part in MADE_FIRST), None)
    if inner:
        return f"expected another name than '{inner}' inside a folder, which would then look like that of a run"
    longest = max(len(part.encode()) for part in parts)
    if longest > LONGEST_PART:
        return f"expected at most {LONGEST_PART} bytes between two '/', as file systems limit names, not {longest}"
    if len(name.encode()) > LONGEST_NAME:
        return f"expected at most {LONGEST_NAME} bytes, as systems limit paths"
    return None


def is_run(folder: Path) -> bool:
    """Tell whether a training or a test has written a folder, or nothing is in it."""
    names = set(os.listdir(folder))
    if {"models", "training_states"} <= names or names & RECORDS or any(map(LOG_FILE.fullmatch, names)):
        return True
    return names <= MADE_FIRST and not any(path.is_dir() and os.listdir(path) for path in folder.iterdir())


def is_event_folder(folder: Path) -> bool:
    """Tell whether TensorBoard's files of a run stand in a folder, or it is empty."""
    names = os.listdir(folder)
    return not names or any(name.startswith(EVENT_FILE) for name in names)


def refuse_inner(folder: Path, name: str) -> None:
    """Raise `UserError` if a run's folder would lie inside the folder of another run, which moves as a whole."""
    for above in list(folder.parents)[: name.count("/")]:
        if above.is_dir() and os.listdir(above) and is_run(above):
            raise UserError(f"name '{name}': '{above}' is the folder of a run of its own: choose another name")


def refuse_foreign(folder: Path, events: Path | None = None) -> None:
    """Raise `UserError` unless runs alone have written what a new run of the same name would move away.

    Args:
        folder: of the run.
        events: of its TensorBoard files.
    """
    for path, is_ours in ((folder, is_run), (events, is_event_folder)):
        if path is None or not path.exists():
            continue
        if not path.is_dir():
            raise UserError(f"'{path}' is a file, where the run's folder would be: choose another name")
        if not is_ours(path):
            first, *more = sorted(os.listdir(path))
            inside = f"'{first}' and {len(more)} more" if more else f"'{first}'"
            raise UserError(
                f"'{path}' is no run's folder ({inside} in it), so it is not put aside: choose another name"
            )


def refuse_own_files(options: Mapping[str, Any], folder: Path) -> None:
    """Raise `UserError` if an option names a file in the folder that a new run of the same name moves away."""
    for place, value in _texts(options):
        path = os.path.expanduser(value)  # pathlib's raises where a text is no path at all
        if "/" in value and os.path.exists(path) and folder.resolve() in Path(path).resolve().parents:
            raise UserError(
                f"{place}: '{value}' lies in '{folder}', which a new run of this name puts aside: choose another name"
            )


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield place and text of every entry of the option file that may be a path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{place}: {key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, place)
    elif isinstance(value, str):
        yield place, value


def make_anew(folder: str | os.PathLike[str]) -> None:
    """BasicSR's `mkdir_and_rename`: make a folder, and put aside what an earlier run has left in it.

    Raises:
        UserError: it cannot be made, or the earlier one not be moved.
    """
    path = Path(folder)
    if path.exists() and os.listdir(path):
        base = f"{path}_archived_{time.strftime('%Y%m%d_%H%M%S')}"
        aside, number = Path(base), 1
        while aside.exists():  # a third run in the same second
            aside, number = Path(f"{base}_{number}"), number + 1
        print(f"Path already exists. Rename it to {aside}", flush=True)
        try:
            path.rename(aside)
        except OSError as error:
            raise UserError(f"'{path}' cannot be put aside: {reason(error)}") from error
    make_folder(path)
