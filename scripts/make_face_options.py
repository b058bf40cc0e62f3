"""Write the option files of CodeFormer's and DAEFR's rows in SinCA and VR, so that they cannot drift from the hosts'.

    python scripts/make_face_options.py

Run it after every change of `options/codeformer/*.yml` or `options/daefr/*.yml`; a test compares the files with what it
would write.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from make_host_options import headed, read, replace_once, write_files

LAYERS = "depth: 9, num_heads: 8, expansion: 2.66, fusion: concat"
MATCHING = "  matching_opt: {type: FeatureMatchingLoss, target: %s, loss_weight: 1.0}"
ALIGNMENT = "  alignment_opt: {type: CodeAlignmentLoss, alignment: l2, loss_weight: 1.0}"
LOSSES = {
    "quantized": "feature matching and code alignment 1 : 1 (appendix B.1)",
    "hq_feature": "matching to the prior's unquantised feature and code alignment 1 : 1 (the weights are ours)",
}
"""What is said of the losses, by the target of the matching."""
STAGES = {"codeformer_stage2": ("CodeFormer", 8), "codeformer_stage3": ("CodeFormer", 4), "daefr": ("DAEFR", 8)}
"""Name of a base: the host, and SinCA's batch (section 6.1)."""
NUMERALS = {"codeformer_stage2": ", stage II", "codeformer_stage3": ", stage III"}
DAEFR_ITERATIONS = 200_000


class Row(NamedTuple):
    """One row: what it is, its quantizer and what its output is matched with; None is the host's own."""

    what: str
    quantizer: str | None = None
    target: str | None = None


ROWS = {
    "retrain": Row('"{} (re-train)" of SinCA table 2'),
    "sinca": Row(
        '"{0} + SinCA" of SinCA tables 2 and 4, "{0} (feature)" of table 3', f"{{type: SinCA, {LAYERS}}}", "quantized"
    ),
    "index": Row('"{} (index)" of SinCA table 3', f"{{type: CodePrediction, attention: SinCA, {LAYERS}}}"),
    "self_attention": Row('"{} + SA" of SinCA table 4', f"{{type: SelfAttention, {LAYERS}}}", "quantized"),
    "cross_attention": Row('"{} + CA" of SinCA table 4', f"{{type: CrossAttention, {LAYERS}}}", "quantized"),
    "vr": Row(
        "{} + VR (its page prints no numbers: reproduces no table row)",
        "{type: VectorRegression, weights: real}",
        "hq_feature",
    ),
}


def render_row(stage: str, name: str, row: Row) -> str:
    """Return the option file of one row of SinCA or VR."""
    host, batch = STAGES[stage]
    folder = host.lower()
    text = read(f"{folder}/train_{stage}.yml")
    own_name = re.search(r"^name: (\S+)$", text, flags=re.MULTILINE)[1]
    text = replace_once(r"^name: \S+$", f"name: {own_name}_{name}", text)
    text = replace_once(r"^    batch_size_per_gpu: \d+$", f"    batch_size_per_gpu: {batch}   # on one GPU", text)
    budget = f"batch {batch}, the host's iterations"
    if host == "DAEFR":
        budget = f"batch {batch}, {DAEFR_ITERATIONS // 1000}k iterations"
        text = replace_once(r"^  total_iter: .*$", f"  total_iter: {DAEFR_ITERATIONS}", text)
        text = re.sub(r"milestones: \[\d+\]", f"milestones: [{DAEFR_ITERATIONS}]", text)
        text = text.replace("lr: 7.2e-5", "lr: 3.6e-5")  # its own rule: GPUs x batch x 4.5e-6
    text = text.replace("CodeFormer_stage2/models", f"CodeFormer_stage2_{name}/models")
    losses = "the host's own losses"
    if row.quantizer:
        text = replace_once(r"^  quantizer: .*$", f"  quantizer: {row.quantizer}", text)
    if row.target:
        losses = LOSSES[row.target]
        text = replace_once(r"^  alignment_opt: .*$", ALIGNMENT, text)
        text = replace_once(r"^  token_opt: .*$", MATCHING % row.target, text)
        if stage == "codeformer_stage3":
            losses += ", L1, perceptual; no GAN, as SinCA names none: CodeFormer's is off"
            gan = re.search(r"^  gan_opt: (.*)$", text, flags=re.MULTILINE)[1]
            text = replace_once(r"^  gan_opt: .*$", f"  gan_opt: ~   # CodeFormer's: {gan}", text)
            text = replace_once(r"^  adaptive_gan_weight: .*$", "  adaptive_gan_weight: ~   # CodeFormer's: 1.0", text)
            text = replace_once(r"^  gan_start_iter: .*$", "  gan_start_iter: 0   # CodeFormer's: 5001", text)
    if row.target == "hq_feature":
        text = re.sub(r"^    codes: .*\n", "", text, flags=re.MULTILINE)  # codes are not what VR is compared with
    header = (
        f"{row.what.format(host)}{NUMERALS.get(stage, '')}: {losses}; the host's rates; SinCA's budget (section 6.1: "
        f"FFHQ 512, {budget}). Otherwise as train_{stage}.yml, whose comments say what to fill in."
    )
    return headed(header, text, Path(__file__).name)


def render_children(host: str, release: str) -> str:
    """Return the test of a published file on CelebChild-Test, which has no ground truth."""
    text = read(f"{host.lower()}/test_{host.lower()}_celeba.yml")
    text = replace_once(r"^name: \S+$", f"name: test_{host}_CelebChild", text)
    text = replace_once(r"^    name: CelebA-Test$", "    name: CelebChild-Test", text)
    text = replace_once(r"^    type: PairedImageDataset$", "    type: SingleImageDataset", text)
    text = replace_once(r"^    dataroot_gt: .*\n", "", text)
    text = replace_once(r"^    dataroot_lq: .*$", "    dataroot_lq: datasets/CelebChild-Test", text)
    text = re.sub(r"^    (psnr|ssim): .*\n", "", text, flags=re.MULTILINE)
    text = replace_once(r"^    lpips: .*$", "    niqe: {type: calculate_pyiqa, metric: niqe, better: lower}", text)
    header = (
        f"Test of {host}'s published file on CelebChild-Test's aligned faces, which have no ground truth: the row "
        f'"{host} (release)" of SinCA table 2 ({release}): vqcnir test --protocol face --reference SHARP_FACES. '
        "Fill in: datasets: test, path: pretrain_network_g (published or ours). pyiqa needs NIQE's weights."
    )
    return headed(header, text, Path(__file__).name)


def render_all() -> dict[str, str]:
    """Return all option files, path below `options/` to text."""
    files = {}
    for stage, (host, _) in STAGES.items():
        for name, row in ROWS.items():
            files[f"{host.lower()}/sinca/train_{stage}_{name}.yml"] = render_row(stage, name, row)
    files["codeformer/test_codeformer_celebchild.yml"] = render_children("CodeFormer", "FID 116.23, NIQE 4.983")
    files["daefr/test_daefr_celebchild.yml"] = render_children("DAEFR", "FID 105.70, NIQE 4.143")
    return files


if __name__ == "__main__":
    write_files(render_all())
