"""The papers' rows, from `papers.yml`, and which of their numbers compare with ours."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.evaluation.protocols import PROTOCOLS, WAYS, Column, Protocol

OPEN_WAYS = {
    "ssim-y-or-rgb": {"ssim-rgb", "ssim-y-yiq"},
    "y-unsaid": {"psnr-y", "psnr-y-yiq", "ssim-y", "ssim-y-yiq"},
    "rgb-or-y": {"psnr-rgb", "psnr-y", "ssim-rgb", "ssim-y"},
    "lpips-unsaid": {"lpips-alex", "lpips-vgg"},
    "niqe-unsaid": {"niqe", "niqe-pyiqa"},
    "fid-unsaid": {"fid"},
}
"""Where a paper leaves the way open: what it may have been."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TestSet(Strict):
    """A test set: how many images it has, which protocols are for it, and what stands against any comparison."""

    __test__ = False  # no test, whatever pytest makes of the name
    images: PositiveInt | None = None
    protocols: list[str]
    caveat: str | None = None


class Block(Strict):
    """Rows of one test set; the numbers are strings, as printed."""

    set: str
    ways: list[str] = []
    rows: dict[str, list[str]]


class Table(Strict):
    source: str
    table: str
    measures: list[str]
    ways: list[str] = []
    blocks: list[Block]


class Note(Strict):
    source: str
    table: str
    method: str
    measure: str
    note: str
    set: str | None = None


class Papers(Strict):
    """The whole data file."""

    sources: dict[str, str]
    sets: dict[str, TestSet]
    tables: list[Table]
    notes: list[Note]

    @model_validator(mode="after")
    def consistent(self) -> Papers:
        for table in self.tables:
            assert table.source in self.sources, table.source
            for block in table.blocks:
                block.ways = block.ways or table.ways
                assert block.set in self.sets, block.set
                assert set(block.ways) <= set(WAYS), block.ways
                for values in (block.ways, *block.rows.values()):
                    assert len(values) == len(table.measures), (table.table, values)
        for test_set in self.sets.values():
            assert set(test_set.protocols) <= set(PROTOCOLS), test_set
        return self


@dataclass(frozen=True)
class PaperValue:
    """One printed number."""

    printed: str
    way: str
    note: str | None

    @property
    def value(self) -> float:
        return float(self.printed)


@dataclass(frozen=True)
class PaperRow:
    """One row of a paper's table; `values` by measure (`psnr`, `lpips`, ...)."""

    source: str
    table: str
    set: str
    method: str
    values: dict[str, PaperValue]

    @property
    def place(self) -> str:
        return f"{self.source}, table {self.table}" if self.table.isdigit() else self.source

    @property
    def numbers(self) -> str:
        """The values in one line, as printed."""
        return " / ".join(value.printed for value in self.values.values())


@lru_cache(maxsize=1)
def papers() -> Papers:
    """Return the data file. Numbers stay strings: 0.850 is printed with its zero."""
    text = resources.files("vqcnir_arch.evaluation").joinpath("papers.yml").read_text(encoding="utf-8")
    return Papers.model_validate(yaml.load(text, Loader=yaml.BaseLoader))


def find_set(name: str, protocol: Protocol) -> str:
    """Return a test set's name, or raise `UserError` with the nearest one of the protocol."""
    known = [key for key, test_set in papers().sets.items() if protocol.name in test_set.protocols]
    if name not in known:
        raise UserError(f"protocol {protocol.name} has no test set '{name}'{nearest(name, known)}")
    return name


def paper_rows(protocol: Protocol | None = None, test_set: str | None = None) -> list[PaperRow]:
    """Return the rows of all papers, or only those for a protocol or of one test set."""
    data = papers()
    rows = []
    for table in data.tables:
        notes = [note for note in data.notes if (note.source, note.table) == (table.source, table.table)]
        for block in table.blocks:
            known = data.sets[block.set].protocols
            if (protocol and protocol.name not in known) or test_set not in (None, block.set):
                continue
            for method, printed in block.rows.items():
                remarks = {n.measure: n.note for n in notes if n.method == method and n.set in (None, block.set)}
                values = {
                    measure: PaperValue(text, way, remarks.get(measure))
                    for measure, text, way in zip(table.measures, printed, block.ways, strict=True)
                }
                rows.append(PaperRow(table.source, table.table, block.set, method, values))
    return rows


@dataclass(frozen=True)
class Verdict:
    """Whether a printed number compares with ours, and if not without doubt, why."""

    comparable: Literal["yes", "not known", "no"]
    reasons: tuple[str, ...] = ()


def compare(row: PaperRow, measure: str, column: Column, images: int, test_set: str | None) -> Verdict:
    """Compare how a paper's number and our column came about.

    Args:
        row: the paper's row.
        measure: which of its numbers.
        column: our column that it stands under.
        images: how many images ours was measured on.
        test_set: the set that the user says it is, if he does.
    """
    known, way = papers().sets[row.set], row.values[measure].way
    against = []
    if test_set is None and sum(other.protocols == known.protocols for other in papers().sets.values()) > 1:
        against.append("there are several test sets, and this one is not named (--set)")
    elif known.images is not None and images != known.images:
        against.append(f"{row.set} has {known.images:,} images, this is {images:,}")
    if known.caveat:
        against.append(known.caveat)
    is_open = column.way in OPEN_WAYS.get(way, ())
    if is_open:
        against.append(f"{measure.upper()}: {WAYS[way]}")
    elif way != column.way:
        against.append(f"{measure.upper()}, theirs: {WAYS[way]}; ours: {WAYS[column.way]}")
    if not against:
        return Verdict("yes")
    return Verdict("not known" if is_open and len(against) == 1 else "no", tuple(against))


def column_for(measure: str, way: str, protocol: Protocol) -> Column | None:
    """Return our column for a paper's measure: the one made the same way, or in the way that is most like it."""

    def likeness(column: Column) -> float:
        return 2 if column.way in OPEN_WAYS.get(way, ()) else SequenceMatcher(None, column.way, way).ratio()

    family = [column for column in protocol.columns if column.name.split("_")[0] == measure]
    same = [column for column in family if column.way == way]
    return same[0] if same else max(family, key=likeness, default=None)
