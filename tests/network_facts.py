"""The names of all networks, and what tests ask of their parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from conftest import TINY_OPTIONS

import vqcnir_arch
from vqcnir_arch.archs.loading import own_networks

NETWORKS = [cls.__name__ for cls in own_networks()]
SINGLE = [name for name in NETWORKS if name != "AssociatedPriors"]  # test_association.py has that one
ANY_SIZE = [name for name in SINGLE if "image_size" not in TINY_OPTIONS[name]]
PRIOR_PARTS = ("after_quant.", "generator.", "out_conv.")


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


def frozen_names(net) -> set[str]:
    return {name for name, parameter in net.named_parameters() if not parameter.requires_grad}


def check_learns_and_reloads(net, x, target) -> None:
    """Losses on image and codes reach every parameter that trains; the state dict gives the same network again."""
    image, codes = net(x, return_codes=True)
    loss = F.l1_loss(image, target)
    for of_codebook in codes.per_codebook:
        for tensor in (of_codebook.features, of_codebook.logits):
            loss = loss if tensor is None else loss + tensor.square().mean()
    loss.backward()
    assert [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None] == []
    check_same(net, vqcnir_arch.load_network(net.state_dict()), x)


def check_same(net, loaded, x) -> torch.Tensor:
    """A network and the one that was loaded have equal options and restore the same image, which is returned."""
    assert loaded.options == net.options
    with torch.no_grad():
        image = loaded(x)
        assert torch.equal(image, net.eval()(x))
    return image
