"""`vqcnir export`: a checkpoint as a file that runs without this library."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vqcnir_arch.arguments import positive
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.names import EXPORT_FORMATS

PRECISIONS = ("fp32", "fp16")


def main(arguments: Sequence[str]) -> None:
    """Export a restoration checkpoint for torch.export, AOTInductor or ONNX, and compare the file with PyTorch.

    Raises:
        UserError: the file cannot be made here, or gives another result; nothing is written then.
    """
    parser = argparse.ArgumentParser(prog="vqcnir export", description=main.__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("checkpoint", help="checkpoint, published or ours")
    parser.add_argument("out", help="file to write, .pt2 or .onnx")
    parser.add_argument("--format", choices=EXPORT_FORMATS, help="default: by the ending, pt2 or onnx")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32",
        help="fp16, for ONNX: half the weights' size; what decides the codes stays in float32 (default: fp32)",
    )  # fmt: skip
    parser.add_argument("--size", type=positive, help="height that is traced; both sides stay dynamic all the same")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--key", help="dictionary in the file that holds the network, where there are several")
    known = parser.parse_args(arguments)

    out = Path(known.out).expanduser()
    form = checked_format(known.format, known.precision, out)
    if out.exists() and not known.overwrite:
        raise UserError(f"'{out}' exists already: choose another name or add --overwrite")
    if not out.parent.is_dir():
        raise UserError(f"'{out}' cannot be saved: there is no folder '{out.parent}'")

    from vqcnir_arch.archs.loading import load_restorer
    from vqcnir_arch.atomic_files import atomic_write
    from vqcnir_arch.export.comparison import compare, compared_inputs
    from vqcnir_arch.export.formats import FORMATS
    from vqcnir_arch.export.program import describe, sizes_of

    net = load_restorer(known.checkpoint, key=known.key)
    precision = {"precision": known.precision} if form == "onnx" else {}
    written = FORMATS[form](net, known.size, **precision)
    print(f"{describe(net)}, run by {written.runner}, against eager PyTorch:")
    for inputs in compared_inputs(net, written):
        print(f"  {compare(net, written, inputs, known.precision)}")
    with atomic_write(out) as file:
        file.write(written.content)
    print(f"{out}: {len(written.content) / 1e6:.1f} MB, for {sizes_of(net)}")


def checked_format(wanted: str | None, precision: str, out: Path) -> str:
    """Return the format to write.

    Raises:
        UserError: the ending is unknown or another format's, or the format has no such precision.
    """
    by_ending = {ending: name for name, ending in reversed(EXPORT_FORMATS.items())}
    if out.suffix not in by_ending:
        raise UserError(f"'{out}' has the ending '{out.suffix}'{nearest(out.suffix, by_ending)}")
    form = wanted or by_ending[out.suffix]
    if out.suffix != EXPORT_FORMATS[form]:
        raise UserError(
            f"'{out}' has the ending '{out.suffix}', files of --format {form} have '{EXPORT_FORMATS[form]}'"
        )
    if precision != "fp32" and form != "onnx":
        raise UserError(f"--precision {precision} is for ONNX files alone, '{out}' is of format {form}")
    return form
