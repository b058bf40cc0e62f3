"""Print the parameters of every ablation of VQCNIR, and of each enhancer beside AIEM, as docs/ablations.md has them.

    python scripts/ablation_sizes.py

The supplement compares the enhancers without saying their size. The option files keep AIEM's depth of 12 blocks; the
table says how far the sizes differ then, and which depth would come nearest to AIEM's.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.options import check_options, read_options

FOLDER = Path(__file__).resolve().parents[1] / "options" / "vqcnir"
BASE = FOLDER / "train_vqcnir_lolblur.yml"
ENHANCERS = ("AIEM", "ResBlock", "NAFBlock", "SwinBlock")


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def build(path: Path) -> VQCNIR:
    """Build the network of an option file without memory behind its tensors."""
    block = check_options(read_options(path), is_train=True)["network_g"]
    options = {key: value for key, value in block.items() if key not in ("type", "prior", "freeze_prior")}
    with torch.device("meta"):
        return VQCNIR(**options)


def networks() -> str:
    """Return the table of all option files: parameters in all and in the parts that the ablations change."""
    lines = ["| option file | parameters | quantizer | enhancer | D and its fusions |", "|---|---|---|---|---|"]
    for path in (BASE, *sorted((FOLDER / "ablations").glob("*.yml"))):
        net = build(path)
        parts = (net, net.quantizer, net.enhancer, net.decoder)
        lines.append(f"| {path.stem} | " + " | ".join(f"{count(part):,}" for part in parts) + " |")
    return "\n".join(lines)


def enhancers() -> str:
    """Return the table of the enhancers at the option files' depth, and at the depth of AIEM's size."""
    lines = [
        "| enhancer | 12 blocks | against AIEM | one block | depth of AIEM's size | then against AIEM |",
        "|---|---|---|---|---|---|",
    ]
    sizes = {}
    for kind in ENHANCERS:
        path = BASE if kind == "AIEM" else FOLDER / "ablations" / f"enhancer_{kind.lower()}.yml"
        net = build(path)
        assert len(net.enhancer) == 12 and net.options["enhancer"]["type"] == kind
        sizes[kind] = count(net.enhancer)
    for kind, size in sizes.items():
        block = size // 12
        depth = round(sizes["AIEM"] / block)
        difference, remaining = (100 * (n / sizes["AIEM"] - 1) for n in (size, depth * block))
        lines.append(f"| {kind} | {size:,} | {difference:+.1f} % | {block:,} | {depth} | {remaining:+.1f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(enhancers(), networks(), sep="\n\n")
