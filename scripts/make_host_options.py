"""Write the option files of FeMaSR and AdaCode that follow from others, so that they cannot drift.

    python scripts/make_host_options.py

The x2 files and SinCA's and VR's rows follow from `train_<host>_x4.yml` and `test_<host>_x4.yml`, AdaCode's stage 1
from `femasr/train_femasr_hq.yml`. Run it after every change of those; a test compares
the files with what it would write.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

OPTIONS = Path(__file__).resolve().parents[1] / "options"
HOSTS = {"femasr": "FeMaSR", "adacode": "AdaCode"}
DEPTH = {"femasr": "9", "adacode": "[5, 4, 3, 4, 4]"}
BUDGET = {"femasr": 100_000, "adacode": 160_000}
CATEGORIES = {
    "architecture": 512,
    "indoor_objects": 256,
    "natural_scenes": 512,
    "street_views": 256,
    "portraits": 256,
}
LAYERS = "depth: DEPTH, num_heads: 8, expansion: 2.66, fusion: concat"
CONSTANT_RATE = "  scheduler: {{type: MultiStepLR, milestones: [{}], gamma: 1}}"
MATCHING = "matching_opt: {type: FeatureMatchingLoss, target: hq_feature, loss_weight: 1.0}"
TOKEN = "token_opt: {type: TokenCrossEntropyLoss, loss_weight: 1.0}"


class Row(NamedTuple):
    """One row: what it is, and the lines of `network_g` and the loss in which it differs from the retrained host."""

    what: str
    quantizer: str | None = None
    feature_fusion: str | None = None
    loss: str | None = None
    more_losses: str = ""
    what_at_x2: str | None = None
    scales: tuple[int, ...] = (2,)
    hosts: tuple[str, ...] = ("femasr", "adacode")


ROWS = {
    "retrain": Row('"{} (re-train)" of SinCA table 1', scales=(2, 4)),
    "sinca": Row(
        '"{} + SinCA" of SinCA table 1',
        f"{{type: SinCA, {LAYERS}}}",
        scales=(2, 4),
        what_at_x2='"{0} + SinCA" of SinCA tables 1 and 4, "{0} (feature)" of table 3',
    ),
    "index": Row(
        '"{} (index)" of SinCA table 3',
        f"{{type: CodePrediction, attention: SinCA, {LAYERS}}}",
        loss=TOKEN,
        more_losses=", the cross-entropy of the codes (appendix B.2)",
    ),
    "self_attention": Row('"{} + SA" of SinCA table 4', f"{{type: SelfAttention, {LAYERS}}}"),
    "cross_attention": Row('"{} + CA" of SinCA table 4', f"{{type: CrossAttention, {LAYERS}}}"),
    "without_fusion": Row(
        "{} retrained without feature fusion, SinCA figure 5", feature_fusion="false", hosts=("femasr",)
    ),
    "vr": Row(
        "{} + VR (its page prints no numbers: reproduces no table row)",
        "{type: VectorRegression, weights: real}",
        loss=MATCHING,
        more_losses=", matching to the prior's unquantised feature (weight 1 is ours)",
        scales=(2, 4),
    ),
}


def replace_once(pattern: str, replacement: str, text: str) -> str:
    """Replace the one line that matches; a base that has changed its layout is an error."""
    text, count = re.subn(pattern, lambda _: replacement, text, flags=re.MULTILINE)
    if count != 1:
        raise SystemExit(f"expected one line '{pattern}', found {count}")
    return text


def headed(header: str, text: str, script: str = Path(__file__).name) -> str:
    """Put a header in the place of the one that stands there."""
    lines = textwrap.wrap(f"{header} Written by scripts/{script}: change the base or the script.", 118)
    return "".join(f"# {line}\n" for line in lines) + re.sub(r"\A(#.*\n)+", "", text)


def read(name: str) -> str:
    return (OPTIONS / name).read_text(encoding="utf-8")


def at_scale(text: str, scale: int) -> str:
    """Turn an option file for x4 into one for another scale."""
    text = text.replace("x4", f"x{scale}").replace("X4", f"X{scale}").replace("--scale 4", f"--scale {scale}")
    return re.sub(r"^( *scale): 4$", rf"\1: {scale}", text, flags=re.MULTILINE)


def render_row(host: str, name: str, row: Row, scale: int) -> str:
    """Return the option file of one row of SinCA or VR."""
    title, budget = HOSTS[host], BUDGET[host]
    text = at_scale(read(f"{host}/train_{host}_x4.yml"), scale)
    text = replace_once(r"^name: \S+$", f"name: {title}_x{scale}_{name}", text)
    text = replace_once(r"^    name: DIV2K_Flickr2K$", "    name: DIV2K", text)
    text = replace_once(r"^    dataroot: \[.*$", "    dataroot: datasets/DIV2K/DIV2K_train_HR", text)
    text = replace_once(r"^    batch_size_per_gpu: 8$", "    batch_size_per_gpu: 16   # on one GPU", text)
    text = replace_once(r"^  total_iter: .*$", f"  total_iter: {budget}", text)
    text = replace_once(
        r"^  scheduler: .*$", f"  scheduler: {{type: MultiStepLR, milestones: [{budget}], gamma: 1}}", text
    )
    for key in ("quantizer", "feature_fusion"):
        if getattr(row, key):
            value = getattr(row, key).replace("DEPTH", DEPTH[host])
            text = replace_once(rf"^  {key}: .*$", f"  {key}: {value}", text)
    if row.loss:
        alignment = re.search(r"^  alignment_opt: .*$", text, flags=re.MULTILINE)[0]
        text = text.replace(alignment, f"{alignment}\n  {row.loss}")
    what = (row.what_at_x2 if scale == 2 else None) or row.what
    header = (
        f"{what.format(title)}, at x{scale}: the host's own losses{row.more_losses}; its rates; SinCA's data and "
        f"budget (section 6.1: DIV2K alone, batch 16, {budget // 1000}k iterations). Otherwise as "
        f"train_{host}_x{scale}.yml, whose comments say what to fill in."
    )
    return headed(header, text)


def render_category(category: str, size: int) -> str:
    """Return the option file of AdaCode's stage 1 for one kind of image."""
    text = read("femasr/train_femasr_hq.yml")
    text = replace_once(r"^name: \S+$", f"name: AdaCode_stage1_{category}", text)
    text = replace_once(r"^    name: DIV2K_Flickr2K$", f"    name: {category}", text)
    text = replace_once(r"^    dataroot: \[.*$", f"    dataroot: datasets/AdaCode/{category}", text)
    text = replace_once(r"^    dataset_enlarge_ratio: .*$", "    dataset_enlarge_ratio: 1", text)
    text = replace_once(r"^  codebook_size: .*$", f"  codebook_size: {size}", text)
    text = replace_once(r"^  code_dim: .*$", "  code_dim: 256", text)
    text = replace_once(r"^  total_iter: .*$", "  total_iter: 73500", text)
    text = replace_once(r"^  scheduler: .*$", CONSTANT_RATE.format(73_500), text)
    text = replace_once(r"^  val_freq: .*$", "  val_freq: 300", text)
    header = (
        f"Stage 1 of AdaCode for {category.replace('_', ' ')}: FeMaSR's HQ recipe on images of this kind alone, "
        f"{size} codes of 256, batch 8 on each of 4 GPUs, 73,500 iterations. Fill in: datasets: train: dataroot, val: "
        "dataroot (portraits: FFHQ). pyiqa needs LPIPS' weights; needs torchvision's vgg19-dcbb9e9d.pth."
    )
    return headed(header, text)


def render_all() -> dict[str, str]:
    """Return all option files, path below `options/` to text."""
    files = {}
    for host in HOSTS:
        for kind in ("train", "test"):
            files[f"{host}/{kind}_{host}_x2.yml"] = at_scale(read(f"{host}/{kind}_{host}_x4.yml"), 2)
        for name, row in ROWS.items():
            for scale in row.scales if host in row.hosts else ():
                files[f"{host}/sinca/train_{host}_x{scale}_{name}.yml"] = render_row(host, name, row, scale)
    for category, size in CATEGORIES.items():
        files[f"adacode/train_adacode_stage1_{category}.yml"] = render_category(category, size)
    return files


def write_files(files: dict[str, str]) -> None:
    """Write option files, path below `options/` to text, and name them."""
    for name, text in files.items():
        path = OPTIONS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    write_files(render_all())
