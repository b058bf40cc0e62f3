"""Comparing a data set on disk with the table: counts, sizes, pairs, unreadable files, and what is twice there."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel
from tqdm.contrib.concurrent import thread_map

from vqcnir_arch.data.catalogue import SetPart, Size, check_layout, find_data_set
from vqcnir_arch.data.files import check_pairs, decode_image, existing_folder, find_images
from vqcnir_arch.data.headers import read_header
from vqcnir_arch.errors import UserError


class Facts(NamedTuple):
    """What is known of one image file.

    Attributes:
        size: width and height; None if it can't be read.
        oddity: see `Header`.
        digest: of its pixels; empty if only the header was read.
        problem: why it can't be read.
    """

    size: Size | None
    oddity: str = ""
    digest: str = ""
    problem: str = ""


class Finding(BaseModel):
    """One line of the report: something wrong, something merely missing, or a remark."""

    kind: Literal["wrong", "incomplete", "note"]
    where: str
    text: str


class FolderRow(BaseModel):
    """One folder of the report."""

    part: str
    folder: str
    images: int
    published: int
    sizes: dict[str, int]


class CheckReport(BaseModel):
    """What `vqcnir data check` found."""

    data_set: str
    folder: str
    source: str
    quick: bool
    rows: list[FolderRow] = []
    findings: list[Finding] = []

    def add(self, kind: str, where: str, text: str) -> None:
        self.findings.append(Finding(kind=kind, where=where, text=text))

    def of_kind(self, kind: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == kind]

    @property
    def verdict(self) -> str:
        wrong = len(self.of_kind("wrong"))
        if wrong:
            return f"{wrong} thing{'s' * (wrong > 1)} wrong"
        return "a subset, nothing wrong with it" if self.of_kind("incomplete") else "complete, nothing wrong"


Folders = dict[str, dict[str, Facts]]  # by folder and name


def check_data_set(
    name: str, folder: Path, size: Size | None = None, quick: bool = False, workers: int = 1
) -> CheckReport:
    """Compare a folder with a published data set.

    Args:
        name: of the data set.
        folder: of it.
        size: every image must have it, in place of the published sizes.
        quick: read headers only: no broken pixels and no duplicates are found.
        workers: number of threads.

    Raises:
        UserError: no such data set, or the folder has another layout.
    """
    name, entry = find_data_set(name)
    check_layout(name, folder)
    report = CheckReport(data_set=name, folder=str(folder), source=entry.source, quick=quick)
    parts: dict[str, Folders] = {}
    for part in entry.parts:
        paths = found_paths(part, folder, report)
        jobs = [path for images in paths.values() for path in images.values()]
        if not jobs:
            continue
        title = f"{name} {part.name}"
        facts = iter(thread_map(lambda path: examine(path, quick), jobs, max_workers=workers, desc=title, unit="image"))
        parts[part.name] = {inner: {image: next(facts) for image in images} for inner, images in paths.items()}
        check_part(part, parts[part.name], (size,) if size else part.sizes, report)
    if not quick:
        check_duplicates(parts, report)
    return report


def found_paths(part: SetPart, root: Path, report: CheckReport) -> dict[str, dict[str, Path]]:
    """Return the image files of a part by folder and name, and report what does not pair."""
    present = [inner for inner in part.folders if (root / inner).is_dir()]
    if not present:
        report.add("incomplete", part.name, f"not there: {', '.join(part.folders)}")
        return {}
    found: dict[str, dict[str, Path]] = {}
    for inner in (*part.folders, *(inner for inner in part.optional if (root / inner).is_dir())):
        try:
            found[inner] = find_images(existing_folder(root / inner, "folder"))
            if inner != part.folders[0] and part.folders[0] in found:
                check_pairs(found[part.folders[0]], found[inner], f"with {part.folders[0]}")
        except UserError as error:
            report.add("wrong", inner or part.name, str(error))
    return found


def examine(path: Path, quick: bool) -> Facts:
    """Read an image, or only its header."""
    try:
        if quick:
            header = read_header(path)
            return Facts((header.width, header.height), header.oddity)
        content = path.read_bytes()
        image = decode_image(content, path)
        size = (image.shape[1], image.shape[0])
        digest = hashlib.blake2b(repr(size).encode(), digest_size=16)
        digest.update(image)
        return Facts(size, read_header(path, content).oddity, digest.hexdigest())
    except (OSError, UserError) as error:
        return Facts(None, problem=str(error))


def check_part(part: SetPart, folders: Folders, sizes: tuple[Size, ...], report: CheckReport) -> None:
    """Report on a part's counts, names, sizes and unreadable files."""
    for inner, images in folders.items():
        where = inner or part.name
        counted = Counter(facts.size for facts in images.values() if facts.size)
        shown = {f"{w} x {h}": count for (w, h), count in counted.most_common()}
        report.rows.append(
            FolderRow(part=part.name, folder=inner, images=len(images), published=part.count, sizes=shown)
        )
        check_count(part, images, where, report)
        for problem in sorted(facts.problem for facts in images.values() if facts.problem):
            report.add("wrong", where, problem)
        other = {image: facts for image, facts in images.items() if sizes and facts.size and facts.size not in sizes}
        if other:
            expected = " or ".join(f"{w} x {h}" for w, h in sizes)
            report.add("wrong", where, f"{images_are(other)} not {expected}: {some(other)}")
        for oddity, names in grouped({image: facts.oddity for image, facts in images.items() if facts.oddity}).items():
            report.add("note", where, f"{images_are(names)} {oddity}, read as 8-bit RGB: {some(names)}")
        if inner != part.folders[0] and part.folders[0] in folders:
            check_against_input(part, folders, inner, report)


