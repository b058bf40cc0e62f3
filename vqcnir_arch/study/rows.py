"""The table of rows: every network that a paper sets beside VQCNIR or another host, and those of our own, once each.

`scripts/make_options.py` writes the option files from it, the study trains the rows of base "study", and the tests take
their variants from it. A new row is one entry; a new quantizer's, with `bases=EVERYWHERE`, gives an option file for
every host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Block = dict[str, Any]

BASE = "vqcnir"
"""Row of the study that the others are compared with."""
BOTH = ("study", "vqcnir")
HOSTS = ("femasr_x2", "adacode_x2", "codeformer_stage2", "codeformer_stage3", "daefr")
AT_X4 = ("femasr_x4", "adacode_x4")
"""SinCA's tables 3 and 4 have ×2 alone."""
EVERYWHERE = (*BOTH, *HOSTS, *AT_X4)


@dataclass(frozen=True)
class Row:
    """A network that differs from its base in few blocks.

    Attributes:
        group: what is varied: `base`, `quantizer`, `enhancer`, `fusion`, `as printed` or `parts`.
        what: the row in words.
        network: blocks of `network_g` in place of the base's, at the papers' size.
        losses: blocks of `train` beside the base's, by kind of base: `vqcnir`, `sr` or `faces`; where the kind is
            missing the host's own losses teach it.
        without: losses of the base's `train` that it does not have.
        bases: where it stands: in the `study`, as ablation of `vqcnir`, or as a host's training.
        printed: where papers print it, as `evaluation/papers.yml` has it: "source table: method", {} being the host.
        source: where it comes from, for a row that no table has.
        host_name: its name in a host's option files, where it is another one than here (without `quantizer_`).
        trains: False for the prior as stage I left it.
    """

    group: str
    what: str
    network: Block = field(default_factory=dict)
    losses: dict[str, Block] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    bases: tuple[str, ...] = BOTH
    printed: tuple[str, ...] = ()
    source: str = "in no table"
    host_name: str = ""
    trains: bool = True


TRANSFORMER = {"depth": 9, "num_heads": 8, "expansion": 2.66, "fusion": "concat"}
NO_ENHANCER = {"enhancer": {"type": "none"}}
HEADS = {"heads": [4, 4, 2, 1]}
EQUATION = "eq. 6 of SinCA; VQCNIR is not one of its hosts: reproduces no table row"
VR_PAGE = "its page prints no numbers: reproduces no table row"
TOKEN = {"token_opt": {"type": "TokenCrossEntropyLoss", "loss_weight": 1.0}}


def matching(target: str) -> Block:
    """The loss on a continuous quantizer's output."""
    return {"matching_opt": {"type": "FeatureMatchingLoss", "target": target, "loss_weight": 1.0}}


def quantizer(kind: str, **options: Any) -> Block:
    """What stands in VQ's place."""
    return {"quantizer": {"type": kind, **options}}


def enhancer(kind: str, **options: Any) -> Block:
    """As many blocks of another kind as the base has of AIEM."""
    return {"enhancer": {"type": kind, "depth": 12, **options}}


def fusion(kind: str, **options: Any) -> Block:
    """Another fusion of D and G."""
    return {"fusion": {"type": kind, **options}}


FEATURES = {"vqcnir": matching("quantized"), "faces": matching("quantized")}
"""What teaches SinCA and its rivals: the hosts of super-resolution keep their own losses (SinCA B.1)."""
CODES = {"vqcnir": TOKEN, "sr": TOKEN}
"""What teaches a classifier (SinCA B.2): the faces' own losses contain it."""
REGRESSION = dict.fromkeys(("vqcnir", "sr", "faces"), matching("hq_feature"))

