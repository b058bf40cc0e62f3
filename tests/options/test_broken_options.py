"""A hundred ways to break an option file: each gives its line, none a traceback."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest

from vqcnir_arch import UserError
from vqcnir_arch.options import check_options, read_options
from vqcnir_arch.options.unchecked import unchecked_blocks

FOLDER = Path(__file__).parents[2] / "options"
TRAIN, TEST = "vqcnir/train_vqcnir_lolblur.yml", "vqcnir/test_vqcnir_lolblur.yml"


def read(name):
    return read_options(FOLDER / name)


MISSING = object()
COSINE = {"type": "CosineAnnealingRestartLR", "restart_weights": [1], "eta_min": 1e-7}
BROKEN = [
    (TRAIN, "name", MISSING, "name is missing"),
    (TRAIN, "name", "", "name: "),
    (TRAIN, "name", "/srv/photographs", "name: expected a name, or folders and a name ('night/first run'), not a path"),
    (TRAIN, "name", "../../x", "not a path that leads elsewhere, got '../../x'"),
    (TRAIN, "name", "x" * 240, "name: expected at most 200 bytes between two '/'"),
    (TRAIN, "datasets:val:name", "../x", "datasets: val: name: expected a name, or folders and a name"),
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
    (TRAIN, "train:scheduler:milestones", ["2k"], "train: scheduler (MultiStepLR): milestones: 0: "),
    (TRAIN, "train:scheduler:milestones", "10k", "train: scheduler (MultiStepLR): milestones: "),
    (TRAIN, "train:scheduler:restarts", ["1k"], "train: scheduler (MultiStepLR): restarts: 0: "),
    (TRAIN, "train:scheduler", {**COSINE, "periods": ["500k"]}, "(CosineAnnealingRestartLR): periods: 0: "),
    (TRAIN, "train:total_iter", "500k", "train: total_iter: input should be a valid integer"),
    (TRAIN, "train:total_iter", "1.5e-1", "train: total_iter: "),
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
    # no mapping where one belongs, at every depth
    (TRAIN, "train", "long", "train: input should be a valid dict"),
    (TRAIN, "network_g:fusion", "DBCA", "network_g (VQCNIR): fusion: input should be a valid dict"),
    (TRAIN, "network_g:quantizer", [1], "network_g (VQCNIR): quantizer: input should be a valid dict"),
    (TRAIN, "network_g:enhancer:type", MISSING, "network_g: enhancer: expected a block with a 'type'"),
    (TRAIN, "val:metrics", 3, "val: metrics: input should be a valid dict"),
    (TRAIN, "val:metrics", {3: {"type": "calculate_psnr"}}, "val: metrics: 3: input should be a valid string"),
    (TRAIN, "val:metrics:psnr:type", MISSING, "val: metrics: psnr: expected a block with a 'type'"),
    (TRAIN, "train:optim_g", "Adam", "train: optim_g: input should be a valid dict"),
    (TRAIN, "train:optim_g:type", ["Adam"], "train: optim_g: unknown type '['Adam']'"),
    (TRAIN, "train:scheduler", [250000], "train: scheduler: input should be a valid dict"),
    (TRAIN, "train:pixel_opt", "L1Loss", "train: pixel_opt: input should be a valid dict"),
    (TRAIN, "train:alignment_opt", [], "train: alignment_opt: expected a block with a 'type', got []"),
    (TRAIN, "logger:wandb", "on", "logger: wandb: input should be a valid dict"),
    (TRAIN, "dist_params", 3, "dist_params: input should be a valid dict"),
    (TRAIN, "datasets", {3: {}}, "datasets: 3: input should be a valid string"),
    (TRAIN, "path", {3: 4}, "path: "),
    (TRAIN, "model_type", ["VQRestorationModel"], "model_type: input should be a valid string"),
    # wrong values
    (TRAIN, "path:resume_state", 5, "path: resume_state: input should be a valid string, got 5"),
    (TRAIN, "train:total_iter", True, "train: total_iter: expected a number, got True"),
    (TRAIN, "train:ema_decay", math.nan, "train: ema_decay: "),
    (TRAIN, "train:grad_clip", 0, "train: grad_clip: input should be greater than 0"),
    (TRAIN, "train:optim_g:lr", None, "train: optim_g (Adam): lr: "),
    (TRAIN, "train:optim_g:betas", [0.9], "train: optim_g (Adam): betas"),
    (TRAIN, "train:optim_g:betas", [0.9, "high"], "train: optim_g (Adam): betas: 1: "),
    (TRAIN, "datasets:train:use_rot", "maybe", "datasets: train: use_rot: "),
    (TRAIN, "datasets:val:every_nth", 2.5, "datasets: val: every_nth: "),
    (TRAIN, "network_g:channels", 64, "network_g (VQCNIR): channels: "),
    (TRAIN, "network_d:num_feat", "many", "network_d (UNetDiscriminatorSN): num_feat: "),
    (TRAIN, "network_d:type", "UNetDiscriminator", "did you mean 'UNetDiscriminatorSN'?"),
    (TRAIN, "network_teacher", {"type": "VQGANPrior", "chanels": [8]}, "network_teacher (VQGANPrior): unknown option"),
    (TRAIN, "network_x", "VQCNIR", "network_x: expected a block with a 'type', got 'VQCNIR'"),
    (TRAIN, "logger:keep_last", 0, "logger: keep_last: "),
    # what cannot go together
    (TRAIN, "datasets:test", {"type": "LOLBlurDataset", "name": "x", "dataroot": "x"}, "a training takes train"),
    (TRAIN, "datasets:train:prefetch_mode", "cuda", "prefetch_mode: cuda needs "),
    (TRAIN, "logger:wandb", {"project": "x"}, "logger: wandb: the package is not installed"),
    (TRAIN, "train:net_d_init_iters", 500000, "network_g would never be updated: total_iter is 500000, net_d_init_i"),
    (TRAIN, "train:net_d_iters", 600000, "network_g would never be updated"),
    (TRAIN, "train:restart_unused_codes", 100, "restart_unused_codes: VQRestorationModel trains no codebook"),
    (TRAIN, "train:grad_accumulation", 3, "batch_size_per_gpu 8 does not split into 3 equal parts"),
    (TRAIN, "train:scheduler", {**COSINE, "periods": [100]}, "periods end at iteration 100"),
    (TRAIN, "train:scheduler", {**COSINE, "periods": [250000] * 2}, "periods has 2 values, restart_weights has 1"),
    (TRAIN, "train:matching_opt", {"type": "FeatureMatchingLoss"}, "matching_opt does not fit NearestCode"),
    (TRAIN, "network_g:quantizer:type", "CodePrediction", "train: token_opt is missing: CodePrediction learns from"),
    (TRAIN, "val:key_metric", "pnsr", "val: key_metric 'pnsr' is not in val: metrics (did you mean 'psnr'?)"),
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


def ways(values, way=()):
    """Yield the way of keys to everything in an option file."""
    for key in values if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ():
        yield (*way, key)
        yield from ways(values[key], (*way, key))


@pytest.mark.parametrize(
    ("model", "odd"),
    [
        ("VQRestorationModel", 3),
        ("VQRestorationModel", {3: 4}),
        ("VideoRecurrentModel", []),
        ("VideoRecurrentModel", {"type": ["x"]}),
    ],
)
def test_anything_anywhere_is_a_finding_or_fits(model, odd):
    """Whatever stands in the place of whatever: lines, or a file that can be used; never a traceback."""
    content = {**read(TRAIN), "model_type": model}
    refused = 0
    for *sections, key in ways(content):
        broken = copy.deepcopy(content)
        block = broken
        for section in sections:
            block = block[section]
        block[key] = odd
        try:
            unchecked_blocks(check_options(broken, is_train=True))
        except UserError as error:
            assert all(line.strip() for line in str(error).splitlines())
            refused += 1
    assert refused > 70


def test_empty_file_and_wrong_top_level():
    with pytest.raises(UserError) as caught:
        check_options({}, is_train=True)
    for section in ("name", "model_type", "num_gpu", "datasets", "network_g", "path", "train", "logger"):
        assert f"{section} is missing" in str(caught.value)
    with pytest.raises(UserError, match="expected a mapping"):
        check_options([], is_train=True)


@pytest.mark.parametrize("name", ["datasets", "path", "train", "val", "logger"])
def test_section_of_another_shape(name):
    content = {**read(TRAIN), name: 3}
    with pytest.raises(UserError, match=rf"{name}: input should be a valid dict.*got 3"):
        check_options(content, is_train=True)