def check_count(part: SetPart, images: Mapping[str, Facts], where: str, report: CheckReport) -> None:
    """Report on a folder's number of images and videos, on the numbers in their names, and on special ones."""
    if len(images) > part.count:
        report.add("wrong", where, f"{len(images):,} images, {part.count:,} were published")
    if len(images) < part.count:
        text = f"{len(images):,} of {part.count:,} images"
        if part.videos:
            text += f", {len({image.rpartition('/')[0] for image in images})} of {part.videos} videos"
        report.add("incomplete", where, text)
    if part.numbers:
        ends = {image: re.search(r"\d+$", image) for image in images}
        strange = [image for image, end in ends.items() if not end or int(end[0]) not in part.numbers]
        if strange:
            span = f"{part.numbers[0]} to {part.numbers[-1]}"
            names = f"{len(strange)} names do" if len(strange) > 1 else "1 name does"
            report.add("wrong", where, f"{names} not end in a number from {span}: {some(strange)}")
        missing = sorted(set(part.numbers) - {int(end[0]) for end in ends.values() if end})
        if missing and len(images) < part.count:
            report.add("incomplete", where, f"missing numbers: {some(map(str, missing), 10)}")
    if part.among and len(images) >= part.count:
        what, pattern, published = part.among
        count = sum(bool(re.search(pattern, image)) for image in images)
        if count != published:
            report.add("note", where, f"{count} of the names are those of {what}, {published} were published")


def check_against_input(part: SetPart, folders: Folders, inner: str, report: CheckReport) -> None:
    """Report on images that differ in size from their input, or that are their input."""
    first, images = folders[part.folders[0]], folders[inner]
    pairs = [(name, first[name], facts) for name, facts in images.items() if name in first]
    other = [name for name, one, two in pairs if one.size and two.size and one.size != two.size]
    if other:
        report.add("wrong", inner, f"{images_are(other)} of another size than in {part.folders[0]}: {some(other)}")
    same = [name for name, one, two in pairs if one.digest and one.digest == two.digest]
    if same:
        report.add("wrong", inner, f"{images_are(same)} the same as in {part.folders[0]}: {some(same)}")


def check_duplicates(parts: Mapping[str, Folders], report: CheckReport) -> None:
    """Report on images with the same pixels in two parts, which is wrong, or twice in a folder, which is a remark."""
    seen: dict[str, dict[str, str]] = {}  # digest -> part -> place
    shared: dict[tuple[str, str], list[str]] = {}
    for part, folders in parts.items():
        for inner, images in folders.items():
            digests = Counter(facts.digest for facts in images.values() if facts.digest)
            twice = [name for name, facts in images.items() if digests[facts.digest] > 1]
            if twice:
                report.add("note", inner or part, f"{images_are(twice)} there more than once: {some(twice)}")
            for name, facts in images.items():
                if not facts.digest:
                    continue
                place = f"{inner}/{name}".lstrip("/")
                for other, first in seen.get(facts.digest, {}).items():
                    if other != part:
                        shared.setdefault((other, part), []).append(f"{first} = {place}")
                seen.setdefault(facts.digest, {}).setdefault(part, place)
    for (one, two), pairs in shared.items():
        report.add("wrong", f"{one} and {two}", f"{images_are(pairs)} in both: {some(pairs)}")


def grouped(labels: Mapping[str, str]) -> dict[str, list[str]]:
    """Return names by their label."""
    groups: dict[str, list[str]] = {}
    for name, label in labels.items():
        groups.setdefault(label, []).append(name)
    return groups


def images_are(names: Collection[str]) -> str:
    """Return how many there are, as the beginning of a sentence."""
    return f"{len(names):,} images are" if len(names) > 1 else "1 image is"


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, and whether there are more."""
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
