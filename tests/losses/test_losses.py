"""The losses: each against its formula, and what a missing file of weights says."""

from __future__ import annotations

import os

import pytest
import pytorch_msssim
import torch
import torch.nn.functional as F
import torchvision
from conftest import scene
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchvision.transforms.functional import normalize

from vqcnir_arch import UserError
from vqcnir_arch.losses import (
    CodeAlignmentLoss,
    CodebookLoss,
    LPIPSLoss,
    PSNRLoss,
    SemanticGuidedLoss,
    SSIMLoss,
    VGG16PerceptualLoss,
    VGG19PerceptualLoss,
)
from vqcnir_arch.losses.vgg import FILE_NAME, VGGFeatures, layer_names
from vqcnir_arch.registry import LOSS_REGISTRY, build


def image(name="chelsea", size=64):
    return torch.from_numpy(scene(name, size, size)).permute(2, 0, 1).float().div(255)[None]


def features(*shape):
    return torch.randn(shape).requires_grad_(), torch.randn(shape).requires_grad_()


@pytest.fixture
def empty_hub(tmp_path, monkeypatch, use_hub):
    """An empty hub folder and an empty current folder."""
    use_hub(tmp_path / "hub")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "hub"


# CodebookLoss


@pytest.mark.parametrize(
    ("beta_on", "codebook_weight", "commitment_weight"), [("commitment", 1.0, 0.3), ("codebook", 0.3, 1.0)]
)
def test_codebook_loss(beta_on, codebook_weight, commitment_weight):
    z, z_q = features(2, 5, 3, 4)
    loss = CodebookLoss(beta=0.3, beta_on=beta_on, loss_weight=2.0)(z, z_q)
    squares = ((z - z_q) ** 2).mean().item()
    assert loss.item() == pytest.approx(2.0 * 1.3 * squares, rel=1e-6)

    loss.backward()
    slope = 2 * (z_q - z).detach() / z.numel()
    torch.testing.assert_close(z_q.grad, 2.0 * codebook_weight * slope)
    torch.testing.assert_close(z.grad, -2.0 * commitment_weight * slope)


def test_codebook_loss_defaults_to_femasr():
    z, z_q = features(1, 2, 3, 3)
    CodebookLoss()(z, z_q).backward()
    torch.testing.assert_close(z.grad, -0.25 * z_q.grad)


def test_codebook_loss_needs_a_known_side():
    with pytest.raises(UserError, match=r"beta_on 'encoder' is unknown \(known: codebook, commitment\)"):
        CodebookLoss(beta_on="encoder")


# CodeAlignmentLoss


def test_alignment_l2():
    z, target = features(2, 5, 3, 4)
    loss = CodeAlignmentLoss(loss_weight=3.0)(z, target)
    torch.testing.assert_close(loss, 3 * torch.einsum("bchw,bchw->", z - target, z - target) / z.numel())
    loss.backward()
    torch.testing.assert_close(z.grad, 6 * (z - target).detach() / z.numel())
    assert target.grad is None


def test_alignment_l2_gram():
    z, target = features(2, 5, 3, 4)
    loss = CodeAlignmentLoss("l2_gram", loss_weight=3.0)(z, target)
    gram, gram_target = (torch.einsum("bchw,bdhw->bcd", x, x) / 12 for x in (z, target.detach()))
    expected = 3 * (0.25 * ((z - target.detach()) ** 2).mean() + ((gram - gram_target) ** 2).mean())
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert target.grad is None
    own_gradient = z.grad.clone()
    z.grad = None
    expected.backward()
    torch.testing.assert_close(own_gradient, z.grad)


def test_alignment_needs_a_known_kind():
    with pytest.raises(UserError, match=r"alignment 'gram' is unknown \(known: l2, l2_gram\)"):
        CodeAlignmentLoss("gram")


# VGG19


