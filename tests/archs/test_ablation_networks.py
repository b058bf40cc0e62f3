"""Every combination of quantizer, enhancer and fusion: where gradients reach, and how large it is."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from ablation_variants import ENHANCERS, FUSIONS, MORE_FUSIONS, MORE_QUANTIZERS, QUANTIZERS, small
from network_facts import count, frozen_names

from vqcnir_arch.archs import VQCNIR


def train_once(net):
    """One backward pass through the losses of a training step; the target's scale is far from the output's."""
    net.train()
    image, codes = net(torch.rand(2, 3, 32, 32), return_codes=True)
    loss = F.mse_loss(image, torch.rand_like(image)) + F.mse_loss(codes.output, torch.randn_like(codes.output))
    if codes.logits is not None:
        loss = loss + F.cross_entropy(codes.logits, torch.randint(codes.logits.shape[1], codes.indices.shape))
    loss.backward()
    assert loss.isfinite()
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def trainable(net):
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("enhancer", ENHANCERS)
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_gradient_reaches_every_parameter_that_trains(make_tiny, quantizer, enhancer):
    """For every quantizer × enhancer × fusion, zero scales and offset layers being filled with random values."""
    for fusion in FUSIONS:
        net = small(make_tiny, True, quantizer, enhancer, fusion, freeze_prior=True)
        assert train_once(net) == trainable(net), fusion
        assert all(p.grad is None for n, p in net.named_parameters() if n in frozen_names(net)), fusion
        assert "quantizer.codebook" in frozen_names(net)


@pytest.mark.parametrize(
    ("quantizer", "fusion"), [*((q, "Add") for q in MORE_QUANTIZERS), *(("NearestCode", f) for f in MORE_FUSIONS)]
)
def test_gradient_reaches_every_parameter_of_the_other_variants(make_tiny, quantizer, fusion):
    net = small(make_tiny, quantizer=quantizer, fusion=fusion)
    assert train_once(net) == trainable(net)


# what stands behind a scale, or an offset layer, that starts at zero
BEHIND_ZERO = {
    "AIEM": (
        r"enhancer\.\d+\.(norm1|expand1|depthwise|channel|large_kernel|project1)\.",  # β
        r"enhancer\.\d+\.(norm2|expand2|ima|project2)\.",  # γ
    ),
    "NAFBlock": (
        r"enhancer\.\d+\.(norm1|expand1|depthwise|attention|project1)\.",  # β
        r"enhancer\.\d+\.(norm2|expand2|project2)\.",  # γ
    ),
    "DBCA": (
        r"decoder\.fusions\.f\d\.attention\.(scale|norm_d|norm_g|query|key|value_d|value_g)\b",  # β and γ
        r"decoder\.fusions\.f\d\.attention\.gamma",  # the offset layer: G's side enters the offsets alone
        r"decoder\.fusions\.f\d\.warp\.(estimate|merge)\.",  # the offset layer
    ),
    "CrossAttention": (r"decoder\.fusions\.f\d\.(scale|norm_d|norm_g|query|key|value)\b",),  # β
}


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_what_has_no_gradient_in_a_fresh_network(make_tiny, quantizer):
    for enhancer, fusion in itertools.product(ENHANCERS, FUSIONS):
        net = small(make_tiny, False, quantizer, enhancer, fusion)
        patterns = BEHIND_ZERO.get(enhancer, ()) + BEHIND_ZERO.get(fusion, ())
        behind_zero = {name for name in trainable(net) if any(re.match(p, name) for p in patterns)}
        assert trainable(net) - train_once(net) == behind_zero, (enhancer, fusion)
        assert bool(behind_zero) == bool(patterns)


COUNTS = {
    "published": ({}, 47_854_222),
    "ResBlock": ({"enhancer": {"type": "ResBlock"}}, 35_277_310),
    "NAFBlock": ({"enhancer": {"type": "NAFBlock"}}, 26_721_790),
    "SwinBlock": ({"enhancer": {"type": "SwinBlock"}}, 30_614_110),
    "no enhancer": ({"enhancer": {"type": "none"}}, 21_115_390),
    "Add": ({"fusion": {"type": "Add"}}, 42_372_947),
    "Concat": ({"fusion": {"type": "Concat"}}, 42_676_755),
    "SKFF": ({"fusion": {"type": "SKFF"}}, 42_429_783),
    "CrossAttention": ({"fusion": {"type": "CrossAttention"}}, 42_833_246),
    "no fusion": ({"fusion": {"type": "none"}}, 41_425_427),
    "paper attention": ({"fusion": {"type": "DBCA", "attention": "paper"}}, 47_854_222 - 11),
    "paper offset": ({"fusion": {"type": "DBCA", "offset": "paper"}}, 51_802_446),
    "bilinear": ({"upsample": "bilinear"}, 47_854_222),
    "SinCA": ({"quantizer": {"type": "SinCA"}}, 47_854_222 + 29_014_850),
    "CodePrediction": ({"quantizer": {"type": "CodePrediction"}}, 47_854_222 + 29_539_138),
    "VectorRegression": ({"quantizer": {"type": "VectorRegression"}}, 47_854_222 + 788_992),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    options, expected = COUNTS[name]
    with torch.device("meta"):
        assert count(VQCNIR(**options).parameters()) == expected
