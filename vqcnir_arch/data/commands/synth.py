"""`vqcnir data synth`: pairs from a folder of sharp photographs, by a recipe, or remade from a manifest."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vqcnir_arch.arguments import named_path, not_negative
from vqcnir_arch.data.files import existing_folder, find_images, parse_options
from vqcnir_arch.data.manifest import Manifest, Plan
from vqcnir_arch.data.recipes import RECIPES, Recipe, find_recipe
from vqcnir_arch.data.synthesis import Job, Summary, synthesise
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.folders import named_by_ending
from vqcnir_arch.shards import WHOLE, Shard, add_shard, alone, chosen_shard

PROG = "vqcnir data synth"


def main(arguments: Sequence[str]) -> None:
    """Make pairs, or remake them; the flags of a recipe's settings are known once `--recipe` is."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--recipe")
    name = early.parse_known_args(arguments)[0].recipe
    recipe = find_recipe(name) if name is not None else None

    parser = argument_parser(recipe)
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        flags = [option for action in parser._actions for option in action.option_strings]
        without = "" if recipe else " without --recipe"
        raise UserError(f"{PROG} has no option '{unknown[0]}'{without}{nearest(unknown[0], flags)}")
    part = chosen_shard(known.shard)
    sharp, out = existing_folder(known.sharp_dir, "SHARP_DIR"), known.out_dir
    if out.resolve().is_relative_to(sharp.resolve()):
        raise UserError(f"OUT_DIR '{out}' is inside SHARP_DIR '{sharp}': the next run would take it for photographs")
    if known.remake:
        if recipe:
            raise UserError("--remake takes recipe, seed and settings from its manifest: leave --recipe out")
        with alone(part):
            report(remake(known.remake, sharp, out, known.workers, part), "remade", out, part)
        return
    if recipe is None:
        raise UserError(f"--recipe is missing{nearest('', RECIPES)}")
    given = {key: getattr(known, key) for key in recipe.Settings.model_fields if hasattr(known, key)}
    settings = parse_options(recipe.Settings, given, f"recipe {name}")
    plan = Plan.of(name, known.seed, known.split, settings)
    others: list[Path] = []
    photographs = find_images(sharp, others=others)
    left = others if part.is_first else []
    for text in named_by_ending(left):
        print(f"vqcnir: note: not taken: {text}", file=sys.stderr)
    with alone(part):
        summary = make(plan, photographs, out, known.pairs_per_image, known.workers, part)
        report(summary, "made", out, part, len(left))


def report(summary: Summary, verb: str, out: Path, part: Shard, left: int = 0) -> None:
    """Say what was made; raise `UserError` if a photograph could not be used."""
    not_taken = f", {left} not taken" if left else ""
    print(f"{part.label}{summary.made} pairs {verb}, {summary.kept} were there{not_taken}, in {out}")
    if part.count > 1 and verb == "made":
        print("when all parts are done, the same command with --shard 1/1 checks them and joins their manifests")
    if summary.problems:
        bad, photographs = len(summary.problems), summary.photographs
        raise UserError(f"{bad} of {photographs} photographs could not be used (named above); the others are done")


def argument_parser(recipe: Recipe | None) -> argparse.ArgumentParser:
    """Return the command's parser, with one flag for each setting of the recipe."""
    listed = "\n".join(f"  {name:<14}{recipe.help}" for name, recipe in RECIPES.items())
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Make training pairs or a test set from sharp photographs.",
        epilog=f"recipes:\n{listed}\n\n--recipe NAME --help shows what can be set in a recipe.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "sharp_dir", type=named_path, metavar="SHARP_DIR", help="folder of sharp photographs, nested to any depth"
    )
    parser.add_argument(
        "out_dir", type=named_path, metavar="OUT_DIR", help="folder for the pairs; one that was started is continued"
    )
    parser.add_argument("--recipe", metavar="NAME", help="how a photograph becomes a pair")
    parser.add_argument("--seed", type=not_negative, default=0, help="decides every draw (default: 0)")
    parser.add_argument("--pairs-per-image", type=not_negative, default=1, help="pairs of each photograph (default: 1)")
    parser.add_argument("--split", choices=["train", "test"], default="train", help="folder of LOL-Blur's layout")
    parser.add_argument(
        "--workers", type=not_negative, default=os.cpu_count(), help="processes (default: one per core)"
    )
    parser.add_argument(
        "--remake", type=named_path, metavar="MANIFEST", help="make the pairs of this manifest again, byte for byte"
    )
    add_shard(parser)
    if recipe is not None:
        group = parser.add_argument_group("settings of the recipe (two numbers are the ends of a range, ~ is none)")
        for name, field in recipe.Settings.model_fields.items():
            group.add_argument(
                f"--{name.replace('_', '-')}",
                nargs=len(field.default) if isinstance(field.default, tuple) else None,
                type=value,
                metavar="X",
                default=argparse.SUPPRESS,
                help=f"{field.description} (default: {shown(field.default)})".replace("%", "%%"),
            )
    return parser


def value(text: str) -> Any:
    """Read a setting as an option file would."""
    return yaml.safe_load(text)


def shown(default: Any) -> str:
    """Return a default as it is typed."""
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    return "~" if default is None else str(default)


def make(
    plan: Plan, photographs: Mapping[str, Path], out: Path, pairs_per_image: int, workers: int, part: Shard = WHOLE
) -> Summary:
    """Make all pairs of a part of photographs, by name as from `find_images`, that are not there yet.

    Raises:
        UserError: the output was started otherwise, or it cannot be written.
    """
    if pairs_per_image != 1 and "{pair" not in find_recipe(plan.recipe).layout:
        raise UserError(f"--pairs-per-image {pairs_per_image}: recipe {plan.recipe} makes one pair of each photograph")
    if not pairs_per_image:
        raise UserError("--pairs-per-image 0: there would be nothing to make")
    manifest = Manifest.open(out, plan, part)
    numbers = tuple(range(pairs_per_image))
    jobs = [Job(name, path, out, plan, numbers, manifest.known(name)) for name, path in photographs.items()]
    return synthesise(part.of(jobs), manifest, workers)


def remake(manifest_path: Path, sharp: Path, out: Path, workers: int, part: Shard = WHOLE) -> Summary:
    """Make the pairs of a part of a manifest again, and check each file against its SHA-256.

    Raises:
        UserError: the manifest cannot be read or is of another version of its recipe, or its photographs are gone.
    """
    manifest = Manifest.read(manifest_path)
    plan = manifest.plan
    version = find_recipe(plan.recipe).version
    if plan.recipe_version != version:
        raise UserError(
            f"manifest '{manifest_path}' is of version {plan.recipe_version} of recipe {plan.recipe}, this is {version}"
        )
    paths = find_images(sharp)
    names = dict.fromkeys(name for name, _ in manifest.rows)
    if missing := [name for name in names if name not in paths]:
        raise UserError(f"SHARP_DIR '{sharp}' lacks {len(missing)} photographs of the manifest, first '{missing[0]}'")
    jobs = [Job(name, paths[name], out, plan, tuple(manifest.known(name)), manifest.known(name)) for name in names]
    return synthesise(part.of(jobs), None, workers)
