"""The papers' rows and test sets, from `papers.yml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveInt, model_validator

from vqcnir_arch.evaluation.protocols import PROTOCOLS, WAYS, Protocol

FolderPair = tuple[str | None, str | None]
"""Names of the folders that inputs and ground truths are in; None where that is not known."""
FolderName = Annotated[str | None, BeforeValidator(lambda name: None if name == "~" else name)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TestSet(Strict):
    """A test set: how many images it has, which protocols are for it, and what stands against any comparison.

    `names` and `scale` tell it in an option file; `inputs` and `truths` are the folders that it has several of, those
    of its usual pair first.
    """

    __test__ = False  # no test, whatever pytest makes of the name
    names: list[str]
    scale: PositiveInt = 1
    images: PositiveInt | None = None
    protocols: list[str]
    caveat: str | None = None
    inputs: list[str] = []
    truths: list[str] = []


class Block(Strict):
    """Rows of one test set; the numbers are strings, as printed."""

    set: str
    ways: list[str] = []
    pair: tuple[FolderName, FolderName] | None = None
    crop: str | None = None
    rows: dict[str, list[str]]


class Table(Strict):
    source: str
    table: str
    measures: list[str]
    ways: list[str] = []
    crop: str = "0"
    blocks: list[Block]


class Note(Strict):
    source: str
    table: str
    method: str
    measure: str
    note: str
    set: str | None = None


class Figure(Strict):
    """A percentage that a paper prints for a figure, of a released network."""

    source: str
    figure: str
    quantity: Literal["usage", "accuracy", "accuracy of clean"]
    network: str
    data: str
    printed: str

    def __str__(self) -> str:
        return f"{self.printed} % on {self.data} ({self.source}, figure {self.figure})"


class Papers(Strict):
    """The whole data file."""

    sources: dict[str, str]
    without_code: list[str]
    sets: dict[str, TestSet]
    tables: list[Table]
    figures: list[Figure]
    notes: list[Note]

    @model_validator(mode="after")
    def consistent(self) -> Papers:
        for table in self.tables:
            assert table.source in self.sources, table.source
            for block in table.blocks:
                block.ways = block.ways or table.ways
                block.crop = block.crop or table.crop
                assert block.set in self.sets, block.set
                folders = self.sets[block.set]
                usual = next(iter(folders.inputs), None), next(iter(folders.truths), None)
                block.pair = block.pair or usual
                assert block.pair[0] in (None, *folders.inputs) and block.pair[1] in (None, *folders.truths), block.pair
                assert set(block.ways) <= set(WAYS), block.ways
                for values in (block.ways, *block.rows.values()):
                    assert len(values) == len(table.measures), (table.table, values)
        assert set(self.without_code) <= set(self.sources), self.without_code
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
    """One row of a paper's table; `values` by measure (`psnr`, `lpips`, ...).

    `pair` are the folders that it was measured on, `crop` the pixels cut off each side or why they are not known.
    """

    source: str
    table: str
    set: str
    method: str
    values: dict[str, PaperValue]
    pair: FolderPair = (None, None)
    crop: str = "0"

    @property
    def place(self) -> str:
        if self.source in papers().without_code:
            return f"{self.source} (claimed, no code)"
        return f"{self.source}, table {self.table}" if self.table.isdigit() else self.source

    @property
    def label(self) -> str:
        """What names the row whatever the test set: `SinCA 4: FeMaSR + SA`."""
        return f"{self.source} {self.table}: {self.method}"

    @property
    def numbers(self) -> str:
        """The values in one line, as printed."""
        return " / ".join(value.printed for value in self.values.values())


@lru_cache(maxsize=1)
def papers() -> Papers:
    """Return the data file. Numbers stay strings: 0.850 is printed with its zero."""
    text = resources.files("vqcnir_arch.evaluation").joinpath("papers.yml").read_text(encoding="utf-8")
    return Papers.model_validate(yaml.load(text, Loader=yaml.BaseLoader))


def sets_of(protocol: Protocol) -> dict[str, TestSet]:
    """Return the test sets that a protocol is for, by name."""
    return {name: test_set for name, test_set in papers().sets.items() if protocol.name in test_set.protocols}


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
                rows.append(PaperRow(table.source, table.table, block.set, method, values, block.pair, block.crop))
    return rows
