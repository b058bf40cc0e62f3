"""The networks as users meet them: sizes, counts, options, training steps."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_OPTIONS, random_images
from model_experiments import moved, snapshot
from network_facts import ANY_SIZE, NETWORKS, PRIOR_PARTS, SINGLE, count, frozen_names

from vqcnir_arch.archs import VQCNIR, VQGANPrior
from vqcnir_arch.errors import UserError
from vqcnir_arch.inspection.cost import multiply_adds
from vqcnir_arch.registry import ARCH_REGISTRY

# --- sizes and costs -------------------------------------------------------------------------------------------------


def test_every_network_has_a_tiny_version():
    assert set(NETWORKS) == set(TINY_OPTIONS)
    for name in NETWORKS:
        assert ARCH_REGISTRY.get(name).__module__.startswith("vqcnir_arch.")


def test_parameter_counts():
    with torch.device("meta"):
        assert count(VQGANPrior().parameters()) == 12_176_707
        assert count(VQGANPrior(semantic_dim=512).parameters()) == 12_176_707 + 262_656
        net = VQCNIR()
        frozen = VQCNIR(freeze_prior=True)
    assert count(net.parameters()) == 47_854_222
    assert frozen_names(net) == {"quantizer.codebook"}

    assert count(frozen.parameters()) == 47_854_222
    assert count(p for p in frozen.parameters() if p.requires_grad) == 42_087_435
    expected = {n for n, _ in frozen.named_parameters() if n.startswith(PRIOR_PARTS)} | {"quantizer.codebook"}
    assert frozen_names(frozen) == expected


def test_cost_at_512():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), torch.no_grad():
        net = VQCNIR().eval()
        image = torch.rand(1, 3, 512, 512)
        assert net(image).shape == image.shape
        macs = multiply_adds(lambda: net(image))
    assert macs / 1e9 == pytest.approx(689.1, abs=0.1)


# --- images of any size ----------------------------------------------------------------------------------------------

SIZES = [(1, 1), (7, 13), (8, 8), (33, 50), (64, 3)]
MULTIPLES = {
    "VQGANPrior": (8, 64),
    "VQCNIR": (8, 64),
    "FaceVQGANPrior": (8, 64),
    "FeMaSR": (8, 8),
    "AdaCode": (8, 8),
}  # of `exact` and of `published`, tiny networks


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("padding", ["exact", "published"])
@pytest.mark.parametrize("name", ANY_SIZE)
def test_output_has_the_size_of_the_input(make_tiny, name, padding, size):
    net = make_tiny(name, padding=padding).eval()
    seen = []
    net.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        image = net(x)
    assert image.shape == (2, 3, size[0] * net.scale, size[1] * net.scale)
    assert image.isfinite().all()
    assert image.std() > 0
    exact, published = MULTIPLES[name]
    if padding == "exact":
        assert seen == [tuple(-(-n // exact) * exact for n in size)]
    else:
        assert seen == [tuple((n // published + 1) * published for n in size)]


@pytest.mark.parametrize("name", ANY_SIZE)
def test_padding_rule_is_for_testing_alone(make_tiny, name):
    net = make_tiny(name, padding="published")
    seen = []
    net.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        net.train()(x)
        net.eval()(x)
    published = MULTIPLES[name][1]
    assert seen == [(16, 24), tuple((n // published + 1) * published for n in (16, 24))]


@pytest.mark.parametrize("name", NETWORKS)
def test_images_of_a_batch_do_not_mix(make_tiny, name):
    torch.manual_seed(2)  # with which no network takes one code for all
    net = make_tiny(name).eval()
    x = random_images(name)
    x[1] *= 0.1
    with torch.no_grad():
        both = net(x)
        single = torch.cat([net(x[:1]), net(x[1:])])
    assert (both - single).abs().max() < 5e-4 * single.std()
    assert (single[0] - single[1]).abs().max() > 1e-3 * single.std()


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 4, 16, 16), (1, 16, 16, 3), (1, 1, 3, 16, 16)])
@pytest.mark.parametrize("name", NETWORKS)
def test_wrong_shape(make_tiny, name, shape):
    with pytest.raises(UserError, match=rf"{name} takes images as \[B, 3, H, W\], got \[{', '.join(map(str, shape))}"):
        make_tiny(name)(torch.rand(*shape))


def test_return_codes(make_tiny):
    net = make_tiny("VQCNIR").eval()
    x = torch.rand(2, 3, 17, 30)
    with torch.no_grad():
        image, codes = net(x, return_codes=True)
        assert torch.equal(image, net(x))
    assert codes.indices.shape == (2, 3, 4)
    assert codes.features.shape == codes.output.shape == codes.quantized.shape == (2, 16, 3, 4)
    assert codes.semantic is None


def test_prior_decodes_its_own_codes(make_tiny):
    prior = make_tiny("VQGANPrior", semantic_dim=12).eval()
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        image, codes = prior(x, return_codes=True)
        assert torch.allclose(prior.decode_indices(codes.indices), image, atol=1e-4 * image.std().item())
        nothing, same = prior(x, decode=False)
    assert nothing is None
    assert torch.equal(same.indices, codes.indices)
    assert codes.semantic.shape == (1, 12, 2, 3)
    assert codes.semantic.min() == 0


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantizer": {"type": "NearestCod"}}, "unknown quantizer type 'NearestCod' .did you mean 'NearestCode'"),
        ({"enhancer": {"type": "AIME"}}, "unknown enhancer type 'AIME' .did you mean 'AIEM'"),
        ({"fusion": {"type": "DCBA"}}, "unknown fusion type 'DCBA' .did you mean 'DBCA'"),
        ({"quantizer": {"type": "NearestCode", "beta": 1}}, "quantizer NearestCode has no option 'beta'"),
        ({"enhancer": {"type": "AIEM", "split": 4}}, "AIEM has no option 'split' .did you mean 'splits'"),
        ({"enhancer": {"type": "AIEM", "channels": 4}}, "AIEM has no option 'channels'"),
        ({"fusion": {"type": "DBCA", "head": 2}}, "DBCA has no option 'head' .did you mean 'heads'"),
        ({"fusion": {"type": "DBCA", "heads": 3}}, "heads 3 does not divide 32 channels"),
        ({"fusion": {"type": "DBCA", "heads": [2, 2, 1]}}, r"heads needs one value per level f8, f4, f2, f1, got \[2"),
        ({"fusion": {"type": "DBCA", "heads": 2, "offset_groups": 3}}, "offset_groups 3 does not divide"),
        ({"enhancer": {"type": "AIEM", "splits": 5}}, "splits .* 32 channels, got 5"),
        ({"norm_groups": 7}, "norm_groups 7 does not divide"),
        ({"channels": [16]}, "channels"),
        ({"padding": "exakt"}, "padding 'exakt' is unknown .*exact, published"),
    ],
)
def test_wrong_options_are_named(make_tiny, options, message):
    with pytest.raises(UserError, match=message):
        make_tiny("VQCNIR", **options)


def test_enhancer_none(make_tiny):
    net = make_tiny("VQCNIR", enhancer={"type": "none"})
    assert not any(name.startswith("enhancer") for name in net.state_dict())
    with_one = make_tiny("VQCNIR")
    assert any(name.startswith("enhancer.0.") for name in with_one.state_dict())
    assert net.eval()(torch.rand(1, 3, 8, 8)).isfinite().all()


def test_options_of_the_caller_are_left_alone():
    options = {"enhancer": {"depth": 1}, "fusion": {"heads": [2, 2, 1, 1]}, "quantizer": {"type": "NearestCode"}}
    before = json.dumps(options)
    VQCNIR(**{**TINY_OPTIONS["VQCNIR"], **options})
    assert json.dumps(options) == before


@pytest.mark.parametrize("levels", [2, 3])
def test_other_numbers_of_levels(make_tiny, levels):
    channels = [16, 32, 32][:levels]
    net = make_tiny("VQCNIR", channels=channels, fusion={"type": "DBCA", "heads": 2, "offset_groups": 2}).eval()
    with torch.no_grad():
        image, codes = net(torch.rand(1, 3, 9, 14), return_codes=True)
    step = 2 ** (levels - 1)
    assert image.shape == (1, 3, 9, 14)
    assert codes.indices.shape == (1, -(-9 // step), -(-14 // step))


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("randomize", [False, True], ids=["fresh", "random"])
@pytest.mark.parametrize("name", SINGLE)
def test_training_step(make_tiny, name, randomize):
    options = {"semantic_dim": 8} if name == "VQGANPrior" else {}
    net = make_tiny(name, randomize, **options).train()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    x = random_images(name)
    target = torch.rand(2, 3, *(n * net.scale for n in x.shape[-2:]))

    def loss_of():
        image, codes = net(x, return_codes=True)
        loss = F.l1_loss(image, target)
        for of_codebook in codes.per_codebook:
            loss = loss + F.mse_loss(of_codebook.features, of_codebook.quantized)
            for predicted in (of_codebook.semantic, of_codebook.logits):
                loss = loss if predicted is None else loss + predicted.square().mean()
        return loss

    before = snapshot(net)
    loss = loss_of()
    loss.backward()
    assert loss.isfinite()
    for parameter_name, parameter in net.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
        assert parameter.grad is None or parameter.grad.isfinite().all(), parameter_name
        if randomize and parameter.requires_grad:
            assert parameter.grad.abs().max() > 0, parameter_name
    optimizer.step()
    assert loss_of().isfinite()
    changed = moved(net, before)
    assert not changed & frozen_names(net)
    parts = ("encoder.", "before_quant.") if name not in ("FaceVQGANPrior", "CodeFormer") else ("encoder.",)
    assert all(any(part in n for n in changed) for part in parts)


def test_gradients_reach_the_encoder_through_the_frozen_prior(make_tiny):
    net = make_tiny("VQCNIR", freeze_prior=True)
    # G alone, without D, which has a way of its own to the encoder
    codes = net.encode(torch.rand(1, 3, 16, 16))
    net.out_conv(net.generator(net.after_quant(codes.output))[-1]).abs().mean().backward()
    assert net.encoder.in_conv.weight.grad.abs().max() > 0
    assert all(p.grad is None for n, p in net.named_parameters() if n in frozen_names(net))
