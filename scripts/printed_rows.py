"""What the papers print of a row of `vqcnir_arch/study/rows.py`, in words for the header of an option file."""

from __future__ import annotations

from vqcnir_arch.evaluation.papers import PaperRow, paper_rows
from vqcnir_arch.study.rows import Row


def printed(row: Row, host: str, sets: str = "") -> list[PaperRow]:
    """Return what the papers print of a row, in the order in which it names them.

    Args:
        row: the row.
        host: what stands for "{}" in the row's methods.
        sets: end of the test sets' names; the others are left out.
    """
    wanted = [text.format(host) for text in row.printed]
    found = [each for each in paper_rows() if each.label in wanted and each.set.endswith(sets)]
    return sorted(found, key=lambda each: wanted.index(each.label))


def places(found: list[PaperRow]) -> str:
    """Say in which tables a row stands."""
    tables: dict[tuple[str, str], dict[str, None]] = {}
    for each in found:
        tables.setdefault((each.method, each.source), {})[each.table] = None
    return ", ".join(
        f'"{method}" of {source} table{"s" if len(which) > 1 else ""} {" and ".join(which)}'
        for (method, source), which in tables.items()
    )


def all_numbers(found: list[PaperRow]) -> str:
    """Say which numbers are printed, each once though several tables have them."""
    sets: dict[str, dict[str, None]] = {}
    for each in found:
        sets.setdefault(" / ".join(each.values).upper(), {})[f"{each.set} {each.numbers}"] = None
    return "".join(f" Printed ({measures}): {', '.join(texts)}." for measures, texts in sets.items())
