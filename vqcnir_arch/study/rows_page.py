"""The page of the papers' rows, with what runs them: `python -m vqcnir_arch.study.rows_page`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby

from vqcnir_arch.evaluation.papers import PaperRow, paper_rows, papers
from vqcnir_arch.study.reproduction import Reproduction, before, reproductions, train_command, trainings_of

INTRODUCTION = """# The papers' rows, and how to run them

Written by `python -m vqcnir_arch.study.rows_page` from the papers' tables (`vqcnir_arch/evaluation/papers.yml`) and the
table of rows (`vqcnir_arch/study/rows.py`). Every row of every table is here: with an option file where it is ours to
run, else with its values alone. Below a table stand the commands of its rows, to be typed one after the other in the
folder that holds `options/`, `datasets/` ([datasets/README.md](../datasets/README.md)) and `experiments/`.

* The test gets a row's network from its checkpoint (`network_g:from=`), so that one test file per data set serves all
  rows. Its table holds what was measured and that row alone (`--row`), on the test sets where the row is printed.
* Two rows of one network have one training, which need not be run twice.
* `(release)` is the published file: nothing is trained. The test file names the place where it is looked for.
* We have run no row at the papers' size. What the rows do at a small size: [study/README.md](study/README.md).
  `python scripts/run_rows.py` runs all of these commands at a tiny size on made-up images.
"""


def page() -> str:
    """Return the page as Markdown."""
    ours = reproductions()
    parts = [INTRODUCTION, "## What comes first", *first(ours)]
    for table, rows in tables():
        labels = {row.label for row in rows}
        parts += [f"## {table}", values(rows), *commands([each for each in ours if each.label in labels], rows)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def tables() -> Iterator[tuple[str, list[PaperRow]]]:
    """Yield title and rows of each table; one that prints two kinds of measures is two."""
    for (source, table, measures), rows in groupby(
        paper_rows(), lambda row: (row.source, row.table, tuple(row.values))
    ):
        printed = f"table {table}" if table.isdigit() else f"table of {table}"
        yield f"{source}, {printed}: {', '.join(measures).upper()}", list(rows)


def first(ours: Sequence[Reproduction]) -> Iterator[str]:
    """Yield the trainings of stage I, which several rows start from."""
    yield "Priors, which the rows of a host start from, once each:"
    stages = {file: None for each in ours for file in each.first}
    yield shell([train_command(file) for file in before(tuple(stages))])


def values(rows: Sequence[PaperRow]) -> str:
    """Return a table's numbers as printed, each with the option file of its training."""
    measures = list(rows[0].values)
    lines = [f"| row | test set | {' | '.join(measures).upper()} | training |", "|---" * (len(measures) + 3) + "|"]
    for row in rows:
        trainings = trainings_of(row)
        told = (
            "not ours: values only" if trainings is None else "released file" if not trainings else f"`{trainings[-1]}`"
        )
        numbers = " | ".join(value.printed for value in row.values.values())
        lines.append(f"| {row.method} | {row.set} | {numbers} | {told} |")
    note = f"{rows[0].source}: {papers().sources[rows[0].source]}."
    return "\n".join([note, "", *lines])


def commands(ours: Sequence[Reproduction], rows: Sequence[PaperRow]) -> Iterator[str]:
    """Yield the commands of a table's rows; of one that stands in two tables those for the sets of this one."""
    for each in ours:
        sets = [row.set for row in each.rows if row in rows]
        if sets:
            yield f"{each.rows[0].method}, {', '.join(sets)}:"
            yield shell([*each.train_commands, each.test_command])


def shell(lines: Sequence[Sequence[str]]) -> str:
    """Return command lines of `vqcnir` as a block."""
    return "\n".join(["```bash", *(f"vqcnir {shlex.join(line)}" for line in lines), "```"])


if __name__ == "__main__":
    print(page(), end="")
