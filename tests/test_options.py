"""The option files that belong to the library, and some fifty ways to break one."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml

from vqcnir_arch import UserError
from vqcnir_arch.options import check_options, read_options
from vqcnir_arch.registry import ARCH_REGISTRY, build, lookup, names

FOLDER = Path(__file__).parents[1] / "options"
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yml"))
PARAMETERS = {"VQGANPrior": 12_176_707, "VQCNIR": 47_854_222}
TRAIN, TEST = "vqcnir/train_vqcnir_lolblur.yml", "vqcnir/test_vqcnir_lolblur.yml"


def read(name):
    return read_options(FOLDER / name)


# the files that belong to the library


def test_there_are_files():
    assert {"demo/train_prior.yml", "demo/train_vqcnir.yml", "prior/train_prior.yml", TRAIN, TEST} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_file_is_sound(name):
    content = read(name)
    checked = check_options(content, is_train="train" in content)
    assert json.loads(json.dumps(checked)) == content  # but for tuples in place of lists nothing changes


@pytest.mark.parametrize("name", FILES)
def test_file_says_what_it_reproduces(name):
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    beginning = []
    for line in lines:
        if not line.startswith("#"):
            break
        beginning.append(line.lstrip("# "))
    text = " ".join(beginning)
    assert len(text) > 40
    # a paper's table or figure, a stage of its method, or that there is none
    assert any(word in text for word in ("table", "figure", "Stage", "reproduces no")), text


@pytest.mark.parametrize("name", FILES)
def test_network_builds(name):
    block = read(name)["network_g"]
    block.pop("prior", None)
    with torch.device("meta"):
        net = build(ARCH_REGISTRY, block)
    if not name.startswith(("demo/", "study/", "vqcnir/ablations/")):  # those are other networks by intention
        semantic = sum(p.numel() for n, p in net.named_parameters() if n.startswith("semantic_head."))
        assert sum(p.numel() for p in net.parameters()) - semantic == PARAMETERS[block["type"]]
        assert semantic == (512 * 512 + 512 if block.get("semantic_dim") else 0)


@pytest.mark.parametrize("name", [name for name in FILES if "/train" in name or "finetune" in name])
def test_discriminator_builds(name):
    block = read(name).get("network_d")
    if block:
        with torch.device("meta"):
            build(ARCH_REGISTRY, {**block, "type": lookup(ARCH_REGISTRY, block["type"]).__name__})


def test_names_are_unique():
    found = [(read(name)["name"], "train" in read(name)) for name in FILES]
    assert len(set(found)) == len(found)


def test_stages_fit_together():
    """The prior of the option file for stage II is the result of the one for stage I, of the same sizes."""
    prior, restoration = read("prior/train_prior.yml"), read(TRAIN)
    path = f"experiments/{prior['name']}/models/net_g_latest.pth"
    assert restoration["network_g"]["prior"] == path
    assert restoration["path"]["pretrain_network_d"] == path.replace("net_g", "net_d")
    assert restoration["network_d"] == prior["network_d"]
    for key in ("channels", "codebook_size", "code_dim"):
        assert restoration["network_g"][key] == prior["network_g"][key]
    assert read(TEST)["path"]["pretrain_network_g"] == f"experiments/{restoration['name']}/models/net_g_latest.pth"


def test_demo_stages_fit_together():
    prior, restoration, test = (read(f"demo/{name}.yml") for name in ("train_prior", "train_vqcnir", "test_vqcnir"))
    assert restoration["network_g"]["prior"].endswith(f"experiments/{prior['name']}/models/net_g_latest.pth")
    assert test["path"]["pretrain_network_g"].endswith(f"experiments/{restoration['name']}/models/net_g_latest.pth")
    for key in set(prior["network_g"]) - {"type"}:
        assert restoration["network_g"][key] == prior["network_g"][key]
    for key in set(test["network_g"]):
        assert restoration["network_g"][key] == test["network_g"][key]


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("prior/train_prior.yml", {"pixel": 1, "codebook": 1, "perceptual": 1, "gan": 0.1, "semantic": 0.1}),
        (
            "prior/train_prior_printed_weights.yml",
            {"pixel": 1, "codebook": 1, "perceptual": 1, "gan": 1, "semantic": 0.25},
        ),
        (TRAIN, {"pixel": 1, "alignment": 1, "perceptual": 1, "gan": 0.1}),
    ],
)  # fmt: skip
def test_loss_weights_of_the_paper(name, weights):
    train = read(name)["train"]
    found = {key.removesuffix("_opt"): block["loss_weight"] for key, block in train.items() if key.endswith("_opt")}
    assert found == weights


# numbers


def test_numbers_as_strings_become_numbers():
    """YAML 1.1 reads `1e-4` as a string."""
    content = yaml.safe_load("lr: 1e-4\nbetas: [9e-1, 0.99]")
    assert content == {"lr": "1e-4", "betas": ["9e-1", 0.99]}
    options = read(TRAIN)
    options["train"]["optim_g"].update(content)
    options["train"]["scheduler"].update(milestones=["10", 20], gamma="5e-1")
    options["train"]["ema_decay"] = "9.99e-1"
    options["network_g"]["codebook_size"] = "1024"
    before = copy.deepcopy(options)
    checked = check_options(options, is_train=True)
    assert checked["train"]["optim_g"]["lr"] == 1e-4
    assert list(checked["train"]["optim_g"]["betas"]) == [0.9, 0.99]
    assert checked["train"]["scheduler"]["gamma"] == 0.5
    assert checked["train"]["ema_decay"] == 0.999
    assert checked["network_g"]["codebook_size"] == 1024
    assert options == before  # the given options stay


def test_third_party_classes_are_checked_by_their_signature():
    options = read(TRAIN)
    options["network_d"]["num_feats"] = 3
    with pytest.raises(
        UserError, match=r"network_d \(UNetDiscriminatorSN\): unknown option 'num_feats' \(did you mean"
    ):
        check_options(options, is_train=True)


# ways to break a file

MISSING = object()
BROKEN = [
    (TRAIN, "name", MISSING, "name is missing"),
    (TRAIN, "name", "", "name: "),
    (TRAIN, "model_type", MISSING, "model_type is missing"),
    (TRAIN, "model_type", "VQRestorationModle", "model_type: unknown model type 'VQRestorationModle' (did you mean"),
    (TRAIN, "scale", 0, "scale: input should be greater than 0, got 0"),
    (TRAIN, "num_gpu", MISSING, "num_gpu is missing"),
    (TRAIN, "num_gpu", "all", "num_gpu: "),
    (TRAIN, "num_gpu", 4096, "num_gpu: 4096, but torch sees"),
    (TRAIN, "manual_sed", 0, "unknown option 'manual_sed' (did you mean 'manual_seed'?)"),
    (TRAIN, "manual_seed", "lucky", "manual_seed: "),
    (TRAIN, "datasets", MISSING, "datasets is missing"),
    (TRAIN, "datasets", [], "datasets: "),
    (TRAIN, "datasets:train", MISSING, "datasets: train is missing: training needs it"),
    (TRAIN, "datasets:train", "LOLBlurDataset", "datasets: train: "),
    (TRAIN, "datasets:train:type", MISSING, "datasets: train: expected a block with a 'type'"),
    (
        TRAIN, "datasets:train:type", "LOLBlur",
        "datasets: train: unknown dataset type 'LOLBlur' (did you mean 'LOLBlurDat",
    ),
    (TRAIN, "datasets:train:name", MISSING, "datasets: train: name is missing"),
    (TRAIN, "datasets:train:dataroot", MISSING, "datasets: train: dataroot is missing"),
    (TRAIN, "datasets:train:gt_size", "big", "datasets: train: gt_size: "),
    (TRAIN, "datasets:train:gt_sise", 256, "datasets: train: unknown option 'gt_sise' (did you mean 'gt_size'?)"),
    (TRAIN, "datasets:train:batch_size_per_gpu", 0, "datasets: train: batch_size_per_gpu: "),
    (TRAIN, "datasets:train:prefetch_mode", "gpu", "datasets: train: prefetch_mode: "),
    (TRAIN, "datasets:valid", {"type": "LOLBlurDataset", "name": "x", "dataroot": "x"}, "phase 'valid' is unknown"),
    (TRAIN, "network_g", MISSING, "network_g is missing"),
    (TRAIN, "network_g", "VQCNIR", "network_g: "),
    (TRAIN, "network_g:type", MISSING, "network_g: expected a block with a 'type'"),
    (TRAIN, "network_g:type", "VQCNiR", "network_g: unknown arch type 'VQCNiR' (did you mean 'VQCNIR'?)"),
    (TRAIN, "network_g:chanels", [8, 8], "network_g (VQCNIR): unknown option 'chanels' (did you mean 'channels'?)"),
    (TRAIN, "network_g:code_dim", "wide", "network_g (VQCNIR): code_dim: "),
    (TRAIN, "network_g:quantizer:type", "NearestCod", "network_g: quantizer: unknown quantizer type 'NearestCod' (did"),
    (
        TRAIN, "network_g:enhancer:type", "AIME",
        "network_g: enhancer: unknown enhancer type 'AIME' (did you mean 'AIEM'?)",
    ),
    (TRAIN, "network_g:enhancer:dept", 12, "network_g: enhancer (AIEM): unknown option 'dept' (did you mean 'depth'?)"),
    (TRAIN, "network_g:enhancer:splits", "four", "network_g: enhancer (AIEM): splits: "),
    (TRAIN, "network_g:fusion:type", "DCBA", "network_g: fusion: unknown fusion type 'DCBA' (did you mean 'DBCA'?)"),
    (TRAIN, "network_g:fusion:head", 4, "network_g: fusion (DBCA): unknown option 'head' (did you mean 'heads'?)"),
    (TRAIN, "network_g:fusion:heads", [4, 4, "two", 1], "network_g: fusion (DBCA): heads: "),
    (TRAIN, "network_g:prior", MISSING, "alignment_opt needs the ground truth's codes from a prior's encoder"),
    (TRAIN, "network_d", MISSING, "network_d is missing: train: gan_opt needs it"),
    (TRAIN, "path", MISSING, "path is missing"),
    (
        TRAIN, "path:pretrain_network", "x.pth",
        "path: unknown option 'pretrain_network' (did you mean 'pretrain_network_",
    ),
    (TRAIN, "path:strict_load_g", "perhaps", "path: strict_load_g: "),
    (TRAIN, "train", MISSING, "train is missing: training needs it"),
    (TRAIN, "train:total_iter", MISSING, "train: total_iter is missing"),
    (TRAIN, "train:total_iter", -5, "train: total_iter: input should be greater than 0, got -5"),
    (TRAIN, "train:total_iters", 5, "train: unknown option 'total_iters' (did you mean 'total_iter'?)"),
    (TRAIN, "train:ema_decay", 1.5, "train: ema_decay: "),
    (TRAIN, "train:optim_g", MISSING, "train: optim_g is missing"),
    (TRAIN, "train:optim_g:type", "AdmaW", "train: optim_g: unknown type 'AdmaW' (did you mean 'AdamW'?)"),
    (TRAIN, "train:optim_g:beta", [0.9, 0.99], "train: optim_g (Adam): unknown option 'beta' (did you mean 'betas'?)"),
    (TRAIN, "train:optim_g:lr", "fast", "train: optim_g (Adam): lr: "),
    (TRAIN, "train:optim_g:params", [], "train: optim_g (Adam): unknown option 'params'"),
    (TRAIN, "train:optim_d", MISSING, "train: optim_d is missing: train: gan_opt needs it"),
    (
        TRAIN, "train:scheduler:type", "MultiStep",
        "train: scheduler: unknown type 'MultiStep' (did you mean 'MultiStepLR'?)",
    ),
    (
        TRAIN, "train:scheduler:gama", 0.5,
        "train: scheduler (MultiStepLR): unknown option 'gama' (did you mean 'gamma'?)",
    ),
    (TRAIN, "train:scheduler:milestones", MISSING, "train: scheduler (MultiStepLR): milestones is missing"),
    (TRAIN, "train:pixel_opt:type", "L1Los", "train: pixel_opt: unknown loss type 'L1Los' (did you mean 'L1Loss'?)"),
    (TRAIN, "train:alignment_opt:alignment", "l1", "train: alignment_opt (CodeAlignmentLoss): alignment: "),
    (TRAIN, "train:perceptual_opt:layer", [], "train: perceptual_opt (VGG19PerceptualLoss): unknown option 'layer'"),
    (TRAIN, "train:gan_opt:gan_type", MISSING, "train: gan_opt (GANLoss): gan_type is missing"),
    (TRAIN, "train:semantic_opt", {"type": "SemanticGuidedLoss"}, "VQRestorationModel has no loss 'semantic_opt'"),
    (TRAIN, "val:val_freq", MISSING, "val: val_freq is missing: training needs it"),
    (TRAIN, "val:save_img", MISSING, "val: save_img is missing"),
    (
        TRAIN, "val:metrics:psnr:type", "psrn",
        "val: metrics: psnr: unknown metric type 'psrn' (known: calculate_niqe, calc",
    ),
    (TRAIN, "val:metrics:psnr:crop_border", MISSING, "val: metrics: psnr (calculate_psnr): crop_border is missing"),
    (TRAIN, "val:metrics:psnr", "calculate_psnr", "val: metrics: psnr: "),
    (TRAIN, "logger", MISSING, "logger is missing: training needs it"),
    (TRAIN, "logger:use_tb_logger", MISSING, "logger: use_tb_logger is missing"),
    (TRAIN, "logger:print_frequency", 1, "logger: unknown option 'print_frequency' (did you mean 'print_freq'?)"),
    (TEST, "val", MISSING, "val is missing: a test needs at least save_img"),
    (TEST, "val:metrics:lpips:metric", MISSING, "val: metrics: lpips (calculate_pyiqa): metric is missing"),
    (TEST, "datasets:test:every_nth", 0, "datasets: test: every_nth: "),
    ("prior/train_prior.yml", "network_g:semantic_dim", 0, "set network_g: semantic_dim: 512"),
    ("prior/train_prior.yml", "train:codebook_opt", None, "without it the codebook does not train"),
    ("prior/train_prior.yml", "train:codebook_opt:beta_on", "both", "train: codebook_opt (CodebookLoss): beta_on: "),
    ("prior/train_prior.yml", "datasets:train:random_resise", True, "(did you mean 'random_resize'?)"),
    ("prior/train_prior.yml", "train:perceptual_opt", {"type": "LPIPSLoss", "net": "vgg19"}, "(LPIPSLoss): net: "),
    ("vqcnir/finetune_vqcnir.yml", "path:pretrain_network_g", None, "freeze_prior would freeze random weights"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "place", "value", "expected"), BROKEN, ids=[f"{row[1]} {i}" for i, row in enumerate(BROKEN)]
)
def test_broken(name, place, value, expected):
    options = read(name)
    is_train = "train" in options
    block = options
    *sections, key = place.split(":")
    for section in sections:
        block = block[section]
    if value is MISSING:
        del block[key]
    else:
        block[key] = value
    with pytest.raises(UserError) as caught:
        check_options(options, is_train)
    lines = str(caught.value).splitlines()
    assert [line for line in lines if expected in line], lines
    # what one slip leads to besides: a missing section is missing for its users too
    assert len(lines) <= 2, lines


def test_empty_file_and_wrong_top_level():
    with pytest.raises(UserError) as caught:
        check_options({}, is_train=True)
    for section in ("name", "model_type", "num_gpu", "datasets", "network_g", "path", "train", "logger"):
        assert f"{section} is missing" in str(caught.value)
    with pytest.raises(UserError, match="expected a mapping"):
        check_options([], is_train=True)


def test_duplicate_key_in_a_nested_block(tmp_path):
    (tmp_path / "x.yml").write_text("train:\n  total_iter: 5\n  total_iter: 6\n")
    with pytest.raises(UserError, match=r"line 3: 'total_iter' stands there twice"):
        read_options(tmp_path / "x.yml")


def test_yaml_aliases(tmp_path):
    (tmp_path / "x.yml").write_text("a: &a {x: 1}\nb: *a\n")
    assert read_options(tmp_path / "x.yml") == {"a": {"x": 1}, "b": {"x": 1}}
    (tmp_path / "x.yml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 3}\n")  # BasicSR cannot read merged keys either
    with pytest.raises(UserError, match=r"x\.yml', line 2 is not YAML"):
        read_options(tmp_path / "x.yml")


def test_force_reads_yaml_values(tmp_path):
    (tmp_path / "x.yml").write_text("train: {total_iter: 5, name: a}\nseed: 1\n")
    forced = ["train:total_iter=-3", "train:name=[1, x]", "seed=~"]
    assert read_options(tmp_path / "x.yml", forced) == {"train": {"total_iter": -3, "name": [1, "x"]}, "seed": None}


def test_names_leave_basicsrs_suffix_out():
    assert "UNetDiscriminatorSN" in names(ARCH_REGISTRY)
    assert "UNetDiscriminatorSN_basicsr" not in names(ARCH_REGISTRY)


@pytest.mark.parametrize("name", ["datasets", "path", "train", "val", "logger"])
def test_section_of_another_shape(name):
    content = {**read(TRAIN), name: 3}
    with pytest.raises(UserError, match=rf"{name}: input should be a valid dict.*got 3"):
        check_options(content, is_train=True)
