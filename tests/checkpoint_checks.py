"""What tests ask of a loaded checkpoint, and of one that is refused."""

from __future__ import annotations

import re

import pytest
import torch

import vqcnir_arch
from vqcnir_arch.errors import UserError


def assert_same_tensors(net, expected: dict[str, torch.Tensor]):
    state = net.state_dict()
    assert set(state) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


def assert_refused(source, *patterns: str, **keywords):
    """Loading raises a UserError of one line in which every pattern is found."""
    with pytest.raises(UserError) as caught:
        vqcnir_arch.load_network(source, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    for pattern in patterns:
        assert re.search(pattern, message), f"no '{pattern}' in: {message}"


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}
