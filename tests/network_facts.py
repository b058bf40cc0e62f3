"""The names of all networks, and what tests ask of their parameters."""

from __future__ import annotations

from conftest import TINY_OPTIONS

from vqcnir_arch.checkpoint import own_networks

NETWORKS = [cls.__name__ for cls in own_networks()]
SINGLE = [name for name in NETWORKS if name != "AssociatedPriors"]  # test_association.py has that one
ANY_SIZE = [name for name in SINGLE if "image_size" not in TINY_OPTIONS[name]]
PRIOR_PARTS = ("after_quant.", "generator.", "out_conv.")


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


def frozen_names(net) -> set[str]:
    return {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
