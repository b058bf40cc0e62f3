"""Write every option file that follows from others, so that none can drift.

    python scripts/make_options.py

The rows are those of `vqcnir_arch/study/rows.py`, the printed values those of `vqcnir_arch/evaluation/papers.yml`. Run
it after every change of these or of an option file that others follow from; a test compares the files with what this
script would write.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from option_file import OptionFile
from printed_rows import all_numbers, places, printed

from vqcnir_arch.study.rows import Block, Row, option_file, resized, rows_of

OPTIONS = Path(__file__).resolve().parents[1] / "options"
STAMP = f"Written by scripts/{Path(__file__).name}: change the base, the row or the script."
PRIOR = "prior/train_prior.yml"
AS_BASE = "whose comments say what to fill in."


@dataclass(frozen=True)
class Training:
    """A host's training in SinCA's rows.

    Attributes:
        host: as the papers write it.
        kind: `sr` or `faces`; by it goes which losses a row adds.
        where: the stage or the scale, in words.
        batch: on one GPU (SinCA section 6.1).
        iterations: SinCA's; None: the host's own.
        sizes: options of the row's blocks that this host has otherwise.
        printed: whether the papers' numbers are of this training's result.
    """

    host: str
    kind: str
    where: str
    batch: int
    iterations: int | None = None
    sizes: dict[str, Block] = field(default_factory=dict)
    printed: bool = True


DEPTHS = {"quantizer": {"depth": [5, 4, 3, 4, 4]}}  # of AdaCode's codebooks
TRAININGS = {
    "femasr_x2": Training("FeMaSR", "sr", ", at x2", 16, 100_000),
    "femasr_x4": Training("FeMaSR", "sr", ", at x4", 16, 100_000),
    "adacode_x2": Training("AdaCode", "sr", ", at x2", 16, 160_000, DEPTHS),
    "adacode_x4": Training("AdaCode", "sr", ", at x4", 16, 160_000, DEPTHS),
    "codeformer_stage2": Training("CodeFormer", "faces", ", stage II", 8, printed=False),
    "codeformer_stage3": Training("CodeFormer", "faces", ", stage III", 4),
    "daefr": Training("DAEFR", "faces", "", 8, 200_000),
}
CATEGORIES = {
    "architecture": 512,
    "indoor_objects": 256,
    "natural_scenes": 512,
    "street_views": 256,
    "portraits": 256,
}
"""AdaCode's kinds of images and their codes."""


GAN = ("gan_opt", "adaptive_gan_weight", "gan_start_iter", "optim_d")
WITH_GAN = ("retrain", "sinca")
"""Rows of CodeFormer's stage III that also have a file with its GAN."""


@cache
def parsed(name: str) -> OptionFile:
    return OptionFile((OPTIONS / name).read_text(encoding="utf-8"))


def read(name: str) -> OptionFile:
    """Return an option file that may be changed."""
    return copy.deepcopy(parsed(name))


# --- VQCNIR ----------------------------------------------------------------------------------------------------------


def change(file: OptionFile, network: Block, losses: Block) -> None:
    """Give a training another network and further losses."""
    for block, value in network.items():
        if block in file["network_g"]:
            file[f"network_g.{block}"] = value
        else:
            file.insert("network_g.fusion", block, value)
    for loss, value in losses.items():
        file.insert("train.alignment_opt", loss, value)


def bilinear_prior() -> OptionFile:
    """Return stage I with the upsampling of G that the supplement prints."""
    file = read(PRIOR)
    file["name"] += "_bilinear"
    file.insert("network_g.code_dim", "generator_upsample", "bilinear")
    file.head(
        "Stage I with bilinear upsampling in G, as the VQCNIR supplement's table 1 prints it; the published network "
        "has nearest. For vqcnir/ablations/printed_upsample_d_and_g.yml. Otherwise as train_prior.yml, "
        f"{AS_BASE} {STAMP}"
    )
    return file


def ablation(name: str, row: Row) -> OptionFile:
    """Return VQCNIR's training with one row's blocks."""
    file = read("vqcnir/train_vqcnir_lolblur.yml")
    file["name"] = f"VQCNIR_LOLBlur_{name}"
    change(file, row.network, row.losses.get("vqcnir", {}))
    for loss in row.without:
        del file[f"train.{loss}"]
    if "generator_upsample" in row.network:
        file.replace_in_strings(read(PRIOR)["name"], bilinear_prior()["name"])
    found = printed(row, "VQCNIR")
    if found:
        where = ", ".join(f"{places([each])} ({each.numbers})" for each in found)
        blocks = ", ".join(f"{block} {value['type']}" for block, value in row.network.items())
        what = f"{where}: {blocks}"
    else:
        what = f"VQCNIR, {row.group}: {row.what} ({row.source})"
    file.head(f"{what}; otherwise as train_vqcnir_lolblur.yml, {AS_BASE} {STAMP}")
    return file


