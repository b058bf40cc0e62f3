"""VQCNIR's quantizers, enhancers and fusions at a small size, alone and as variants of the tiny network."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import TINY_OPTIONS

from vqcnir_arch.study.rows import resized, rows_of

SHALLOW = {"depth": 1, "num_heads": 4}
TINY = {
    "quantizer": SHALLOW,
    "enhancer": {"depth": 1, "num_heads": 2, "window": 2},
    "fusion": {"heads": [2, 2, 1, 1], "offset_groups": 2},
}
ROWS = {name: resized(row.network, TINY) for name, row in rows_of("vqcnir").items() if not row.without}
"""The table's ablations at the tests' size."""


def kinds(block: str) -> dict[str, dict]:
    """The first row of each type that stands in a block."""
    found = {}
    for row in ROWS.values():
        if block in row:
            found.setdefault(row[block]["type"], row[block])
    return found


QUANTIZERS = {"NearestCode": {"type": "NearestCode"}, **kinds("quantizer")}
MORE_QUANTIZERS = {
    "SinCA one head": {"type": "SinCA", "depth": 2, "num_heads": 1, "expansion": 2.0, "fusion": "none"},
    "CodePrediction SelfAttention": ROWS["quantizer_code_prediction_self_attention"]["quantizer"],
    "VectorRegression softmax": {"type": "VectorRegression", "weights": "softmax", "head": "conv", "hidden": 24},
}
ENHANCERS = {"AIEM": {"type": "AIEM", "depth": 1}, **kinds("enhancer")}
ENHANCERS["SwinBlock"]["depth"] = 2  # the second block shifts its windows
FUSIONS = {**kinds("fusion"), "DBCA": {"type": "DBCA", **TINY["fusion"]}}
FUSIONS["SKFF"]["reduction"] = 1  # in four units no value may be negative, and the slope of PReLU is unused
MORE_FUSIONS = {
    "DBCA paper attention": ROWS["printed_attention"]["fusion"],
    "DBCA paper offset": ROWS["printed_offset"]["fusion"],
    "DBCA as printed": {"type": "DBCA", "attention": "paper", "offset": "paper", "offset_groups": 2},
    "CrossAttention paper": {"type": "CrossAttention", "attention": "paper"},
}
VARIANTS = {
    "vqcnir": {
        block: blocks[kind]
        for block, blocks, kind in (
            ("quantizer", QUANTIZERS, "NearestCode"),
            ("enhancer", ENHANCERS, "AIEM"),
            ("fusion", FUSIONS, "DBCA"),
        )
    },
    **ROWS,
    "SinCA one head": {"quantizer": MORE_QUANTIZERS["SinCA one head"]},
    "VectorRegression softmax": {"quantizer": MORE_QUANTIZERS["VectorRegression softmax"]},
    "DBCA as printed": {"fusion": MORE_FUSIONS["DBCA as printed"]},
    "CrossAttention paper": {"fusion": MORE_FUSIONS["CrossAttention paper"]},
}
SMALL = {"channels": [8, 8, 16, 32], "norm_groups": 4, "res_blocks": 1}


def small(make_tiny, randomize=True, quantizer="NearestCode", enhancer="AIEM", fusion="DBCA", **options):
    blocks = {
        "quantizer": {**QUANTIZERS, **MORE_QUANTIZERS}[quantizer],
        "enhancer": ENHANCERS[enhancer],
        "fusion": {**FUSIONS, **MORE_FUSIONS}[fusion],
    }
    return make_tiny("VQCNIR", randomize, **SMALL, **blocks, **options)


def losses_for(quantizer: str) -> dict:
    losses = {"pixel_opt": {"type": "L1Loss"}, "alignment_opt": {"type": "CodeAlignmentLoss"}}
    if quantizer == "CodePrediction":
        losses["token_opt"] = {"type": "TokenCrossEntropyLoss"}
    elif quantizer != "NearestCode":
        losses["matching_opt"] = {"type": "FeatureMatchingLoss"}
    return losses


@pytest.fixture
def make_model(make_tiny, tmp_path):
    """Return a function that builds a `VQRestorationModel` for a variant of the tiny VQCNIR, and its first batch."""

    def make(network: dict, train: dict | None = None):
        as_network = {name: network[name] for name in ("generator_upsample",) if name in network}
        torch.save({"params": make_tiny("VQGANPrior", **as_network).state_dict()}, tmp_path / "prior.pth")
        network = {"type": "VQCNIR", **copy.deepcopy({**TINY_OPTIONS["VQCNIR"], **network})}
        network.update(prior=str(tmp_path / "prior.pth"), freeze_prior=True)
        kind = network.get("quantizer", {}).get("type", "NearestCode")
        options = {
            "model_type": "VQRestorationModel",
            "is_train": True,
            "num_gpu": 0,
            "dist": False,
            "scale": 1,
            "network_g": network,
            "path": {"models": str(tmp_path), "training_states": str(tmp_path)},
            "logger": {"print_freq": 1, "save_checkpoint_freq": 1, "use_tb_logger": False},
            "train": {
                "total_iter": 10,
                "optim_g": {"type": "Adam", "lr": 1e-3},
                "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 0.5},
                **(train or losses_for(kind)),
            },
        }
        from vqcnir_arch.models import VQRestorationModel

        model = VQRestorationModel(options)
        model.feed_data({"lq": torch.rand(2, 3, 16, 24), "gt": torch.rand(2, 3, 16, 24)})
        return model

    return make


def bf16_error(module, *inputs):
    """Return the rms difference between bf16 autocast and float32, in standard deviations of the float32 output."""
    with torch.no_grad():
        expected = module(*inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = module(*inputs)
    return ((low.float() - expected).square().mean().sqrt() / expected.std()).item()
