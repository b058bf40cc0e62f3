"""The three kinds of test: pairs made of sharp photographs, pairs that were photographed, night photographs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vqcnir_arch.data.commands.synth import make
from vqcnir_arch.data.files import check_pairs, existing_folder, find_images, parse_options, read_bytes
from vqcnir_arch.data.manifest import Plan
from vqcnir_arch.data.recipes import find_recipe
from vqcnir_arch.errors import UserError

RECIPE = "lolblur"
EXPOSURES = ((0.04, 0.2), (0.02, 0.04), (0.2, 0.3))
"""Darkness of the pairs, ends of the recipe's `--exposure`; the first one decides, the others tell more."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one kind.

    Attributes:
        name: folder of its results.
        kind: `a` pairs made by the recipe, `b` photographed pairs, `c` night photographs without truth.
        title: heading of its table.
        inputs: by image.
        truths: the same images without darkness and blur; empty where there are none.
        originals: the sharp, bright photographs behind the truths; empty where there are none.
        more: whether it only tells more: one of the darkness that does not decide.
    """

    name: str
    kind: str
    title: str
    inputs: Mapping[str, Path]
    truths: Mapping[str, Path] = field(default_factory=dict)
    originals: Mapping[str, Path] = field(default_factory=dict)
    more: bool = False


def find_photographs(places: Sequence[Path], what: str, every: int = 1) -> dict[str, Path]:
    """Find photographs in folders and among files, every n-th of them.

    Args:
        places: folders, nested to any depth, and files.
        what: what errors call them.
        every: n.

    Returns:
        Their files by name: below a folder the path without ending, with the folder's name before it if there are
        several places; of a file its name.

    Raises:
        UserError: a place is missing or without images, or two photographs would have the same name.
    """
    found: dict[str, Path] = {}
    for place in places:
        if place.is_file():
            here = {place.stem: place}
        else:
            images = find_images(existing_folder(place, what))
            here = {f"{place.name}/{name}" if len(places) > 1 else name: path for name, path in images.items()}
        if clash := found.keys() & here.keys():
            name = min(clash)
            raise UserError(f"{what}: '{found[name]}' and '{here[name]}' would have the same name '{name}'")
        found |= here
    return dict(sorted(found.items())[::every])


def made_pairs(
    photographs: Mapping[str, Path], out: Path, exposure: tuple[float, float], seed: int, workers: int
) -> ImageSet:
    """Make the pairs of kind (a) below `out`, as `vqcnir data synth --split test` does; those that are there stay.

    Raises:
        UserError: a photograph cannot be used, or `out` holds pairs of another seed.
    """
    recipe = find_recipe(RECIPE)
    plan = Plan.of(RECIPE, seed, "test", parse_options(recipe.Settings, {"exposure": exposure}, f"recipe {RECIPE}"))
    low, high = exposure
    name = f"a_{low:g}-{high:g}"
    summary = make(plan, photographs, out / name, 1, workers)
    if summary.problems:
        raise UserError(summary.problems[0])

    def files(folder: str) -> dict[str, Path]:
        places = {n: recipe.layout.format(split="test", folder=folder, name=n, pair=0) for n in photographs}
        return {flat(n): out / name / f"{place}.png" for n, place in places.items()}

    return ImageSet(
        name,
        "a",
        f"(a) Pairs made of sharp photographs, exposure {low:g} to {high:g}",
        files("low_blur_noise"),
        files(recipe.truth),
        files("high_sharp_original"),
        more=exposure != EXPOSURES[0],
    )


def photographed_pairs(folders: Sequence[Path], every: int) -> ImageSet:
    """Find the pairs of kind (b): folders `low` and `high` beside each other, at any depth.

    Raises:
        UserError: there are none, or they do not pair.
    """
    inputs: dict[str, Path] = {}
    truths: dict[str, Path] = {}
    for folder in folders:
        for low in sorted(existing_folder(folder, "--pairs").rglob("low")):
            start = "" if low.parent == folder else f"{low.parent.relative_to(folder).as_posix()}/"
            here, there = find_images(low), find_images(existing_folder(low.with_name("high"), "--pairs"))
            check_pairs(here, there, f"--pairs '{low.parent}'")
            inputs |= {flat(start + name): path for name, path in here.items()}
            truths |= {flat(start + name): path for name, path in there.items()}
    if not inputs:
        raise UserError(f"--pairs '{folders[0]}' has no folder 'low' with a folder 'high' beside it")
    chosen = sorted(inputs)[::every]
    title = "(b) Photographed pairs, dark and bright"
    return ImageSet("b", "b", title, {name: inputs[name] for name in chosen}, {name: truths[name] for name in chosen})


def night_photographs(places: Sequence[Path], every: int) -> ImageSet:
    """Find the photographs of kind (c); errors as of `find_photographs`."""
    found = find_photographs(places, "--night", every)
    return ImageSet("c", "c", "(c) Night photographs, no truth", {flat(name): path for name, path in found.items()})


def ordinary_photographs(made: ImageSet) -> ImageSet:
    """Return the sharp originals of pairs as a set of their own: a network should leave them nearly as they are."""
    title = "Ordinary photographs: the sharp originals of (a), against themselves"
    return ImageSet("ordinary", "ordinary", title, made.originals, made.originals)


def flat(name: str) -> str:
    """Return the name of an image's results: one folder for a set, as most programs write."""
    return name.replace("/", "_")


def training_pairs(folder: Path, most: int) -> tuple[list[Path], list[Path]]:
    """Return inputs and truths of pairs in LOL-Blur's layout, `<folder>/{low_blur_noise,high_sharp_scaled}/...`.

    Of more than `most` they are every second, every third, ... in the order of their names.

    Raises:
        UserError: they are missing or do not pair.
    """
    inputs, truths = (
        find_images(existing_folder(folder / name, "--train-pairs")) for name in ("low_blur_noise", "high_sharp_scaled")
    )
    check_pairs(inputs, truths, f"--train-pairs '{folder}'")
    names = list(inputs)[:: math.ceil(len(inputs) / most)]
    return [inputs[name] for name in names], [truths[name] for name in names]


def refuse_overlap(trained: Path, photographs: Iterable[Path]) -> int:
    """Refuse photographs that a network was trained on; return how many were compared.

    Args:
        trained: JSON of the training photographs, `{name: {"sha256": ...}}`.
        photographs: files of the test sets.

    Raises:
        UserError: a test photograph is one of them, byte for byte, or the list cannot be read.
    """
    try:
        names = {entry["sha256"]: name for name, entry in json.loads(trained.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"'{trained}' is no list of training photographs, {{name: {{sha256: ...}}}}") from error
    compared = 0
    for path in photographs:
        name = names.get(hashlib.sha256(read_bytes(path)).hexdigest())
        if name is not None:
            raise UserError(f"test photograph '{path}' is the training photograph '{name}' (SHA-256)")
        compared += 1
    return compared
