"""The published networks' outputs, codes, inner features and gradients, from weights that a fixed recipe gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_fill import golden_input

from vqcnir_arch.archs.published.layout import published_names

OUTPUT_TOLERANCE = 1e-4  # share of the output's standard deviation
GRADIENT_TOLERANCE = 1e-3  # relative error of a gradient's L2 norm

LQ_CASES = ["lq_forward_64x64", "lq_forward_128x64", "lq_test_70x100", "lq_test_64x64"]
HQ_CASES = ["hq_forward_64x64", "hq_forward_128x64", "hq_test_70x100"]


def error(ours: torch.Tensor, stored: np.ndarray, std: float | None = None) -> float:
    stored = torch.from_numpy(stored)
    assert ours.shape == stored.shape
    return (ours.detach() - stored).abs().max().item() / (std or stored.std().item())


def check_case(net, golden, case):
    source = golden.meta["cases"][case]["input"]
    net.padding = "published" if "_test_" in case else "exact"
    with torch.no_grad():
        image, codes = net(golden_input(source["seed"], source["shape"]), return_codes=True)
    assert error(image, golden.arrays[f"{case}/output"]) < OUTPUT_TOLERANCE
    np.testing.assert_array_equal(codes.indices.numpy(), golden.arrays[f"{case}/indices"][:, 0])
    # without codes of a ground truth the published codebook loss is MSE(z_q, sg z) + 0.25 MSE(sg z_q, z)
    codebook_loss = 1.25 * F.mse_loss(codes.quantized, codes.features).item()
    assert codebook_loss == pytest.approx(golden.meta["cases"][case]["codebook_loss"], rel=1e-5)


@pytest.mark.parametrize("case", LQ_CASES)
def test_vqcnir_image_and_codes(golden_vqcnir, golden, case):
    check_case(golden_vqcnir, golden, case)


@pytest.mark.parametrize("case", HQ_CASES)
def test_prior_image_and_codes(golden_prior, golden, case):
    check_case(golden_prior, golden, case)


INPUT, WHOLE = "input", "output"


def hook_map(net, restoration: bool) -> dict[str, tuple[torch.nn.Module, int | str]]:
    """Stored name of an inner feature: the module at which it is seen, and which of its outputs it is."""
    places = {"enc.in_conv": (net.encoder.in_conv, WHOLE)}
    places |= {f"enc.block{i}": (stage, WHOLE) for i, stage in enumerate(net.encoder.stages)}
    places |= {"before_quant": (net.before_quant, WHOLE), "z_quant": (net.quantizer, 1)}
    places |= {"after_quant": (net.after_quant, WHOLE)}
    places |= {f"decG.{i}": (stage, WHOLE) for i, stage in enumerate(net.generator)}
    if restoration:
        places |= {"enc.block3": (net.enhancer, WHOLE), "aiem.0": (net.enhancer[0], WHOLE)}
        places |= {"aiem.0.IMAC": (net.enhancer[0].ima, WHOLE), "main_decode": (net.out_conv, INPUT)}
        for level in ("8", "4", "2", "1"):
            fusion = net.decoder.fusions[f"f{level}"]
            places[f"dbca.Level_{level}.attn.x_d"] = (fusion.attention, 0)
            places[f"dbca.Level_{level}.attn.x_g"] = (fusion.attention, 1)
            places[f"dbca.Level_{level}.align.warp"] = (fusion.warp, 0)
            places[f"dbca.Level_{level}.align.offset_feat"] = (fusion.warp, 1)
            if level != "8":
                places[f"decD.Level_{level}.up"] = (net.decoder.upsamples[f"f{level}"], WHOLE)
                places[f"decD.Level_{level}"] = (net.decoder.blocks[f"f{level}"], WHOLE)
    return places


def check_inner_features(net, golden, case, restoration):
    places = hook_map(net, restoration)
    stored = {name.removeprefix(f"{case}/") for name in golden.arrays.files if name.startswith(f"{case}/")}
    assert set(places) == stored - {"output", "indices"}, "a stored feature is compared with nothing"
    seen = {}

    def keep(name, part):
        def hook(module, inputs, output):
            seen[name] = {INPUT: inputs[0], WHOLE: output}[part] if isinstance(part, str) else output[part]

        return hook

    handles = [module.register_forward_hook(keep(name, part)) for name, (module, part) in places.items()]
    try:
        source = golden.meta["cases"][case]["input"]
        with torch.no_grad():
            net(golden_input(source["seed"], source["shape"]))
    finally:
        for handle in handles:
            handle.remove()
    errors = {}
    for name, feature in seen.items():
        facts = golden.meta["tensors"][f"{case}/{name}"]
        assert list(feature.shape) == facts["shape"]
        steps = tuple(slice(None, None, step) for step in facts["stride"] or [1])
        errors[name] = error(feature[steps], golden.arrays[f"{case}/{name}"], facts["std"])
    assert set(errors) == set(places)
    assert {name: e for name, e in errors.items() if not e < OUTPUT_TOLERANCE} == {}


def test_vqcnir_inner_features(golden_vqcnir, golden):
    check_inner_features(golden_vqcnir, golden, "lq_forward_64x64", restoration=True)


def test_prior_inner_features(golden_prior, golden):
    check_inner_features(golden_prior, golden, "hq_forward_64x64", restoration=False)


def golden_gt_indices() -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(2).randint(0, 1024, (1, 8, 8)))


def test_decode_indices(golden_vqcnir, golden):
    with torch.no_grad():
        image = golden_vqcnir.decode_indices(golden_gt_indices())
    assert error(image, golden.arrays["lq_decode_indices/output"]) < OUTPUT_TOLERANCE


def gram(features: torch.Tensor) -> torch.Tensor:
    rows = features.flatten(2).transpose(1, 2)
    return rows.transpose(1, 2) @ rows / rows.shape[1]


def check_gradients(net, norms: dict[str, float]):
    wrong = {}
    published = published_names(net)
    trainable = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    assert trainable
    for name, parameter in trainable:
        assert parameter.grad is not None, f"{name} has no gradient"
        expected = norms[published[name]]
        norm = parameter.grad.double().norm().item()
        if norm != pytest.approx(expected, rel=GRADIENT_TOLERANCE, abs=1e-7):
            wrong[name] = (norm, expected)
    assert wrong == {}


def test_vqcnir_training_step(golden_vqcnir, golden):
    facts = golden.meta["train_step"]
    image, codes = golden_vqcnir.train()(golden_input(0, (1, 3, 64, 64)), return_codes=True)
    l1 = F.l1_loss(image, golden_input(1, (1, 3, 64, 64)))
    target = golden_vqcnir.quantizer.codebook[golden_gt_indices()].permute(0, 3, 1, 2).detach()
    codebook_loss = 0.25 * F.mse_loss(codes.features, target) + F.mse_loss(gram(codes.features), gram(target))
    assert l1.item() == pytest.approx(facts["l1"], rel=1e-5)
    assert codebook_loss.item() == pytest.approx(facts["codebook_loss"], rel=1e-5)

    (l1 + codebook_loss).backward()
    assert golden_vqcnir.quantizer.codebook.grad is None
    check_gradients(golden_vqcnir, facts["grad_l2_norm"])
    stored = golden.arrays["train/grad/multiscale_encoder.in_conv.weight"]
    assert error(golden_vqcnir.encoder.in_conv.weight.grad, stored) < GRADIENT_TOLERANCE


def test_prior_training_step(golden_prior, golden):
    facts = golden.meta["train_step_hq"]
    image, codes = golden_prior.train()(golden_input(0, (1, 3, 64, 64)), return_codes=True)
    l1 = F.l1_loss(image, golden_input(1, (1, 3, 64, 64)))
    codebook_loss = F.mse_loss(codes.quantized, codes.features.detach())
    codebook_loss = codebook_loss + 0.25 * F.mse_loss(codes.quantized.detach(), codes.features)
    assert l1.item() == pytest.approx(facts["l1"], rel=1e-5)
    assert codebook_loss.item() == pytest.approx(facts["codebook_loss"], rel=1e-5)

    (l1 + codebook_loss).backward()
    assert golden_prior.quantizer.codebook.grad.abs().sum() > 0
    check_gradients(golden_prior, facts["grad_l2_norm"])
