"""A translated option file as text."""

from __future__ import annotations

from typing import Any

from vqcnir_arch.options.published.engine import ADDED, HEADINGS, Translation
from vqcnir_arch.options.published.rules import shown
from vqcnir_arch.options.schema import Experiment

INDENT = "  "
LONGEST_LINE = 120


def option_text(translation: Translation, head: str) -> str:
    """Return the option file: what it was made of and what is ours in it, then its sections."""
    comments = [head, "Ours to choose, as the published file does not say it:", *translation.lines[ADDED]]
    lines = [f"# {line}" for line in (comments if translation.lines[ADDED] else comments[:1])]
    for key, value in sorted(translation.options.items(), key=lambda item: [*Experiment.model_fields].index(item[0])):
        if isinstance(value, dict):
            lines += ["", f"{key}:", *section(value, 1, key == "datasets")]
        else:
            lines.append(f"{key}: {scalar(value)}")
    return "\n".join(lines) + "\n"


def section(block: dict[str, Any], depth: int, is_datasets: bool) -> list[str]:
    """Return a block's lines: data sets and blocks that hold blocks stay open, others stand on one line."""
    lines = []
    for key, value in block.items():
        start = f"{INDENT * depth}{key}:"
        line = f"{start} {scalar(value)}"
        holds_blocks = isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values())
        if isinstance(value, dict) and (is_datasets or holds_blocks or len(line) > LONGEST_LINE):
            lines += [start, *section(value, depth + 1, False)]
        elif isinstance(value, list) and len(line) > LONGEST_LINE:
            lines += [start, *(f"{INDENT * (depth + 1)}- {scalar(item)}" for item in value)]
        else:
            lines.append(line)
    return lines


def scalar(value: Any) -> str:
    """Return a value on one line."""
    return "~" if value is None else shown(value)


def report(translation: Translation) -> str:
    """Return what became what, a line for each key."""
    lines = []
    for heading in HEADINGS:
        if translation.lines[heading]:
            lines += [f"{heading}:", *(f"{INDENT}{line}" for line in translation.lines[heading])]
    return "\n".join(lines)
