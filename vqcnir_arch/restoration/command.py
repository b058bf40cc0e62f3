"""`vqcnir restore`: photographs and videos through a checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vqcnir_arch.arguments import positive, share
from vqcnir_arch.atomic_files import make_folder, remove_leftovers
from vqcnir_arch.names import PADDING_RULES, PHOTO_FORMATS, PRECISIONS, PUBLISHED_WEIGHTS
from vqcnir_arch.packaged import DEFAULT

MOST_FAILURES = 100
"""The exit status is the number of files that failed, up to this."""


def main(arguments: Sequence[str]) -> None:
    """Restore photographs and videos with a checkpoint, ours or published.

    The exit status is the number of files that failed, at most 100.

    Raises:
        UserError: nothing could be started: no such input, checkpoint or device.
    """
    known = parse(arguments)

    from tqdm import tqdm

    from vqcnir_arch.archs.loading import load_restorer
    from vqcnir_arch.devices import choose_device
    from vqcnir_arch.restoration.faces import FaceRestorer, set_fidelity
    from vqcnir_arch.restoration.inputs import find_tasks
    from vqcnir_arch.restoration.results import maker_line
    from vqcnir_arch.restoration.run import RestorationRun
    from vqcnir_arch.restoration.strips.network import check_supported
    from vqcnir_arch.tensor_files import checkpoint_file

    out = Path(known.out).expanduser() if known.out is not None else None
    ending = f".{known.format}" if known.format != "auto" else None
    tasks, results = find_tasks(known.inputs, out, known.suffix, ending)
    net = load_restorer(known.weights, choose_device(known.device))
    net.padding = known.padding
    set_fidelity(net, known.fidelity)
    if isinstance(known.tile, int):
        check_supported(net)
    faces = FaceRestorer(net, known.precision, known.face_weights, known.strength) if known.faces == "whole" else None
    if out is not None:
        make_folder(out)
    remove_leftovers(*{task.target.parent for task in tasks})
    waiting = [task for task in tasks if not (known.skip_existing and task.target.exists())]
    run = RestorationRun(net, known, faces, maker_line(net, checkpoint_file(known.weights), known.strength))
    with tqdm(total=len(waiting), unit="file", disable=known.quiet) as run.bar:
        run.restore_all(waiting)
    done = len(waiting) - len(run.failed)
    print(summary(out, done, len(results), len(tasks) - len(waiting), len(run.failed)))
    if run.failed:
        sys.exit(min(len(run.failed), MOST_FAILURES))


def summary(out: Path | None, restored: int, results: int, there: int, failed: int) -> str:
    """Say how many files were restored and where to, were results or had theirs, and failed."""
    beside = "beside its input" if restored == 1 else "beside their inputs"
    skipped = [f"{results} result{'s' if results != 1 else ''} skipped"] if results or out is None else []
    skipped += [f"{there} skipped"] if there or out is not None else []
    return ", ".join([f"{restored} restored {beside if out is None else f'to {out}'}", *skipped, f"{failed} failed"])


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
    parser.add_argument("-o", "--out", help="folder of the results (default: each beside its input, as NAME_restored)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32",
        help="of the network, by autocast; without -all, what decides the codes stays in float32",
    )  # fmt: skip
    parser.add_argument("--padding", choices=PADDING_RULES, default="exact", help="published: for published numbers")
    parser.add_argument("--fidelity", type=float, metavar="W", help="CodeFormer: 0 its codes alone, 1 all of the input")
    parser.add_argument(
        "--faces", choices=["aligned", "whole"], default="aligned",
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
    parser.add_argument("--suffix", help="added to the names of the results (default: _restored without --out)")
    parser.add_argument(
        "--strength", type=share, default=1, help="0 gives the input, 1 the result, a blend between (default: 1)"
    )
    parser.add_argument("--skip-existing", action="store_true", help="leave results that are there")
    parser.add_argument("--compare", action="store_true", help="also write NAME_compare.png, before beside after")
    parser.add_argument("--max-megapixels", type=float, default=100, help="refuse larger photographs (default: 100)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(arguments)


def tile(text: str) -> str | int:
    """Parse `auto`, `off` or a number of rows."""
    return text if text in ("auto", "off") else positive(text)