def vqgan(row: Row) -> OptionFile:
    """Return the test of stage I's prior, which is given the night images as they are, from VQCNIR's test."""
    file = read("vqcnir/test_vqcnir_lolblur.yml")
    file["name"] = "test_VQGAN_LOLBlur"
    file["network_g.type"] = "VQGANPrior"
    for block in ("quantizer", "enhancer", "fusion"):
        del file[f"network_g.{block}"]
    file.insert("network_g.code_dim", "semantic_dim", 512)
    file.comment("network_g.semantic_dim", "as stage I's file has it; 0 for one without this head")
    file["path.pretrain_network_g"] = read("vqcnir/train_vqcnir_lolblur.yml")["network_g.prior"]
    (found,) = printed(row, "VQCNIR")
    file.head(
        f"{places([found])} ({found.numbers}): the prior as stage I left it, on the night images. This reading is "
        f"ours, the paper says no more of it. Otherwise as test_vqcnir_lolblur.yml, {AS_BASE} {STAMP}"
    )
    return file


# --- hosts -----------------------------------------------------------------------------------------------------------


def at_x2(name: str) -> OptionFile:
    """Return an option file for ×4 as one for ×2."""
    file = read(name)
    for old, new in (("x4", "x2"), ("X4", "X2"), ("--scale 4", "--scale 2")):
        file.replace_in_strings(old, new)
    file["scale"] = file["network_g.scale"] = 2
    return file


def base_of(base: str) -> OptionFile:
    """Return a host's own training."""
    folder = base.split("_")[0]
    return at_x2(f"{folder}/train_{folder}_x4.yml") if base.endswith("_x2") else read(f"{folder}/train_{base}.yml")


def host_row(base: str, name: str, row: Row, with_gan: bool = False) -> OptionFile:
    """Return a host's training with one row's blocks, at SinCA's budget; faces with the host's GAN if so said."""
    training, file = TRAININGS[base], base_of(base)
    file["name"] += f"_{name}"
    file["datasets.train.batch_size_per_gpu"] = training.batch
    file.comment("datasets.train.batch_size_per_gpu", "on one GPU")
    if training.iterations:
        file["train.total_iter"] = training.iterations
        file["train.scheduler.milestones"] = [training.iterations]
    losses = row.losses.get(training.kind, {})
    change(file, resized(row.network, training.sizes), losses)
    for loss in row.without:
        del file[f"train.{loss}"]
    found = printed(row, training.host, base[-2:] if training.kind == "sr" else "")
    what = (places(found) or f"{training.host}, {row.what} ({row.source})") + training.where
    if with_gan:
        file["name"] += "_gan"
        what = f"{training.host}, {row.what}{training.where}, with CodeFormer's GAN (ours: reproduces no table row)"
    budget = f"batch {training.batch}, " + (
        f"{training.iterations // 1000}k iterations" if training.iterations else "the host's iterations"
    )
    words = (
        super_resolution(file, row, losses, budget)
        if training.kind == "sr"
        else faces(file, name, losses, budget, with_gan)
    )
    result = all_numbers(found) if training.printed and not with_gan else ""
    file.head(f"{what}: {words} Otherwise as train_{base}.yml, {AS_BASE}{result} {STAMP}")
    return file


def super_resolution(file: OptionFile, row: Row, losses: Block, budget: str) -> str:
    """Change what SinCA has otherwise than FeMaSR and AdaCode; return it in words."""
    file["datasets.train.name"] = "DIV2K"
    file["datasets.train.dataroot"] = "datasets/DIV2K/DIV2K_train_HR"
    file["datasets.val.name"] = "DIV2K_valid"
    file["datasets.val.dataroot"] = "datasets/DIV2K/DIV2K_valid_HR"
    if "max_images" not in file["datasets.val"]:
        file.insert("datasets.val.variant", "max_images", 10)
    file["datasets.train.dataset_enlarge_ratio"] = 100  # an epoch of 800 photographs is short
    added = {
        "token_opt": ", the cross-entropy of the codes (appendix B.2)",
        "matching_opt": ", matching to the prior's unquantised feature (weight 1 is ours)",
    }
    words = f"the host's own losses{' but the alignment to quantised codes' if row.without else ''}"
    return (
        f"{words}{''.join(added[loss] for loss in losses)}; its rates; SinCA's data and budget (section "
        f"6.1: DIV2K alone, {budget})."
    )


