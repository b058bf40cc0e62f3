"""Which losses and options fit which of VQCNIR's variants."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from ablation_variants import QUANTIZERS, VARIANTS, losses_for

from vqcnir_arch.errors import UserError
from vqcnir_arch.models import VQRestorationModel
from vqcnir_arch.options.check import check_options
from vqcnir_arch.options.read import read_options

FEATURES_ONLY = ("SinCA", "CrossAttention", "SelfAttention", "VectorRegression")
PIXEL, MATCHING, TOKEN = {"type": "L1Loss"}, {"type": "FeatureMatchingLoss"}, {"type": "TokenCrossEntropyLoss"}


def contradictions(quantizer: str | None, **train) -> list[str]:
    network = {"type": "VQCNIR", "prior": "prior.pth", **({"quantizer": {"type": quantizer}} if quantizer else {})}
    return VQRestorationModel.contradictions({"network_g": network, "train": {"pixel_opt": PIXEL, **train}})


def test_losses_that_fit():
    alignment = {"type": "CodeAlignmentLoss", "alignment": "l2_gram"}
    for quantizer in (None, "NearestCode", *FEATURES_ONLY):
        assert contradictions(quantizer, alignment_opt=alignment) == []
    for quantizer in FEATURES_ONLY:
        assert contradictions(quantizer) == []
        assert contradictions(quantizer, matching_opt=MATCHING, alignment_opt=alignment) == []
    assert contradictions("CodePrediction", token_opt=TOKEN, alignment_opt=alignment) == []


@pytest.mark.parametrize(
    ("quantizer", "train", "message"),
    [
        (None, {"matching_opt": MATCHING}, "matching_opt does not fit NearestCode, .* alignment_opt pulls"),
        ("NearestCode", {"matching_opt": MATCHING}, "matching_opt does not fit NearestCode"),
        ("CodePrediction", {"matching_opt": MATCHING, "token_opt": TOKEN}, "matching_opt .*token_opt teaches"),
        ("CodePrediction", {}, "token_opt is missing: CodePrediction learns from nothing else"),
        *((q, {"token_opt": TOKEN}, f"token_opt does not fit {q}, which") for q in ("NearestCode", *FEATURES_ONLY)),
        ("SinCA", {"codebook_opt": {"type": "CodebookLoss"}}, "VQRestorationModel has no loss 'codebook_opt'"),
    ],
)
def test_losses_that_do_not_fit(quantizer, train, message):
    found = contradictions(quantizer, **train)
    assert len(found) == 1 and re.search(message, found[0]), found
    assert "\n" not in found[0]


@pytest.mark.parametrize("loss", ["alignment_opt", "matching_opt", "token_opt"])
def test_loss_without_a_prior(loss):
    quantizer = {"type": "CodePrediction" if loss == "token_opt" else "SinCA"}
    options = {
        "network_g": {"type": "VQCNIR", "quantizer": quantizer},
        "train": {"pixel_opt": PIXEL, loss: {"type": 0}},
    }
    found = VQRestorationModel.contradictions(options)
    assert len(found) == 1 and re.search(f"{loss} needs the ground truth's codes from a prior", found[0])


def test_model_refuses_what_the_check_refuses(make_model):
    with pytest.raises(UserError, match="matching_opt does not fit NearestCode"):
        make_model({}, {"pixel_opt": PIXEL, "matching_opt": MATCHING})


@pytest.mark.parametrize(
    ("quantizer", "given", "expected"),
    [
        ("SinCA", None, "quantized"),
        ("CrossAttention", None, "quantized"),
        ("SelfAttention", None, "quantized"),
        ("VectorRegression", None, "hq_feature"),
        ("SinCA", "hq_feature", "hq_feature"),
        ("VectorRegression", "quantized", "quantized"),
    ],
)
def test_target_of_the_matching(make_model, quantizer, given, expected):
    """Unless the loss says otherwise the target is that of the quantizer's source; both come from the prior alone."""
    matching = {**MATCHING, **({"target": given} if given else {})}
    model = make_model({"quantizer": QUANTIZERS[quantizer]}, {"pixel_opt": PIXEL, "matching_opt": matching})
    assert model.losses["matching_opt"].target == expected
    prior = model.teacher
    with torch.no_grad():
        z = prior.before_quant(prior.encoder(model.gt))
        rows = z.permute(0, 2, 3, 1).flatten(0, 2)
        chosen = prior.quantizer.codebook[torch.cdist(rows, prior.quantizer.codebook).argmin(1)]
        target = z if expected == "hq_feature" else chosen.view(2, 2, 3, -1).permute(0, 3, 1, 2)
        output = model.net_g(model.lq, return_codes=True)[1].output
    _, _, losses = model.generator_forward(model.batch())
    assert losses["l_match"].item() == pytest.approx((output - target).square().mean().item(), rel=1e-3)


@pytest.fixture(scope="module")
def paper_file():
    return read_options("options/vqcnir/train_vqcnir_lolblur.yml")


@pytest.mark.parametrize("name", VARIANTS)
def test_option_file_with_a_variant(paper_file, name):
    options = copy.deepcopy(paper_file)
    options["network_g"].update(copy.deepcopy(VARIANTS[name]))
    train = losses_for(options["network_g"]["quantizer"]["type"])
    options["train"].update({loss: block for loss, block in train.items() if loss != "pixel_opt"})
    check_options(options, is_train=True)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"fusion": {"type": "DBCA", "attention": "printed"}}, "attention"),
        ({"fusion": {"type": "Add", "heads": 2}}, "heads"),
        ({"enhancer": {"type": "SwinBlock", "depth": 2, "index": 1}}, "index"),
        ({"enhancer": {"type": "ResBlok"}}, "did you mean 'ResBlock'"),
        ({"quantizer": {"type": "SinCA", "heads": 4}}, "did you mean 'num_heads'"),
        ({"quantizer": {"type": "VectorRegression", "weights": "soft"}}, "weights"),
        ({"upsample": "cubic"}, "upsample"),
    ],
)
def test_option_file_with_a_mistake(paper_file, network, message):
    options = copy.deepcopy(paper_file)
    options["network_g"].update(network)
    with pytest.raises(UserError, match=message):
        check_options(options, is_train=True)
