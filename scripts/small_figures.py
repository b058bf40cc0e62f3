"""Compare VQCNIR-S with curves, CLAHE and other networks on three kinds of test: docs/small.md's tables by one command.

    python scripts/small_figures.py OUT --network VQCNIR-S=FILE --train-pairs DIR \\
        --sharp DIR ... --pairs DIR ... --night PATH ...

Kinds: (a) pairs made of the photographs of --sharp by the recipe `lolblur`, (b) photographed pairs, (c) night
photographs without truth. Writes OUT/table.md, OUT/figures.json with every single value, OUT/sheets/*.jpg. A second run
measures only what is new. With --quick, one line of means for each method on the pairs of (a) that decide: to choose
among checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from small_comparison import methods, sets, sheets, tables
from small_comparison.measure import PROTOCOL, columns_of, measure, slug, write_results

from vqcnir_arch.arguments import not_negative, positive
from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.cli import exit_with_one_line
from vqcnir_arch.data.files import read_image
from vqcnir_arch.demo.baselines import fit_gamma
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.evaluation.columns import versions

SEED = 20261130  # chosen before the network was trained
GAMMA_PAIRS = 200
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for pairs, results, tables and sheets")
    data = parser.add_argument_group("test photographs")
    data.add_argument("--sharp", type=Path, nargs="+", default=[], metavar="DIR", help="folders of sharp photographs")
    data.add_argument("--pairs", type=Path, nargs="+", default=[], metavar="DIR", help="folders with low/ and high/")
    data.add_argument("--night", type=Path, nargs="+", default=[], metavar="PATH", help="night photographs, or folders")
    data.add_argument("--seed", type=not_negative, default=SEED, help="of the pairs of (a) (default: %(default)s)")
    data.add_argument("--every", type=positive, default=1, metavar="N", help="take every N-th photograph of each kind")
    data.add_argument("--only", nargs="+", choices=["a", "b", "c"], default=["a", "b", "c"], help="kinds of test")
    data.add_argument("--trained-on", type=Path, metavar="JSON", help="list of the training photographs: refuse them")
    compared = parser.add_argument_group("what is compared, beside the input, curves and CLAHE")
    compared.add_argument(
        "--network", type=named_file, nargs="+", default=[], metavar="NAME=FILE",
        help="checkpoints of this library; the first is also run with G's features zero and with shuffled codes",
    )  # fmt: skip
    compared.add_argument(
        "--rival", type=named_file, nargs="+", default=[], metavar="NAME=FILE", help="checkpoints that spandrel reads"
    )
    compared.add_argument(
        "--results", type=named_file, nargs="+", default=[], metavar="NAME=DIR",
        help="results of another program, DIR/SET/IMAGE as the inputs lie in OUT/results/input",
    )  # fmt: skip
    compared.add_argument("--train-pairs", type=Path, metavar="DIR", help="training pairs: one gamma is fitted on them")
    parser.add_argument("--page", type=Path, metavar="FILE", help="Markdown page whose tables are replaced by these")
    parser.add_argument("--show", nargs="+", default=[], metavar="NAME", help="night photographs for sheets/shown.jpg")
    parser.add_argument("--quick", action="store_true", help="one line of means a method, on the pairs that decide")
    parser.add_argument("--threads", type=positive, default=1, help="of networks and metrics (default: 1)")
    return parser


def named_file(text: str) -> tuple[str, Path]:
    """Read `NAME=PATH`."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"expected NAME=PATH, got '{text}'")
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"'{path}' does not exist")
    return name, Path(path)


def made_sets(known: argparse.Namespace, photographs: dict[str, Path]) -> list[sets.ImageSet]:
    """Make the sets of kind (a)."""
    exposures = sets.EXPOSURES[: 1 if known.quick else None] if photographs else ()
    made = [sets.made_pairs(photographs, known.out, exposure, known.seed, known.threads) for exposure in exposures]
    return made if known.quick or not made else [*made, sets.ordinary_photographs(made[0])]


def found_sets(known: argparse.Namespace) -> list[sets.ImageSet]:
    """Find the sets of kinds (b) and (c).

    Raises:
        UserError: there is no such photograph, also none that --show names.
    """
    found = []
    if known.pairs and "b" in known.only and not known.quick:
        found.append(sets.photographed_pairs(known.pairs, known.every))
    if known.night and "c" in known.only and not known.quick:
        found.append(sets.night_photographs(known.night, known.every))
    night = [name for images in found if images.kind == "c" for name in images.inputs]
    if missing := [name for name in known.show if name not in night]:
        raise UserError(f"--show '{missing[0]}' is not among the night photographs{nearest(missing[0], night)}")
    return found