ROWS = {
    BASE: Row(
        "base",
        "VQCNIR: VQ, AIEM, DBCA (tables 1 and 3)",
        bases=("study",),
        printed=(
            "VQCNIR 1: VQCNIR",
            "VQCNIR 2: VQCNIR",
            "VQCNIR 3: VQCNIR",
            "VQCNIR supplement 2: VQCNIR (AIEM)",
            "VQCNIR supplement 3: VQCNIR (DBCA)",
            "LIEDNet LOL-Blur: VQCNIR",
            "LIEDNet Real-LOL-Blur: VQCNIR",
        ),
    ),
    "retrain": Row(
        "base", "re-train", bases=(*HOSTS, *AT_X4), printed=("SinCA 1: {} (re-train)", "SinCA 2: {} (re-train)")
    ),
    "quantizer_sinca": Row(
        "quantizer",
        "SinCA",
        quantizer("SinCA", **TRANSFORMER),
        losses=FEATURES,
        bases=EVERYWHERE,
        printed=("SinCA 1: {} + SinCA", "SinCA 2: {} + SinCA", "SinCA 4: {} + SinCA", "SinCA 3: {} (feature)"),
        source=EQUATION,
    ),
    "quantizer_cross_attention": Row(
        "quantizer",
        "cross-attention",
        quantizer("CrossAttention", **TRANSFORMER),
        losses=FEATURES,
        bases=(*BOTH, *HOSTS),
        printed=("SinCA 4: {} + CA",),
        source=EQUATION,
    ),
    "quantizer_self_attention": Row(
        "quantizer",
        "self-attention",
        quantizer("SelfAttention", **TRANSFORMER),
        losses=FEATURES,
        bases=(*BOTH, *HOSTS),
        printed=("SinCA 4: {} + SA",),
        source=EQUATION,
    ),
    "quantizer_code_prediction": Row(
        "quantizer",
        "code prediction on SinCA",
        quantizer("CodePrediction", attention="SinCA", **TRANSFORMER),
        losses=CODES,
        bases=(*BOTH, *HOSTS),
        printed=("SinCA 3: {} (index)",),
        source="VQCNIR is not one of SinCA's hosts: reproduces no table row",
        host_name="index",
    ),
    "quantizer_code_prediction_self_attention": Row(
        "quantizer",
        "code prediction on self-attention",
        quantizer("CodePrediction", attention="SelfAttention", **TRANSFORMER),
        CODES,
    ),
    "quantizer_vr": Row(
        "quantizer",
        "VR",
        quantizer("VectorRegression", weights="real"),
        REGRESSION,
        bases=("vqcnir", *HOSTS, *AT_X4),
        source=VR_PAGE,
    ),
    "quantizer_vr_feature_alone": Row(
        "quantizer",
        "VR, no alignment to quantised codes, which its page calls no optimal target",
        quantizer("VectorRegression", weights="real"),
        REGRESSION,
        ("alignment_opt",),
        ("vqcnir", *HOSTS, *AT_X4),
        source=VR_PAGE,
    ),
    **{
        f"quantizer_vr_{head}": Row(
            "quantizer",
            f"VR, head {head}",
            quantizer("VectorRegression", weights="real", head=head),
            REGRESSION,
            bases=("study",),
        )
        for head in ("mlp", "conv", "linear")
    },
    "quantizer_vr_softmax": Row(
        "quantizer",
        "VR, softmax weights, head mlp",
        quantizer("VectorRegression", weights="softmax", head="mlp"),
        REGRESSION,
        source="soft assignment, which VR is set against: reproduces no table row",
    ),
    "enhancer_resblock": Row(
        "enhancer", "ResBlock (supplement table 2)", enhancer("ResBlock"), printed=("VQCNIR supplement 2: ResBlock",)
    ),
    "enhancer_nafblock": Row(
        "enhancer", "NAFBlock (supplement table 2)", enhancer("NAFBlock"), printed=("VQCNIR supplement 2: NAFBlock",)
    ),
    "enhancer_swinblock": Row(
        "enhancer",
        "SwinBlock (supplement table 2)",
        enhancer("SwinBlock", num_heads=8, window=8, mlp_ratio=4.0),
        printed=("VQCNIR supplement 2: SwinTransformer",),
    ),
    "setting2_d_dbca": Row(
        "enhancer",
        "none: D and DBCA (table 3, setting 2)",
        NO_ENHANCER,
        printed=("VQCNIR 3: Setting 2 (D, DBCA)",),
    ),
    "fusion_add": Row("fusion", "Add (supplement table 3)", fusion("Add"), printed=("VQCNIR supplement 3: Add",)),
    "fusion_concat": Row(
        "fusion", "Concat (supplement table 3)", fusion("Concat"), printed=("VQCNIR supplement 3: Concat",)
    ),
    "fusion_skff": Row(
        "fusion",
        "SKFF: D and AIEM (table 3, setting 3; supplement)",
        fusion("SKFF"),
        printed=("VQCNIR 3: Setting 3 (D, AIEM)", "VQCNIR supplement 3: SKFF"),
    ),
    "fusion_cross_attention": Row(
        "fusion",
        "cross-attention (supplement table 3)",
        fusion("CrossAttention", **HEADS),
        printed=("VQCNIR supplement 3: Cross-attention",),
    ),
    "fusion_none": Row("fusion", "none: G in the final sum alone", fusion("none")),
    "printed_attention": Row("as printed", "attention of eq. 8-9", fusion("DBCA", attention="paper", offset_groups=4)),
    "printed_offset": Row("as printed", "offsets of eq. 12", fusion("DBCA", **HEADS, offset="paper", offset_groups=4)),
    "printed_upsample": Row(
        "as printed", "bilinear upsampling in D", {"upsample": "bilinear"}, source="supplement table 1 prints it"
    ),
    "printed_upsample_d_and_g": Row(
        "as printed",
        "bilinear upsampling in D and G, with a prior trained so",
        {"upsample": "bilinear", "generator_upsample": "bilinear"},
        bases=("vqcnir",),
        source="supplement table 1 prints it",
    ),
    "setting1_d": Row(
        "parts",
        "D alone, SKFF, no AIEM (table 3, setting 1)",
        {**NO_ENHANCER, **fusion("SKFF")},
        printed=("VQCNIR 3: Setting 1 (D)",),
    ),
    "without_fusion": Row(
        "parts", "without feature fusion", {"feature_fusion": False}, bases=("femasr_x2",), source="SinCA figure 5"
    ),
    "vqgan": Row(
        "parts", "VQGAN: the prior as it is (table 3)", bases=("study",), printed=("VQCNIR 3: VQGAN",), trains=False
    ),
}


def rows_of(base: str) -> dict[str, Row]:
    """Return the rows that stand at a base, in the table's order, by the names that they have there."""
    return {
        name if base in BOTH else row.host_name or name.removeprefix("quantizer_"): row
        for name, row in ROWS.items()
        if base in row.bases
    }


def option_file(base: str, name: str) -> str:
    """Return the option file, below `options/`, of a row by the name that it has at a base other than `study`."""
    if base == "vqcnir":
        return f"vqcnir/ablations/{name}.yml"
    return f"{base.split('_')[0]}/sinca/train_{base}_{name}.yml"


def resized(network: Block, sizes: dict[str, Block]) -> Block:
    """Return a row's network at another size.

    Args:
        network: blocks of `network_g`.
        sizes: for each block, values of options; they replace those that the block names.
    """
    made = dict(network)
    for name, values in sizes.items():
        if name in network:
            made[name] = {**network[name], **{key: value for key, value in values.items() if key in network[name]}}
    return made
