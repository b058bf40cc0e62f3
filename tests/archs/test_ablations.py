"""VQCNIR's variants trained, saved and loaded; no file of one is taken for another's."""

from __future__ import annotations

import copy

import pytest
import torch
from ablation_variants import VARIANTS, bf16_error
from model_experiments import moved, snapshot
from network_facts import frozen_names

import vqcnir_arch
from vqcnir_arch.archs import VQCNIR


@pytest.mark.parametrize("name", VARIANTS)
def test_training_step_and_round_trip(make_model, tmp_path, name):
    model = make_model(VARIANTS[name])
    net = model.net_g
    before = snapshot(net)
    for step in (1, 2):
        model.optimize_parameters(step)
    assert all(torch.as_tensor(value).isfinite() for value in model.get_current_log().values())
    changed = moved(net, before)
    assert changed and not changed & frozen_names(net)
    assert any(n.startswith("encoder.") for n in changed)
    assert all(p.isfinite().all() for p in net.parameters())

    model.save(0, 2)
    loaded = vqcnir_arch.load_network(tmp_path / "net_g_2.pth")
    assert loaded.options == net.options
    expected = net.state_dict()
    assert set(loaded.state_dict()) == set(expected)
    assert all(torch.equal(tensor, expected[n]) for n, tensor in loaded.state_dict().items())
    x = torch.rand(1, 3, 19, 27)
    with torch.no_grad():
        assert torch.equal(loaded(x), net.eval()(x))


@pytest.mark.parametrize("name", VARIANTS)
def test_checkpoint_of_another_variant_is_refused(make_tiny, name):
    state = make_tiny("VQCNIR", **VARIANTS[name]).state_dict()
    plain = make_tiny("VQCNIR")
    if vqcnir_arch.load_network(state).options == plain.options:
        plain.load_state_dict(state)
        return
    with pytest.raises(RuntimeError, match="the file was made with"):
        plain.load_state_dict(state)


@pytest.mark.parametrize("name", VARIANTS)
def test_published_layout_is_not_taken_for_a_variant(small_published, name):
    """A published file fits the published network alone; a variant says what it misses."""
    variant = VQCNIR(**{**copy.deepcopy(small_published.options), **VARIANTS[name]})
    if variant.options == small_published.net.options or name.startswith("printed_upsample"):
        variant.load_state_dict(small_published.state)
        return
    with pytest.raises(RuntimeError, match=r"Missing|Unexpected|size mismatch"):
        variant.load_state_dict(small_published.state)


@pytest.mark.parametrize("name", VARIANTS)
def test_network_in_bf16(make_tiny, name):
    """Rounding adds up over some fifty random layers; the codes are held, as other codes are another image."""
    net = make_tiny("VQCNIR", **VARIANTS[name]).eval()
    x = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        codes = net(x, return_codes=True)[1]
    if net.quantizer.output_kind != "features":
        net.quantizer.forward = lambda _: codes
    assert bf16_error(net, x) < 0.1
