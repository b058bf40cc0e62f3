"""`vqcnir restore`: photographs and videos through a checkpoint."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vqcnir_arch.arguments import named_path, part_of_name, positive, share
from vqcnir_arch.atomic_files import make_folder, remove_if_possible, temporary_of
from vqcnir_arch.errors import UserError
from vqcnir_arch.names import PADDING_RULES, PHOTO_FORMATS, PRECISIONS, PUBLISHED_WEIGHTS
from vqcnir_arch.packaged import DEFAULT
from vqcnir_arch.shards import add_shard, alone, chosen_shard

if TYPE_CHECKING:
    from vqcnir_arch.restoration.inputs import Found, Task
    from vqcnir_arch.restoration.run import RestorationRun

MOST_FAILURES = 100
"""The exit status is the number of files that failed, up to this."""
USUAL = {"precision": "fp32", "padding": "exact", "fidelity": None, "faces": "aligned"}
"""Defaults of the options that change a result beside its strength: it says which were others."""


def main(arguments: Sequence[str]) -> None:
    """Restore photographs and videos with a checkpoint, ours or published.

    The exit status is the number of files that failed, at most 100.

    Raises:
        UserError: nothing could be started: no such input, checkpoint or device.
    """
    known = parse(arguments)

    from vqcnir_arch.archs.loading import load_restorer
    from vqcnir_arch.devices import choose_device
    from vqcnir_arch.restoration.faces import FaceRestorer, set_fidelity
    from vqcnir_arch.restoration.inputs import Found, find_tasks
    from vqcnir_arch.restoration.results import maker_line
    from vqcnir_arch.restoration.run import RestorationRun
    from vqcnir_arch.restoration.strips.network import check_supported
    from vqcnir_arch.tensor_files import checkpoint_file

    part = chosen_shard(known.shard)
    ending = f".{known.format}" if known.format != "auto" else None
    found = find_tasks(known.inputs, known.out, known.suffix, ending, known.compare)
    if known.steady and found.tasks and not any(task.is_video for task in found.tasks):
        raise UserError("--steady is for videos, and no input is one")
    net = load_restorer(known.weights, choose_device(known.device), known.key)
    net.padding = known.padding
    set_fidelity(net, known.fidelity)
    if isinstance(known.tile, int):
        check_supported(net)
    faces = FaceRestorer(net, known.precision, known.face_weights, known.strength) if known.faces == "whole" else None
    if known.out is not None:
        make_folder(known.out)
    options = {name: getattr(known, name) for name, default in USUAL.items() if getattr(known, name) != default}
    maker = None if known.strip_metadata else maker_line(net, checkpoint_file(known.weights), known.strength, options)
    run = RestorationRun(net, known, faces, maker)
    with alone(part):
        tasks = part.of(found.tasks)
        failed = restore_part(run, tasks, found if part.is_first else Found(tasks), part.label)
        if failed:
            sys.exit(min(failed, MOST_FAILURES))


def restore_part(run: RestorationRun, tasks: Sequence[Task], found: Found, label: str) -> int:
    """Restore some of the tasks, say what was done and left, and return how many files and inputs failed."""
    from tqdm import tqdm

    from vqcnir_arch.restoration.video import remove_pieces

    known = run.settings
    for note in found.notes():
        print(f"vqcnir: note: {note}", file=sys.stderr)
    if known.format == "auto":
        say_other_formats(tasks)
    for problem in found.problems:
        print(f"vqcnir: error: {problem}", file=sys.stderr)
    for task in tasks:
        for output in task.outputs(known.compare):
            remove_if_possible(temporary_of(output))
    waiting = [task for task in tasks if not (known.skip_existing and os.path.isfile(task.target))]
    for task in set(tasks).difference(waiting):
        remove_pieces(task.target)
    with tqdm(total=len(waiting), unit="file", disable=known.quiet) as run.bar:
        run.restore_all(waiting)
    done, failed = len(waiting) - len(run.failed), len(run.failed) + len(found.problems)
    line = summary(known.out, done, len(found.results), len(tasks) - len(waiting), len(found.left), failed)
    print(f"{label}{line}")
    return failed


def summary(out: Path | None, restored: int, results: int, there: int, left: int, failed: int) -> str:
    """Say how many files were restored and where to, were results or had theirs, were none, and failed."""
    beside = "beside its input" if restored == 1 else "beside their inputs"
    skipped = [f"{results} result{'s' if results != 1 else ''} skipped"] if results or out is None else []
    skipped += [f"{there} skipped"] if there or out is not None else []
    skipped += [f"{left} not taken"] if left else []
    return ", ".join([f"{restored} restored {beside if out is None else f'to {out}'}", *skipped, f"{failed} failed"])


def say_other_formats(tasks: Sequence[Task]) -> None:
    """Say in one line which photographs are read, but not written in their own format."""
    others = [task for task in tasks if not task.is_video and task.source.suffix.lower() not in PHOTO_FORMATS]
    if others:
        pairs = sorted({f"{task.source.suffix or 'no ending'} as {task.target.suffix}" for task in others})
        said = f"{len(others)} photograph{'s' if len(others) > 1 else ''}"
        print(
            f"vqcnir: note: {said} written as another format ({', '.join(pairs)}); --format names one", file=sys.stderr
        )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="vqcnir restore", description=(main.__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("inputs", nargs="+", help="files, folders or patterns; photographs or videos")
    parser.add_argument(
        "-w",
        "--weights",
        default=DEFAULT,
        help=f"checkpoint, published or ours (default: {DEFAULT}, which comes with vqcnir); {PUBLISHED_WEIGHTS}",
    )
    parser.add_argument("--key", help="dictionary in the checkpoint that holds the network, where there are several")
    parser.add_argument(
        "-o", "--out", type=named_path, help="folder of the results (default: each beside its input, as NAME_restored)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument(
        "--precision", choices=PRECISIONS,
        help="of the network, by autocast; without -all, what decides the codes stays in float32",
    )  # fmt: skip
    parser.add_argument("--padding", choices=PADDING_RULES, help="published: for published numbers")
    parser.add_argument("--fidelity", type=float, metavar="W", help="CodeFormer: 0 its codes alone, 1 all of the input")
    parser.add_argument(
        "--faces", choices=["aligned", "whole"],
        help="face networks: what photographs are; whole ones need facexlib",
    )  # fmt: skip
    parser.add_argument("--face-weights", metavar="DIR", help="folder of facexlib's weights (default: its own)")
    parser.add_argument("--batch", type=positive, default=1, help="photographs of one size that go together")
    parser.add_argument(
        "--tile", type=tile, default="auto", metavar="auto|off|N",
        help="auto: photographs too large for --memory go in strips, with the same result; N: strips of N rows, always",
    )  # fmt: skip
    parser.add_argument("--memory", type=float, default=4, help="GB that the process may hold on a CPU (default: 4)")
    parser.add_argument("--scratch", help="folder for feature maps that do not fit (default: the system's)")
    parser.add_argument(
        "--format", choices=["auto", *(e[1:] for e in PHOTO_FORMATS)], default="auto", help="of the results"
    )
    parser.add_argument(
        "--suffix", type=part_of_name, help="added to the names of the results (default: _restored without --out)"
    )
    parser.add_argument(
        "--strength", type=share, default=1, help="0 gives the input, 1 the result, a blend between (default: 1)"
    )
    parser.add_argument(
        "--steady", action="store_true", help="videos: brightness and colour of the whole frame do not flicker"
    )
    parser.add_argument("--skip-existing", action="store_true", help="leave results that are there")
    parser.add_argument(
        "--compare", action="store_true", help="also write NAME_compare, before beside after, a PNG or a video"
    )
    parser.add_argument("--max-megapixels", type=float, default=100, help="refuse larger photographs (default: 100)")
    parser.add_argument(
        "--strip-metadata", action="store_true",
        help="results without EXIF, XMP, texts and the line that says what made them; the colour profile stays",
    )  # fmt: skip
    add_shard(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(**USUAL)
    return parser.parse_args(arguments)


def tile(text: str) -> str | int:
    """Parse `auto`, `off` or a number of rows."""
    return text if text in ("auto", "off") else positive(text)
