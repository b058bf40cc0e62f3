"""AdaCode's training: losses summed over the codebooks, contrast, and what does not go together."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_OPTIONS
from model_experiments import PIXEL, built, experiment, step

from vqcnir_arch.losses import CodeAlignmentLoss, ContrastLoss
from vqcnir_arch.models import VQPriorModel, VQRestorationModel


def save(net, path):
    torch.save({"params": net.state_dict()}, path)
    return str(path)


def test_contrast_loss_is_nt_xent():
    """Against the formula, view by view; the clean images' features have no gradient."""
    ours, clean = torch.randn(3, 5, 2, 4, requires_grad=True), torch.randn(3, 5, 2, 4, requires_grad=True)
    loss = ContrastLoss(temperature=0.5, loss_weight=2.0)(ours, clean)
    views = [*ours, *clean]

    def similarity(a, b):
        return (F.cosine_similarity(a, b, dim=0).mean() / 0.5).exp()

    terms = []
    for i, view in enumerate(views):
        others = sum(similarity(view, other) for j, other in enumerate(views) if j != i)
        terms.append(-(similarity(view, views[(i + 3) % 6]) / others).log())
    assert loss.item() == pytest.approx(2.0 * sum(terms).item() / 6, rel=1e-5)
    loss.backward()
    assert clean.grad is None and ours.grad.abs().max() > 0
    assert ContrastLoss()(ours[:1], clean[:1]).item() == 0  # nothing to tell it from


@pytest.mark.usefixtures("fresh_basicsr_log")
@pytest.mark.parametrize("quantizer", ["NearestCode", "CodePrediction", "VectorRegression"])
def test_losses_of_stage_3(make_tiny, tmp_path, quantizer):
    """Summed over the codebooks, against the frozen network of stage 2; codebook usage is logged by name."""
    prior = make_tiny("AdaCode", stage=2)
    few = {"depth": 1, "num_heads": 4} if quantizer == "CodePrediction" else {}
    network = {"type": "AdaCode", **copy.deepcopy(TINY_OPTIONS["AdaCode"]), "prior": save(prior, tmp_path / "p.pth"),
               "quantizer": {"type": quantizer, **few}}  # fmt: skip
    gram = {"type": "CodeAlignmentLoss", "alignment": "l2_gram"}
    losses = {"pixel_opt": PIXEL, "alignment_opt": gram, "merged_opt": gram, "contrast_opt": {"type": "ContrastLoss"}}
    losses |= {"CodePrediction": {"token_opt": {"type": "TokenCrossEntropyLoss"}},
               "VectorRegression": {"matching_opt": {"type": "FeatureMatchingLoss"}}}.get(quantizer, {})  # fmt: skip
    options = experiment("VQRestorationModel", network, losses)
    options["scale"] = 2
    model = built(options)
    data = {"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 32, 32)}
    with torch.no_grad():
        _, codes = model.net_g(data["lq"], return_codes=True)
        target = prior.encode(data["gt"])
    pairs = list(zip(codes.per_codebook, target.per_codebook, strict=True))
    expected = {
        "l_align": sum(CodeAlignmentLoss("l2_gram")(c.features, t.quantized) for c, t in pairs),
        "l_merged": CodeAlignmentLoss("l2_gram")(codes.merged, target.merged),
        "l_contrast": ContrastLoss()(codes.features, target.features),
    }
    if quantizer == "CodePrediction":
        expected["l_token"] = sum(F.cross_entropy(c.logits, t.indices) for c, t in pairs)
    if quantizer == "VectorRegression":  # supervised by what enters the prior's quantizers
        expected["l_match"] = sum(F.mse_loss(c.output, t.features) for c, t in pairs)
    log = step(model, data=data)
    for name, value in expected.items():
        assert log[name] == pytest.approx(value.item(), rel=1e-4), name
    usage = {"codebook_usage_0", "codebook_usage_1", "perplexity_0", "perplexity_1"}
    assert usage & set(log) == (set() if quantizer == "VectorRegression" else usage)


def test_contradictions():
    network = {"type": "AdaCode", "stage": 2}
    losses = {"pixel_opt": PIXEL, "codebook_opt": {"type": "CodebookLoss"}}
    assert VQPriorModel.contradictions(experiment("VQPriorModel", network, losses)) == []
    found = VQPriorModel.contradictions(experiment("VQPriorModel", network, losses, restart_unused_codes=5))
    assert found == ["train: restart_unused_codes: AdaCode trains no codebook in stage 2"]
    assert "trains a restoration network" in str(
        VQRestorationModel.contradictions(experiment("VQRestorationModel", network, {"pixel_opt": PIXEL}))
    )
    one = {"type": "FeMaSR", "scale": 2, "prior": "x"}
    wrong = experiment("VQRestorationModel", one, {"pixel_opt": PIXEL, "contrast_opt": {"type": "ContrastLoss"}})
    assert VQRestorationModel.contradictions(wrong) == [
        "scale: 1, but network_g enlarges by 2",
        "train: contrast_opt needs several codebooks, FeMaSR has one",
    ]