def test_layer_names(vgg19):
    kinds = {"conv": "Conv2d", "relu": "ReLU", "pool": "MaxPool2d"}
    assert [kinds[name[:4]] for name in layer_names()] == [type(module).__name__ for module in vgg19.features]
    assert layer_names()[26] == "relu4_4"


def test_features_are_torchvisions(vgg19, vgg19_file):
    found = {}
    hooks = [
        vgg19.features[index].register_forward_hook(
            # torchvision's ReLU writes over its input
            lambda module, inputs, output, name=name: found.__setitem__(name, output.clone())
        )
        for index, name in enumerate(layer_names())
    ]
    x = image()
    vgg19.features(normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for hook in hooks:
        hook.remove()
    layers = ["conv1_2", "relu1_2", "pool2", "conv3_4", "relu4_4", "relu5_4"]
    ours = VGGFeatures(layers, str(vgg19_file))
    result = ours(x)
    assert set(result) == set(layers)
    for layer in layers:
        assert result[layer].std() > 0
        torch.testing.assert_close(result[layer], found[layer], rtol=1e-4, atol=1e-5)
    assert result["relu4_4"].shape == (1, 512, 8, 8)


def test_features_are_frozen_and_no_deeper_than_needed(vgg19_file):
    net = VGGFeatures(["relu1_1", "pool1"], str(vgg19_file))
    assert len(net.features) == 5
    assert not any(p.requires_grad for p in net.parameters())


def test_building_leaves_the_random_state(vgg19_file):
    before = torch.get_rng_state()
    VGGFeatures(["relu1_1"], str(vgg19_file))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("layout", ["full", "prefixed", "bare", "wrapped"])
def test_layouts_of_the_file(vgg19, tmp_path, layout):
    deepest = "features.7."  # conv2_2: files of two blocks are enough for relu2_2
    own = {n: t for n, t in vgg19.state_dict().items() if n.startswith("features.") and n <= deepest + "z"}
    state = {
        "full": {**own, "classifier.0.weight": torch.zeros(1)},
        "prefixed": own,
        "bare": {name.removeprefix("features."): tensor for name, tensor in own.items()},
        "wrapped": {"state_dict": own},
    }[layout]
    torch.save(state, tmp_path / "vgg.pth")
    net = VGGFeatures(["relu2_2"], str(tmp_path / "vgg.pth"))
    assert torch.equal(net.features[7].weight, vgg19.features[7].weight)


def test_missing_file_names_three_places(empty_hub, tmp_path):
    with pytest.raises(UserError) as caught:
        VGGFeatures(["relu4_4"])
    message = str(caught.value)
    assert "\n" not in message
    assert f"'{empty_hub / 'checkpoints' / FILE_NAME}'" in message
    assert f"'{tmp_path / 'here/experiments/pretrained_models' / FILE_NAME}'" in message
    assert "'weights:'" in message
    assert FILE_NAME == "vgg19-dcbb9e9d.pth"


@pytest.mark.parametrize("place", ["hub/checkpoints", "here/experiments/pretrained_models"])
def test_found_in_the_usual_places(empty_hub, vgg19, vgg19_file, tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    os.symlink(vgg19_file, tmp_path / place / FILE_NAME)
    net = VGGFeatures(["relu1_1"])
    assert torch.equal(net.features[0].weight, vgg19.features[0].weight)


def test_named_file_that_is_missing(empty_hub, tmp_path):
    (tmp_path / "vgg18.pth").touch()
    with pytest.raises(UserError, match=r"VGG19 weights '.*vgg19.pth' does not exist \(did you mean 'vgg18.pth'\?\)"):
        VGGFeatures(["relu1_1"], str(tmp_path / "vgg19.pth"))


@pytest.mark.parametrize("wrong", ["other names", "other sizes"])
def test_wrong_file(vgg19, tmp_path, wrong):
    state = {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}
    if wrong == "other names":
        state = {"layer1.weight": torch.zeros(3)}
    else:
        state["features.0.weight"] = torch.zeros(64, 3, 5, 5)
    torch.save(state, tmp_path / "resnet.pth")
    with pytest.raises(UserError, match=r"resnet.pth' is not torchvision's VGG19: features.0.weight is missing or has"):
        VGGFeatures(["relu1_1"], str(tmp_path / "resnet.pth"))


def test_unknown_layer(vgg19_file):
    with pytest.raises(UserError, match=r"VGG19 has no layer 'relu4_5' \(did you mean 'relu"):
        VGGFeatures(["relu4_5"], str(vgg19_file))


def test_perceptual_loss(vgg19, vgg19_file):
    layers = ["relu1_2", "relu3_2"]
    loss = VGG19PerceptualLoss(layers, loss_weight=0.5, weights=str(vgg19_file))
    x, y = image("chelsea", 32), image("coffee", 32)
    assert loss(x, x).item() == 0

    x.requires_grad_(), y.requires_grad_()
    value = loss(x, y)
    of_x, of_y = (normalize(t, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) for t in (x, y))
    expected = 0
    for index in (layer_names().index(layer) for layer in layers):
        expected = expected + (vgg19.features[: index + 1](of_x) - vgg19.features[: index + 1](of_y)).abs().mean()
    assert value.item() == pytest.approx(0.5 * expected.item(), rel=1e-4)
    value.backward()
    assert x.grad.abs().sum() > 0
    assert y.grad is None


def test_perceptual_loss_default_layer(vgg19_file):
    loss = VGG19PerceptualLoss(weights=str(vgg19_file))
    assert loss.vgg.layers == ("relu4_4",)
    assert len(loss.vgg.features) == 27


def test_semantic_loss(vgg19_file):
    loss = SemanticGuidedLoss(loss_weight=0.1, weights=str(vgg19_file))
    x = image("rocket", 32)
    target = loss.vgg(x)["relu4_4"]
    assert target.shape == (1, 512, 4, 4)  # 1/8 of the image, as the code map
    head = torch.randn(1, 512, 4, 4, requires_grad=True)
    x.requires_grad_()
    value = loss(head, x)
    torch.testing.assert_close(value, 0.1 * F.mse_loss(head, target))
    value.backward()
    assert head.grad.abs().sum() > 0
    assert x.grad is None
    assert loss(target, x).item() == 0


# LPIPS


@pytest.mark.parametrize(
    ("net", "files"),
    [
        ("vgg", ["checkpoints/vgg16-397923af.pth", "pyiqa/LPIPS_v0.1_vgg-a78928a0.pth"]),
        ("alex", ["checkpoints/alexnet-owt-7be5be79.pth", "pyiqa/LPIPS_v0.1_alex-df73285e.pth"]),
    ],
)
def test_lpips_without_weights(empty_hub, net, files):
    with pytest.raises(UserError) as caught:
        LPIPSLoss(net)
    assert "\n" not in str(caught.value)
    for file in files:
        assert str(empty_hub / file) in str(caught.value)


def test_lpips_names_only_what_is_missing(empty_hub, lpips_files):
    (empty_hub / "checkpoints").mkdir(parents=True)
    os.symlink(lpips_files / "checkpoints/alexnet-owt-7be5be79.pth", empty_hub / "checkpoints/alexnet-owt-7be5be79.pth")
    with pytest.raises(UserError) as caught:
        LPIPSLoss("alex")
    assert "LPIPS_v0.1_alex-df73285e.pth" in str(caught.value)
    assert "alexnet-owt" not in str(caught.value)


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_lpips(use_hub, lpips_files, net):
    use_hub(lpips_files)
    loss = LPIPSLoss(net, loss_weight=0.5)
    assert not any(p.requires_grad for p in loss.parameters())
    x, y = image("chelsea"), image("coffee")
    assert loss(x, x).item() == pytest.approx(0, abs=1e-6)
    x.requires_grad_()
    value = loss(x, y)
    assert value.dim() == 0
    assert value.item() > 0.01
    value.backward()
    assert x.grad.abs().sum() > 0
    # the mean over a batch, with the weight
    single = loss.lpips(x, y).item()
    assert loss(torch.cat([x, x]), torch.cat([x, y])).item() == pytest.approx(0.5 * single / 2, rel=1e-4)


def test_lpips_unknown_net():
    with pytest.raises(UserError, match=r"LPIPSLoss: net 'vgg19' is unknown \(known: alex, vgg\)"):
        LPIPSLoss("vgg19")


def test_all_are_registered():
    for name in ("CodebookLoss", "CodeAlignmentLoss", "VGG19PerceptualLoss", "SemanticGuidedLoss", "LPIPSLoss"):
        assert name in LOSS_REGISTRY
    assert isinstance(build(LOSS_REGISTRY, {"type": "CodebookLoss", "beta": 0.5}), CodebookLoss)


# SSIMLoss


@pytest.mark.parametrize("size", [(11, 11), (11, 40), (37, 29)])
def test_ssim_against_independent_implementations(size):
    truth = torch.rand(2, 3, *size, dtype=torch.float64)
    image = (truth + 0.2 * torch.randn_like(truth)).clamp(0, 1).requires_grad_()
    loss = SSIMLoss(loss_weight=2.0)(image, truth)
    reference = image.detach().clone().requires_grad_()
    expected = 2 * (1 - pytorch_msssim.ssim(reference, truth, data_range=1))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    gradient, expected_gradient = torch.autograd.grad(loss, image)[0], torch.autograd.grad(expected, reference)[0]
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-8)
    if min(size) > 11:
        by_skimage = [
            structural_similarity(a.numpy(), b.numpy(), channel_axis=0, data_range=1, gaussian_weights=True,
                                  use_sample_covariance=False) for a, b in zip(image.detach(), truth, strict=True)
        ]  # fmt: skip
        assert loss.item() == pytest.approx(2 * (1 - sum(by_skimage) / 2), abs=0.02)  # it averages over the border, too


def test_ssim_of_equal_images_is_one():
    x = image()
    assert SSIMLoss()(x, x).item() == pytest.approx(0, abs=1e-5)


# PSNRLoss


def test_psnr_loss_against_scikit_image():
    truth = torch.rand(3, 3, 12, 17, dtype=torch.float64)
    image = (truth + torch.tensor([0.03, 0.1, 0.4]).view(3, 1, 1, 1) * torch.randn_like(truth)).requires_grad_()
    values = [
        peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1) for a, b in zip(image.detach(), truth, strict=True)
    ]
    loss = PSNRLoss(loss_weight=0.5)(image, truth)
    assert loss.item() == pytest.approx(-0.5 * sum(values) / 3, abs=0.02)
    assert torch.autograd.grad(loss, image)[0].isfinite().all()
    assert PSNRLoss()(truth, truth).item() == pytest.approx(-60)
    assert PSNRLoss(ceiling=30)(truth, truth).item() == pytest.approx(-30)


# VGG16PerceptualLoss


def test_vgg16_loss_is_in_units_of_the_features(tmp_path):
    net = torchvision.models.vgg16(weights=None)
    torch.save(net.state_dict(), tmp_path / "vgg16.pth")
    loss = VGG16PerceptualLoss(layers=["relu1_2", "relu2_1"], loss_weight=3.0, weights=str(tmp_path / "vgg16.pth"))
    prediction, target = torch.rand(2, 1, 3, 32, 32)
    features = [
        net.features[:end].eval()(normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        for end in (4, 7)
        for x in (prediction, target)
    ]
    expected = sum((a - b).abs().mean() / b.abs().mean() for a, b in (features[:2], features[2:])) / 2
    assert loss(prediction, target).item() == pytest.approx(3 * expected.item(), rel=1e-4)


def test_missing_vgg16_weights_are_named(empty_hub):
    with pytest.raises(UserError, match=r"VGG16 weights are missing: put torchvision's 'vgg16-397923af.pth'"):
        VGG16PerceptualLoss()
