"""Write options/vqcnir/ablations/*.yml and test_vqgan_lolblur.yml from VQCNIR's option files, so that none can drift.

    python scripts/make_ablation_options.py

Run it after every change of train_vqcnir_lolblur.yml or test_vqcnir_lolblur.yml; a test compares the files with what
this script would write.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from make_host_options import replace_once

FOLDER = Path(__file__).resolve().parents[1] / "options" / "vqcnir"
BASE = FOLDER / "train_vqcnir_lolblur.yml"
TEST = FOLDER / "test_vqcnir_lolblur.yml"
TARGET = FOLDER / "ablations"
VQGAN = FOLDER / "test_vqgan_lolblur.yml"

NO_ENHANCER = "{type: none}"
MATCHING = "matching_opt: {type: FeatureMatchingLoss, target: %s, loss_weight: 1.0}"
QUANTIZED, HQ_FEATURE = (MATCHING % target for target in ("quantized", "hq_feature"))
TOKEN = "token_opt: {type: TokenCrossEntropyLoss, loss_weight: 1.0}"
TRANSFORMER = "depth: 9, num_heads: 8, expansion: 2.66, fusion: concat"


class Row(NamedTuple):
    """One row of a table: what it is, and the blocks of `network_g` and the losses in which it differs."""

    what: str
    quantizer: str | None = None
    enhancer: str | None = None
    fusion: str | None = None
    upsample: str | None = None
    loss: str | None = None


ROWS = {
    "setting1_d": Row(
        "VQCNIR table 3, setting 1: D alone, SKFF and no AIEM", enhancer=NO_ENHANCER, fusion="{type: SKFF}"
    ),
    "setting2_d_dbca": Row("VQCNIR table 3, setting 2: D and DBCA, no AIEM", enhancer=NO_ENHANCER),
    "fusion_skff": Row(
        "VQCNIR table 3, setting 3 (D and AIEM), and supplement table 3, SKFF: one network", fusion="{type: SKFF}"
    ),
    "fusion_add": Row("VQCNIR supplement table 3, Add", fusion="{type: Add}"),
    "fusion_concat": Row("VQCNIR supplement table 3, Concat", fusion="{type: Concat}"),
    "fusion_cross_attention": Row(
        "VQCNIR supplement table 3, cross-attention", fusion="{type: CrossAttention, heads: [4, 4, 2, 1]}"
    ),
    "fusion_none": Row("No fusion: G enters through the final sum alone (in no table)", fusion="{type: none}"),
    "enhancer_resblock": Row("VQCNIR supplement table 2, ResBlock", enhancer="{type: ResBlock, depth: 12}"),
    "enhancer_nafblock": Row("VQCNIR supplement table 2, NAFBlock", enhancer="{type: NAFBlock, depth: 12}"),
    "enhancer_swinblock": Row(
        "VQCNIR supplement table 2, SwinTransformer",
        enhancer="{type: SwinBlock, depth: 12, num_heads: 8, window: 8, mlp_ratio: 4.0}",
    ),
    "printed_attention": Row(
        "DBCA's attention as eq. 8-9 print it (in no table)", fusion="{type: DBCA, attention: paper, offset_groups: 4}"
    ),
    "printed_offset": Row(
        "DBCA's offsets as eq. 12 prints them (in no table)",
        fusion="{type: DBCA, heads: [4, 4, 2, 1], offset: paper, offset_groups: 4}",
    ),
    "printed_upsample": Row("D's upsampling as supplement table 1 prints it (in no table)", upsample="bilinear"),
    "quantizer_sinca": Row(
        "VQCNIR + SinCA, eq. 6 of SinCA (not one of its hosts: reproduces no table row)",
        quantizer=f"{{type: SinCA, {TRANSFORMER}}}",
        loss=QUANTIZED,
    ),
    "quantizer_cross_attention": Row(
        "VQCNIR + CA, eq. 6 of SinCA (not one of its hosts: reproduces no table row)",
        quantizer=f"{{type: CrossAttention, {TRANSFORMER}}}",
        loss=QUANTIZED,
    ),
    "quantizer_self_attention": Row(
        "VQCNIR + SA, eq. 6 of SinCA (not one of its hosts: reproduces no table row)",
        quantizer=f"{{type: SelfAttention, {TRANSFORMER}}}",
        loss=QUANTIZED,
    ),
    "quantizer_code_prediction": Row(
        "VQCNIR + code prediction on SinCA (not one of its hosts: reproduces no table row)",
        quantizer=f"{{type: CodePrediction, attention: SinCA, {TRANSFORMER}}}",
        loss=TOKEN,
    ),
    "quantizer_code_prediction_self_attention": Row(
        "VQCNIR + code prediction on self-attention (reproduces no table row)",
        quantizer=f"{{type: CodePrediction, attention: SelfAttention, {TRANSFORMER}}}",
        loss=TOKEN,
    ),
    "quantizer_vr": Row(
        "VQCNIR + VR (its page prints no numbers: reproduces no table row)",
        quantizer="{type: VectorRegression, weights: real}",
        loss=HQ_FEATURE,
    ),
    "quantizer_vr_softmax": Row(
        "VQCNIR + soft assignment, which VR is set against (reproduces no table row)",
        quantizer="{type: VectorRegression, weights: softmax}",
        loss=HQ_FEATURE,
    ),
}


def render(name: str, row: Row, base: str) -> str:
    """Return the option file of one row."""
    text = re.sub(r"\A(#.*\n)+", "", base)
    text = replace_once(r"^name: \S+$", f"name: VQCNIR_LOLBlur_{name}", text)
    for block in ("quantizer", "enhancer", "fusion"):
        if getattr(row, block):
            text = replace_once(rf"^  {block}: .*$", f"  {block}: {getattr(row, block)}", text)
    if row.upsample:
        fusion = re.search(r"^  fusion: .*$", text, flags=re.MULTILINE)[0]
        text = text.replace(fusion, f"{fusion}\n  upsample: {row.upsample}")
    if row.loss:
        alignment = re.search(r"^  alignment_opt: .*$", text, flags=re.MULTILINE)[0]
        text = text.replace(alignment, f"{alignment}\n  {row.loss}")
    header = (
        f"# {row.what}; otherwise as {BASE.name}, whose\n# comments say what to fill in. "
        f"Written by scripts/{Path(__file__).name}: change the base or the script.\n"
    )
    return header + text


def render_vqgan() -> str:
    """Return the test of stage I's prior, which is given the night images as they are, from VQCNIR's test."""
    text = re.sub(r"\A(#.*\n)+", "", TEST.read_text(encoding="utf-8"))
    text = replace_once(r"^name: \S+$", "name: test_VQGAN_LOLBlur", text)
    text = replace_once(r"^  type: VQCNIR$", "  type: VQGANPrior", text)
    for block in ("quantizer", "enhancer", "fusion"):
        text = replace_once(rf"^  {block}: .*\n", "", text)
    dim = re.search(r"^  code_dim: .*$", text, flags=re.MULTILINE)[0]
    text = text.replace(dim, f"{dim}\n  semantic_dim: 512   # as stage I's file has it; 0 for one without this head")
    prior = re.search(r"^  prior: (\S+)$", BASE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    text = replace_once(r"^  pretrain_network_g: \S+$", f"  pretrain_network_g: {prior}", text)
    header = (
        '# VQCNIR table 3, the row "VQGAN" (10.79 / 0.3028): the prior as stage I left it, on the night images. This\n'
        f"# reading is ours, the paper says no more of it. Otherwise as {TEST.name}, whose comments say\n"
        f"# what to fill in. Written by scripts/{Path(__file__).name}: change the base or the script.\n"
    )
    return header + text


def render_all() -> dict[str, str]:
    """Return the option files of the ablations, file name to text."""
    base = BASE.read_text(encoding="utf-8")
    return {f"{name}.yml": render(name, row, base) for name, row in ROWS.items()}


def main() -> None:
    TARGET.mkdir(exist_ok=True)
    for path, text in {**{TARGET / name: text for name, text in render_all().items()}, VQGAN: render_vqgan()}.items():
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
