"""The option `prior` of a network: what is taken from its file, frozen, or refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from network_facts import PRIOR_PARTS, frozen_names

from vqcnir_arch.errors import UserError


@pytest.fixture
def saved_prior(make_tiny, tmp_path):
    prior = make_tiny("VQGANPrior", semantic_dim=8)
    torch.save({"params": prior.state_dict()}, tmp_path / "prior.pth")
    return prior, tmp_path / "prior.pth"


def test_prior_is_loaded_and_frozen(make_tiny, saved_prior, basicsr_log):
    prior, path = saved_prior
    net = make_tiny("VQCNIR", randomize=False, prior=str(path))
    state, compared = net.state_dict(), set()
    for name, tensor in prior.state_dict().items():
        if name != "_extra_state" and not name.startswith("semantic_head."):
            assert torch.equal(state[name], tensor), name
            compared.add(name.split(".")[0])
    assert compared == {"encoder", "before_quant", "quantizer", "after_quant", "generator", "out_conv"}
    assert frozen_names(net) == {n for n in state if n.startswith(PRIOR_PARTS)} | {"quantizer.codebook"}
    assert any(str(path) in line for line in basicsr_log)
    assert "prior" not in net.options  # a checkpoint of this network must load where the prior's file is not

    free = make_tiny("VQCNIR", randomize=False, prior=str(path), freeze_prior=False)
    assert frozen_names(free) == {"quantizer.codebook"}
    assert torch.equal(free.state_dict()["out_conv.weight"], prior.out_conv.weight)


@pytest.mark.parametrize("option", [{"codebook_size": 16}, {"code_dim": 8}, {"channels": [16, 32, 32, 32]}], ids=str)
def test_prior_of_another_size(make_tiny, saved_prior, option):
    with pytest.raises(UserError, match=r"prior '.*prior\.pth' has other sizes than this network: \S+ \[") as caught:
        make_tiny("VQCNIR", prior=str(saved_prior[1]), **option)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", [{"norm_groups": 4}, {"res_blocks": 1}, {"res_blocks": 3}], ids=str)
def test_prior_of_another_shape(make_tiny, saved_prior, option):
    """What the sizes of the tensors do not tell: another grouping, or blocks that the prior has not or has too many."""
    with pytest.raises(UserError, match=r"prior\.pth"):
        make_tiny("VQCNIR", prior=str(saved_prior[1]), **option)


def test_prior_of_another_upsampling(make_tiny, tmp_path):
    """The supplement's table 1 prints G bilinear; the sizes of the tensors are the same."""
    prior = make_tiny("VQGANPrior", generator_upsample="bilinear")
    torch.save({"params": prior.state_dict()}, tmp_path / "prior.pth")
    for host in ("VQCNIR", "FeMaSR"):
        with pytest.raises(UserError, match=r"has other options .* generator_upsample bilinear instead of nearest"):
            make_tiny(host, prior=str(tmp_path / "prior.pth"))
    net = make_tiny("VQCNIR", randomize=False, prior=str(tmp_path / "prior.pth"), generator_upsample="bilinear")
    feature = torch.rand(1, 32, 3, 5)
    for each in (prior, net):  # the first level against torch's own operations
        doubling, conv = each.generator[0][0]
        expected = conv(F.interpolate(feature, scale_factor=2, mode="bilinear", align_corners=False))
        assert torch.allclose(each.generator[0][0](feature), expected, atol=1e-6)
        assert doubling.mode == "bilinear"
    with pytest.raises(UserError, match="upsample 'cubic' is unknown"):
        make_tiny("VQGANPrior", generator_upsample="cubic")


def test_prior_that_is_none(make_tiny, tmp_path):
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, tmp_path / "restoration.pth")
    with pytest.raises(UserError, match=r"prior '.*restoration\.pth' is a VQCNIR, expected a VQGANPrior"):
        make_tiny("VQCNIR", prior=str(tmp_path / "restoration.pth"))
    with pytest.raises(UserError, match=r"restoratio\.pth' does not exist .did you mean 'restoration\.pth'"):
        make_tiny("VQCNIR", prior=str(tmp_path / "restoratio.pth"))
