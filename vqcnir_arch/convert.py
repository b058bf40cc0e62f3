"""`vqcnir convert`: a checkpoint in another file format or layout, or a published option file as ours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vqcnir_arch.atomic_files import atomic_write
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.names import CHECKPOINT_ENDINGS, OPTION_ENDINGS, SAFETENSORS


def main(arguments: Sequence[str]) -> None:
    """Convert a checkpoint, ours or published, to safetensors or `.pth`, with our tensor names or the published ones.

    Or a published option file (`.yml`) of FeMaSR, AdaCode, CodeFormer or LEDNet to ours.

    Raises:
        UserError: the file is neither a checkpoint nor a published option file, the target exists, or the published
            layout cannot hold its options.
    """
    parser = argparse.ArgumentParser(prog="vqcnir convert", description=main.__doc__.splitlines()[0])
    parser.add_argument("source", help="checkpoint, or a published project's option file (.yml)")
    parser.add_argument("target", help=f"file to write, its ending says the format: {', '.join(CHECKPOINT_ENDINGS)}")
    parser.add_argument("--layout", choices=["ours", "published"], default="ours", help="names of the tensors")
    parser.add_argument("--overwrite", action="store_true", help="replace the target if it exists")
    parser.add_argument("--key", help="dictionary in the file that holds the network, where there are several")
    known = parser.parse_args(arguments)

    target = Path(known.target).expanduser()
    is_options = Path(known.source).suffix.lower() in OPTION_ENDINGS
    endings = OPTION_ENDINGS if is_options else CHECKPOINT_ENDINGS
    if target.suffix not in endings:
        raise UserError(f"'{target}' has the ending '{target.suffix}'{nearest(target.suffix, endings)}")
    if target.exists() and not known.overwrite:
        raise UserError(f"'{target}' exists already: choose another name or add --overwrite")
    if is_options and known.layout == "published":
        raise UserError("--layout published is for checkpoints: option files are translated into ours alone")
    if is_options:
        from vqcnir_arch.options.published.command import convert_options

        convert_options(known.source, target)
    else:
        convert_checkpoint(known.source, target, known.layout, known.key)


def convert_checkpoint(source: str, target: Path, layout: str, key: str | None = None) -> None:
    """Write a checkpoint's tensors in the format that the target's ending says, under the layout's names.

    Raises:
        UserError: it is no checkpoint, or the published layout cannot hold its options.
    """
    import torch
    from safetensors.torch import save

    from vqcnir_arch.archs.loading import load_network, published_state_dict

    net = load_network(source, key=key)
    state = published_state_dict(net) if layout == "published" else dict(net.state_dict())
    with atomic_write(target) as file:
        if target.suffix == SAFETENSORS:
            file.write(save({name: tensor.contiguous() for name, tensor in state.items()}, net.metadata()))
        else:
            torch.save({"params": state}, file)
    print(f"{target}: {type(net).__name__}, {len(state)} tensors, {layout} layout")