def find_methods(known: argparse.Namespace) -> list[methods.Method]:
    """Return everything that is compared; the names are those of folders, so they must differ there, too."""
    gamma = None
    if known.train_pairs is not None:
        inputs, truths = sets.training_pairs(known.train_pairs, GAMMA_PAIRS)
        gamma = fit_gamma(map(read_image, inputs), map(read_image, truths))
    found = methods.simple_methods(gamma)
    for number, (name, path) in enumerate(known.network):
        found += methods.own_methods(name, path, with_variants=number == 0 and not known.quick)
    found += [methods.rival_method(name, path) for name, path in known.rival]
    found += [methods.foreign_results(name, path) for name, path in known.results]
    folders: dict[str, str] = {}
    for method in found:
        if slug(method.name) in folders:
            raise UserError(
                f"'{method.name}' and '{folders[slug(method.name)]}' would have the same folder: rename one"
            )
        folders[slug(method.name)] = method.name
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    known = argument_parser().parse_args(arguments)
    torch.set_num_threads(known.threads)
    cv2.setNumThreads(known.threads)
    if known.page is not None:
        around_tables(known.page)  # now, not after an hour
    photographs = {}
    if known.sharp and "a" in known.only:
        photographs = sets.find_photographs(known.sharp, "--sharp", known.every)
    found = found_sets(known)
    if not (photographs or found):
        raise UserError("nothing to test on: name --sharp, --pairs or --night (--quick takes --sharp)")
    about = {"versions": ", ".join(f"{name} {number}" for name, number in versions().items())}
    if known.trained_on is not None:
        files = [path for images in found for path in (*images.inputs.values(), *images.truths.values())]
        compared = sets.refuse_overlap(known.trained_on, [*photographs.values(), *files])
        about["training photographs"] = f"none of the {compared} test files is among them (SHA-256)"
    all_methods = find_methods(known)  # before pairs are made: a bad checkpoint is told at once
    compare(known, [*made_sets(known, photographs), *found], all_methods, about)


def compare(
    known: argparse.Namespace,
    all_sets: Sequence[sets.ImageSet],
    all_methods: Sequence[methods.Method],
    about: dict[str, str],
) -> None:
    """Restore, measure, and write or print the tables."""
    about["metrics"] = "; ".join(column.settings for column in PROTOCOL.columns)
    about["seed of (a)"] = str(known.seed)
    all_measured = []
    for images in all_sets:
        chosen = [method for method in all_methods if method.takes(images)]
        if not chosen:
            continue
        write_results(known.out, images, chosen)
        values = measure(known.out, images, chosen, columns_of(images, known.quick), known.threads)
        all_measured.append(tables.Measured(images, chosen, values))
    if known.quick:
        for method in all_measured[0].methods:
            print(quick_line(all_measured[0], method.name))
        return
    for method in all_methods:
        if method.about:
            about[method.name] = ", ".join(f"{key} {value}" for key, value in method.about.items())
    markdown = tables.markdown(all_measured, about)
    write_file(known.out / "table.md", markdown.encode())
    if known.page is not None:
        write_file(known.page, markdown.join(around_tables(known.page)).encode())
    content = json.dumps(tables.as_json(all_measured, about), indent=1, ensure_ascii=False, allow_nan=False)
    write_file(known.out / "figures.json", content.encode())
    write_sheets(known, all_measured)
    print(f"{known.out / 'table.md'}, {known.out / 'figures.json'}, {known.out / 'sheets'}{os.sep}")


def around_tables(page: Path) -> tuple[str, str]:
    """Return what stands before and after a page's tables, its two marks included.

    Raises:
        UserError: it has no marks.
    """
    try:
        before, rest = page.read_text(encoding="utf-8").split(f"{BEGIN}\n")
        after = rest.split(f"{END}\n")[1]
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"--page '{page}' has no place for tables: a line '{BEGIN}' and a line '{END}'") from error
    return f"{before}{BEGIN}\n", f"{END}\n{after}"


def quick_line(measured: tables.Measured, method: str) -> str:
    """Return a method's means in one line."""
    means = [f"{tables.COLUMNS[c].title} {tables.number(c, measured.mean(method, c))}" for c in measured.columns]
    return f"{method}: {', '.join(means)} ({len(measured.images.inputs)} pairs)"


def write_sheets(known: argparse.Namespace, all_measured: Sequence[tables.Measured]) -> None:
    """Write one sheet for each set, with the first network that was run on it, and one of what may be shown."""
    for measured in all_measured:
        if measured.images.kind == "ordinary" or not measured.networks:
            continue
        folder, network, names = known.out / "sheets", measured.networks[0], list(measured.images.inputs)
        sheets.write_sheet(folder / f"{measured.images.name}.jpg", known.out, measured, sheets.spread(names), network)
        if known.show and measured.images.kind == "c":
            sheets.write_sheet(folder / "shown.jpg", known.out, measured, known.show, network)


if __name__ == "__main__":
    exit_with_one_line(main)
