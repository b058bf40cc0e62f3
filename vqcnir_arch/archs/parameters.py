"""How many parameters of a network train and how many are frozen, part by part."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def parameter_counts(net: nn.Module) -> dict[str, tuple[int, int]]:
    """Return (trainable, frozen) parameters of each direct part of a network; parts without any are left out."""
    own = nn.ParameterList(net.parameters(recurse=False))
    counts = {}
    for name, part in [*net.named_children(), ("(itself)", own)]:
        trains = sum(p.numel() for p in part.parameters() if p.requires_grad)
        frozen = sum(p.numel() for p in part.parameters() if not p.requires_grad)
        if trains + frozen:
            counts[name] = (trains, frozen)
    return counts


def parameter_lines(counts: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return `parameter_counts` as aligned lines of text, the last of which is the sum."""
    summed = tuple(sum(pair[i] for pair in counts.values()) for i in (0, 1))
    rows = {**counts, "in all": summed}
    return [f"{name:<14} trains {trains:>12,d}   frozen {frozen:>12,d}" for name, (trains, frozen) in rows.items()]
