"""Which of the papers' numbers compare with ours, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from vqcnir_arch.evaluation.papers import FolderPair, PaperRow, paper_rows, papers, sets_of
from vqcnir_arch.evaluation.protocols import WAYS, Column, Protocol

OPEN_WAYS = {
    "psnr-unsaid": {way for way in WAYS if way.startswith("psnr-")},
    "ssim-unsaid": {way for way in WAYS if way.startswith("ssim-")},
    "ssim-y-or-rgb": {"ssim-rgb", "ssim-y-yiq"},
    "y-unsaid": {"psnr-y", "psnr-y-yiq", "ssim-y", "ssim-y-yiq"},
    "rgb-or-y": {"psnr-rgb", "psnr-y", "ssim-rgb", "ssim-y"},
    "lpips-unsaid": {"lpips-alex", "lpips-vgg", "lpips-vgg-bgr", "lpips-vgg-01"},
    "niqe-unsaid": {"niqe", "niqe-pyiqa"},
    "fid-unsaid": {"fid"},
}
"""Where a paper leaves the way open: what it may have been."""
CROPPED = ("psnr", "ssim")
"""The measures for which option files cut a border off."""


@dataclass(frozen=True)
class Conditions:
    """What our numbers were measured on: so many images, of the papers' test set that the user says, if he does.

    `row` is the label or the method of the papers' row that they are to stand beside; None: all of the test set.
    """

    protocol: Protocol
    images: int
    test_set: str | None = None
    pair: FolderPair = (None, None)
    row: str | None = None

    @property
    def rows(self) -> list[PaperRow]:
        """The papers' rows beside ours."""
        rows = paper_rows(self.protocol, self.test_set)
        return [row for row in rows if self.row in (None, row.label, row.method)]


@dataclass(frozen=True)
class Verdict:
    """Whether a printed number compares with ours, and if not without doubt, why."""

    comparable: Literal["yes", "not known", "no"]
    reasons: tuple[str, ...] = ()


def compare(row: PaperRow, measure: str, column: Column, ours: Conditions) -> Verdict:
    """Compare how a paper's number, `row.values[measure]`, and the column of ours that it stands under came about."""
    found = [*_of_images(row, ours), *_of_folders(row, ours.pair), *_of_measuring(row, measure, column, ours)]
    if not found:
        return Verdict("yes")
    return Verdict("no" if any(differs for differs, _ in found) else "not known", tuple(text for _, text in found))


def _of_images(row: PaperRow, ours: Conditions) -> Iterator[tuple[bool, str]]:
    """Yield what stands against the images: whether it is sure that they differ, and the reason."""
    known = papers().sets[row.set]
    if ours.test_set is None and len(sets_of(ours.protocol)) > 1:
        yield True, "there are several test sets, and this one is not named (--set)"
    elif known.images is not None and ours.images != known.images:
        yield True, f"{row.set} has {known.images:,} images, this is {ours.images:,}"
    if known.caveat:
        yield True, known.caveat


def _of_folders(row: PaperRow, ours: FolderPair) -> Iterator[tuple[bool, str]]:
    """Yield the same of the pair of folders."""
    known = papers().sets[row.set]
    sides = zip(("input", "ground truth"), (known.inputs, known.truths), row.pair, ours, strict=True)
    for side, folders, their_folder, our_folder in sides:
        if not folders:
            continue
        choice = " or ".join(folders)
        if our_folder is None:
            yield False, f"{side}, {choice}: not said of these results (--pair)"
        elif their_folder is None:
            yield False, f"{side}, {choice}: the source does not say which"
        elif their_folder != our_folder:
            yield True, f"{side}, theirs: {their_folder}; ours: {our_folder}"


def _of_measuring(row: PaperRow, measure: str, column: Column, ours: Conditions) -> Iterator[tuple[bool, str]]:
    """Yield the same of the border and of the way to come to the value."""
    border = ours.protocol.crop_border
    if measure in CROPPED and row.crop != str(border):
        if row.crop.isdigit():
            yield True, f"crop border, theirs: {row.crop}; ours: {border}"
        else:
            yield False, f"crop border: {row.crop}; ours: {border}"
    way = row.values[measure].way
    if column.way in OPEN_WAYS.get(way, ()):
        yield False, f"{measure.upper()}: {WAYS[way]}"
    elif way != column.way:
        yield True, f"{measure.upper()}, theirs: {WAYS[way]}; ours: {WAYS[column.way]}"


def column_for(measure: str, way: str, protocol: Protocol) -> Column | None:
    """Return our column for a paper's measure: the one made the same way, or in the way that is most like it.

    A number that may or may not be scaled to the truth's mean stands under the plain column.
    """

    def likeness(column: Column) -> float:
        return 2 if column.way in OPEN_WAYS.get(way, ()) else SequenceMatcher(None, column.way, way).ratio()

    family = [column for column in protocol.columns if column.name.split("_")[0] == measure]
    same = [column for column in family if column.way == way]
    return same[0] if same else max((c for c in family if not c.gt_mean), key=likeness, default=None)
