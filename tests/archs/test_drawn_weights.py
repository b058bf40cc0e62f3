"""A seed gives every layer the same first weights, whatever else its network is built of."""

from __future__ import annotations

import pytest
import torch
from conftest import TINY_OPTIONS
from network_facts import NETWORKS
from torch import nn

from vqcnir_arch.archs import VQCNIR, VQGANPrior
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.registry import ARCH_REGISTRY

FURTHER = [
    {"illumination": {}},
    {"skips": True},
    {"residual": True},
    {"enhancer": {**TINY_OPTIONS["VQCNIR"]["enhancer"], "depth": 5}},
    {"quantizer": {"type": "SinCA", "depth": 1}},
    {"fusion": {"type": ["DBCA", "DBCA", "SKFF", "SKFF"], "offset_groups": 2}},
]


def weights(net):
    return {name: parameter.detach() for name, parameter in net.named_parameters()}


def built(cls, seed=0, **options):
    torch.manual_seed(seed)
    return weights(cls(**options))


@pytest.mark.parametrize("further", FURTHER, ids=lambda options: next(iter(options)))
def test_further_modules_change_no_other_weight(further):
    options = TINY_OPTIONS["VQCNIR"]
    plain, next_draw = built(VQCNIR, **options), torch.rand(1)
    other = built(VQCNIR, **{**options, **further})
    assert torch.equal(torch.rand(1), next_draw)  # nor what is built or drawn afterwards
    common = {n for n in set(plain) & set(other) if plain[n].shape == other[n].shape}
    assert set(plain) != set(other) and len(common) > 0.7 * min(len(plain), len(other))
    assert {n for n in common if not torch.equal(plain[n], other[n])} == set()


@pytest.mark.parametrize("name", NETWORKS)
def test_draws_while_building_change_nothing(name, monkeypatch):
    options = {"cls": ARCH_REGISTRY.get(name), **TINY_OPTIONS[name]}
    expected = built(**options)
    register = nn.Module.register_parameter

    def drawing(*arguments, **keywords):
        torch.rand(1)
        register(*arguments, **keywords)

    monkeypatch.setattr(nn.Module, "register_parameter", drawing)
    assert all(torch.equal(tensor, expected[n]) for n, tensor in built(**options).items())


@pytest.mark.parametrize("name", NETWORKS)
def test_distributions_are_those_of_the_constructors(name, monkeypatch):
    options = {"cls": ARCH_REGISTRY.get(name), **TINY_OPTIONS[name]}
    drawn = built(**options)
    monkeypatch.setattr(VQNetwork, "draw_weights", lambda self: None)
    for n, first in built(**options).items():
        if first.unique().numel() == 1 and first.numel() > 1:
            assert torch.equal(drawn[n], first), n
        elif first.numel() >= 256:
            for statistic in (torch.std, lambda x: x.abs().max()):
                assert statistic(drawn[n]).item() == pytest.approx(statistic(first).item(), rel=0.2), n
            assert not torch.equal(drawn[n], first), n


def test_seeds_and_networks_of_one_seed_differ():
    torch.manual_seed(0)
    first, second = (weights(VQGANPrior(**TINY_OPTIONS["VQGANPrior"])) for _ in range(2))
    other = built(VQGANPrior, seed=1, **TINY_OPTIONS["VQGANPrior"])
    for name in ("encoder.in_conv.weight", "quantizer.codebook", "out_conv.bias"):
        assert not torch.equal(first[name], second[name]) and not torch.equal(first[name], other[name])
    assert not torch.equal(first["encoder.stages.0.0.bias"], first["generator.2.0.1.bias"])


def test_fresh_residual_network_gives_the_image_as_it_is():
    net = VQCNIR(**TINY_OPTIONS["VQCNIR"], illumination={}, skips=True, residual=True)
    x = torch.rand(1, 3, 24, 32)
    assert torch.allclose(net(x), x, atol=1e-6)
