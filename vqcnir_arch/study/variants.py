"""What the study compares: VQCNIR, and networks that differ from it in one block and the losses that go with it."""

from __future__ import annotations

from typing import Any, NamedTuple

Block = dict[str, Any]


class Variant(NamedTuple):
    """One row of the study.

    Attributes:
        group: what is varied: `base`, `quantizer`, `enhancer`, `fusion`, `as printed` or `parts`.
        what: the row in words, with the table of the paper that has it.
        network: blocks of `network_g` in place of the base's.
        losses: blocks of `train` beside the base's.
        trains: False for the prior as stage I left it.
    """

    group: str
    what: str
    network: Block
    losses: Block
    trains: bool = True


BASE = "vqcnir"
TRANSFORMER = {"depth": 3, "num_heads": 4, "expansion": 2.66, "fusion": "concat"}
NO_ENHANCER = {"enhancer": {"type": "none"}}
TOKEN = {"token_opt": {"type": "TokenCrossEntropyLoss", "loss_weight": 1.0}}


def matching(target: str) -> Block:
    """The loss on a continuous quantizer's output."""
    return {"matching_opt": {"type": "FeatureMatchingLoss", "target": target, "loss_weight": 1.0}}


def transformer(kind: str) -> Block:
    """Network and losses of a continuous transformer in VQ's place (SinCA eq. 6)."""
    return {"network": {"quantizer": {"type": kind, **TRANSFORMER}}, "losses": matching("quantized")}


def prediction(attention: str) -> Block:
    """Network and losses of a classifier that chooses the code."""
    quantizer = {"type": "CodePrediction", "attention": attention, **TRANSFORMER}
    return {"network": {"quantizer": quantizer}, "losses": TOKEN}


def regression(weights: str, head: str) -> Block:
    """Network and losses of vector regression."""
    quantizer = {"type": "VectorRegression", "weights": weights, "head": head}
    return {"network": {"quantizer": quantizer}, "losses": matching("hq_feature")}


def enhancer(kind: str, **options: Any) -> Block:
    """Network with as many blocks of another kind as the base has of AIEM."""
    return {"network": {"enhancer": {"type": kind, "depth": 4, **options}}, "losses": {}}


def fusion(kind: str, **options: Any) -> Block:
    """Network with another fusion."""
    return {"network": {"fusion": {"type": kind, **options}}, "losses": {}}


HEADS = {"heads": [4, 4, 2, 1]}
# names as the option files in options/vqcnir/ablations, where these rows stand at paper size
VARIANTS = {
    BASE: Variant("base", "VQCNIR: VQ, AIEM, DBCA (tables 1 and 3)", {}, {}),
    "quantizer_sinca": Variant("quantizer", "SinCA", **transformer("SinCA")),
    "quantizer_cross_attention": Variant("quantizer", "cross-attention", **transformer("CrossAttention")),
    "quantizer_self_attention": Variant("quantizer", "self-attention", **transformer("SelfAttention")),
    "quantizer_code_prediction": Variant("quantizer", "code prediction on SinCA", **prediction("SinCA")),
    "quantizer_code_prediction_self_attention": Variant(
        "quantizer", "code prediction on self-attention", **prediction("SelfAttention")
    ),
    "quantizer_vr_mlp": Variant("quantizer", "VR, head mlp", **regression("real", "mlp")),
    "quantizer_vr_conv": Variant("quantizer", "VR, head conv", **regression("real", "conv")),
    "quantizer_vr_linear": Variant("quantizer", "VR, head linear", **regression("real", "linear")),
    "quantizer_vr_softmax": Variant("quantizer", "VR, softmax weights, head mlp", **regression("softmax", "mlp")),
    "enhancer_resblock": Variant("enhancer", "ResBlock (supplement table 2)", **enhancer("ResBlock")),
    "enhancer_nafblock": Variant("enhancer", "NAFBlock (supplement table 2)", **enhancer("NAFBlock")),
    "enhancer_swinblock": Variant(
        "enhancer",
        "SwinBlock (supplement table 2)",
        **enhancer("SwinBlock", num_heads=4, window=4, mlp_ratio=4.0),
    ),
    "setting2_d_dbca": Variant("enhancer", "none: D and DBCA (table 3, setting 2)", NO_ENHANCER, {}),
    "fusion_add": Variant("fusion", "Add (supplement table 3)", **fusion("Add")),
    "fusion_concat": Variant("fusion", "Concat (supplement table 3)", **fusion("Concat")),
    "fusion_skff": Variant("fusion", "SKFF: D and AIEM (table 3, setting 3; supplement)", **fusion("SKFF")),
    "fusion_cross_attention": Variant(
        "fusion", "cross-attention (supplement table 3)", **fusion("CrossAttention", **HEADS)
    ),
    "fusion_none": Variant("fusion", "none: G in the final sum alone", **fusion("none")),
    "printed_attention": Variant(
        "as printed", "attention of eq. 8-9", **fusion("DBCA", attention="paper", offset_groups=2)
    ),
    "printed_offset": Variant(
        "as printed", "offsets of eq. 12", **fusion("DBCA", **HEADS, offset="paper", offset_groups=2)
    ),
    "printed_upsample": Variant("as printed", "bilinear upsampling in D", {"upsample": "bilinear"}, {}),
    "setting1_d": Variant(
        "parts", "D alone, SKFF, no AIEM (table 3, setting 1)", {**NO_ENHANCER, "fusion": {"type": "SKFF"}}, {}
    ),
    "vqgan": Variant("parts", "VQGAN: the prior as it is (table 3)", {}, {}, trains=False),
}
