"""`vqcnir export`: a checkpoint as a file that runs without this library."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vqcnir_arch.archs.loading import load_restorer
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.arguments import positive
from vqcnir_arch.atomic_files import atomic_write
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.export.formats import FORMATS, Written
from vqcnir_arch.export.program import describe, size_multiple

MOST_DIFFERENCE = 1e-3
"""Largest difference to eager PyTorch, relative to the result's standard deviation, that rounding explains."""
MOST_CODES = 0.01
"""Largest share of codes that may differ: those whose two nearest codes are equally near but for rounding."""


def main(arguments: Sequence[str]) -> None:
    """Export a restoration checkpoint for torch.export, AOTInductor or ONNX, and compare the file with PyTorch.

    Raises:
        UserError: the file cannot be made here, or gives another result; nothing is written then.
    """
    parser = argparse.ArgumentParser(prog="vqcnir export", description=main.__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("checkpoint", help="checkpoint, published or ours")
    parser.add_argument("out", help="file to write, .pt2 or .onnx")
    parser.add_argument("--format", choices=FORMATS, help="default: by the ending, pt2 or onnx")
    parser.add_argument("--size", type=positive, help="height that is traced; both sides stay dynamic all the same")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--key", help="dictionary in the file that holds the network, where there are several")
    known = parser.parse_args(arguments)

    out = Path(known.out).expanduser()
    endings = {ending: name for name, (ending, _) in reversed(FORMATS.items())}
    if out.suffix not in endings:
        raise UserError(f"'{out}' has the ending '{out.suffix}'{nearest(out.suffix, endings)}")
    ending, write = FORMATS[known.format or endings[out.suffix]]
    if out.suffix != ending:
        raise UserError(f"'{out}' has the ending '{out.suffix}', files of --format {known.format} have '{ending}'")
    if out.exists() and not known.overwrite:
        raise UserError(f"'{out}' exists already: choose another name or add --overwrite")
    if not out.parent.is_dir():
        raise UserError(f"'{out}' cannot be saved: there is no folder '{out.parent}'")
    net = load_restorer(known.checkpoint, key=known.key)
    if net.fixed_size is not None:
        kind, size = type(net).__name__, net.fixed_size
        raise UserError(
            f"checkpoint '{known.checkpoint}' is a {kind}, which takes {size} x {size} pixels alone: export writes "
            "networks for any size, and not this one"
        )

    written = write(net, known.size)
    print(f"{describe(net)}, run by {written.runner}, against eager PyTorch:")
    for size in compared_sizes(net, written):
        print(f"  {compare(net, written, size)}")
    with atomic_write(out) as file:
        file.write(written.content)
    multiple = size_multiple(net)
    print(f"{out}: {len(written.content) / 1e6:.1f} MB; height and width are dynamic, multiples of {multiple}")
    print(f"other sizes: pad at the bottom and right by mirroring to a multiple of {multiple}, then crop the result")


def compared_sizes(net: VQNetwork, written: Written) -> list[tuple[int, int]]:
    """Return the sizes that are compared, other than the one that was traced."""
    multiple = size_multiple(net)
    smallest = (2 * multiple, 3 * multiple)
    return [smallest] if written.is_slow else [smallest, (12 * multiple, 7 * multiple)]


@torch.inference_mode()
def compare(net: VQNetwork, written: Written, size: tuple[int, int]) -> str:
    """Compare a written file with the network itself on one image of noise; return a line that says how they differ.

    Raises:
        UserError: they differ by more than rounding.
    """
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    expected, codes = net.compute(image, return_codes=True)
    restored, *indices = written.run(image)
    worst = (restored - expected).abs().max().item()
    line = f"{size[1]} x {size[0]}: largest difference {worst:.1e}"
    differing = 0
    if codes.indices is not None:
        differing = count_differing(codes.indices, indices[0])
        line += f", codes {codes.indices.numel() - differing} equal, {differing} differing"
        if differing > MOST_CODES * codes.indices.numel():
            raise UserError(f"the exported network chooses other codes ({line}): nothing is written")
    # one other code changes the image far and wide, through the norms: then the codes are what can be judged
    if not worst <= MOST_DIFFERENCE * max(1.0, expected.std().item()) and not differing:
        raise UserError(f"the exported network gives another result ({line}): nothing is written")
    return line


def count_differing(expected: Tensor, indices: Tensor) -> int:
    """Return how many codes differ."""
    return int((expected != indices).sum())