def faces(file: OptionFile, name: str, losses: Block, budget: str, with_gan: bool) -> str:
    """Change what SinCA has otherwise than CodeFormer and DAEFR; return it in words."""
    words = "the host's own losses"
    if file["network_g.type"] == "DAEFR":
        file["train.optim_g.lr"] = 3.6e-5  # its own rule: GPUs x batch x 4.5e-6
    if file["path.pretrain_network_g"]:
        file["path.pretrain_network_g"] = f"experiments/CodeFormer_stage2_{name}/models/net_g_latest.pth"
    if losses:
        is_aligned = "alignment_opt" in file["train"]
        if is_aligned:
            file["train.alignment_opt.loss_weight"] = 1.0
        del file["train.token_opt"]
        words = "feature matching and code alignment 1 : 1 (appendix B.1)"
        if losses["matching_opt"]["target"] == "hq_feature":
            words = "matching to the prior's unquantised feature" + (
                " and code alignment 1 : 1 (the weights are ours)" if is_aligned else " alone (its weight is ours)"
            )
            del file["datasets.train.codes"]  # codes are not what VR is compared with
    if "gan_opt" in file["train"]:
        words += ", L1, perceptual" if losses else ""
        if not with_gan:
            words += "; no GAN in any row, as SinCA names none"
            for path in (*(f"train.{key}" for key in GAN), "path.pretrain_network_d", "network_d"):
                del file[path]
    return f"{words}; the host's rates; SinCA's budget (section 6.1: FFHQ 512, {budget})."


def children(host: str) -> OptionFile:
    """Return the test of a published file on CelebChild-Test, which has no ground truth."""
    file = read(f"{host.lower()}/test_{host.lower()}_celeba.yml")
    file["name"] = f"test_{host}_CelebChild"
    file["datasets.test.name"] = "CelebChild-Test"
    file["datasets.test.type"] = "SingleImageDataset"
    file["datasets.test.dataroot_lq"] = "datasets/CelebChild-Test"
    del file["datasets.test.dataroot_gt"]
    file["val.metrics"] = {"niqe": {"type": "calculate_pyiqa", "metric": "niqe", "better": "lower"}}
    release = Row("base", "release", printed=("SinCA 2: {} (release)",))
    (found,) = printed(release, host, "CelebChild-Test")
    values = ", ".join(f"{measure.upper()} {value.printed}" for measure, value in found.values.items())
    file.head(
        f"Test of {host}'s published file on CelebChild-Test's aligned faces, which have no ground truth: the row "
        f"{places([found])} ({values}): vqcnir test --protocol face --reference SHARP_FACES. "
        f"Fill in: datasets: test, path: pretrain_network_g (published or ours). pyiqa needs NIQE's weights. {STAMP}"
    )
    return file


def category(name: str, size: int) -> OptionFile:
    """Return AdaCode's stage 1 for one kind of image, from FeMaSR's HQ network."""
    file = read("femasr/train_femasr_hq.yml")
    changes: dict[str, Any] = {
        "name": f"AdaCode_stage1_{name}",
        "datasets.train.name": name,
        "datasets.train.dataroot": f"datasets/AdaCode/{name}",
        "datasets.train.dataset_enlarge_ratio": 1,
        "datasets.val.name": f"{name}_valid",
        "datasets.val.dataroot": f"datasets/AdaCode/valid/{name}",
        "network_g.codebook_size": size,
        "network_g.code_dim": 256,
        "train.total_iter": 73_500,
        "train.scheduler.milestones": [73_500],
        "val.val_freq": 300,
    }
    for path, value in changes.items():
        file[path] = value
    file.head(
        f"Stage 1 of AdaCode for {name.replace('_', ' ')}: FeMaSR's HQ recipe on images of this kind alone, "
        f"{size} codes of 256, batch 8 on each of 4 GPUs, 73,500 iterations. Fill in: datasets: train: dataroot, val: "
        "dataroot (images of this kind that are not trained on; portraits: FFHQ). pyiqa needs LPIPS' weights; needs "
        f"torchvision's vgg19-dcbb9e9d.pth. {STAMP}"
    )
    return file


# --- all of them -----------------------------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """Return all option files that follow from others, path below `options/` to text."""
    made = {option_file("vqcnir", name): ablation(name, row) for name, row in rows_of("vqcnir").items()}
    made["prior/train_prior_bilinear.yml"] = bilinear_prior()
    made["vqcnir/test_vqgan_lolblur.yml"] = vqgan(rows_of("study")["vqgan"])
    for host in ("femasr", "adacode"):
        for kind in ("train", "test"):
            made[f"{host}/{kind}_{host}_x2.yml"] = at_x2(f"{host}/{kind}_{host}_x4.yml")
    for base in TRAININGS:
        for name, row in rows_of(base).items():
            made[option_file(base, name)] = host_row(base, name, row)
    stage3 = "codeformer_stage3"
    for name in WITH_GAN:
        made[f"codeformer/sinca/train_{stage3}_{name}_gan.yml"] = host_row(stage3, name, rows_of(stage3)[name], True)
    for host in ("CodeFormer", "DAEFR"):
        made[f"{host.lower()}/test_{host.lower()}_celebchild.yml"] = children(host)
    for name, size in CATEGORIES.items():
        made[f"adacode/train_adacode_stage1_{name}.yml"] = category(name, size)
    return {name: file.write() for name, file in made.items()}


def main() -> None:
    for name, text in files().items():
        path = OPTIONS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
