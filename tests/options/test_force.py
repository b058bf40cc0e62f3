"""`--force_yml` gives a block another type: what the old type alone had falls away, in every kind of block."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqcnir_arch import UserError
from vqcnir_arch.options import check_options, read_options

OPTIONS = Path(__file__).parents[2] / "options"
VQCNIR = OPTIONS / "vqcnir/train_vqcnir_lolblur.yml"
TEST = OPTIONS / "vqcnir/test_vqcnir_lolblur.yml"


@pytest.mark.parametrize(
    ("file", "entries", "place", "expected", "lost"),
    [
        (VQCNIR, ["network_g:quantizer:type=SinCA"], "network_g: quantizer", {"type": "SinCA"}, None),
        (TEST, ["network_g:quantizer:type=SinCA"], "network_g: quantizer", {"type": "SinCA"}, None),
        (VQCNIR, ["network_g:enhancer:type=none"], "network_g: enhancer", {"type": "none", "depth": 12},
         "splits, curve_order"),
        (VQCNIR, ["network_g:enhancer:type=ResBlock"], "network_g: enhancer", {"type": "ResBlock", "depth": 12},
         "splits, curve_order"),
        (VQCNIR, ["network_g:fusion:type=SKFF"], "network_g: fusion", {"type": "SKFF"}, "heads, offset_groups"),
        (VQCNIR, ["network_g:fusion:type=[DBCA, none, none, SKFF]", "network_g:fusion:heads=[4, ~, ~, ~]"],
         "network_g: fusion",
         {"type": ["DBCA", "none", "none", "SKFF"], "heads": [4, None, None, None], "offset_groups": 4}, None),
        (VQCNIR, ["network_g:quantizer:depth=3", "network_g:quantizer:type=SinCA"], "network_g: quantizer",
         {"type": "SinCA", "depth": 3}, None),
        (TEST, ["network_g:type=VQGANPrior"], "network_g",
         {"type": "VQGANPrior", "channels": [64, 128, 256, 256], "codebook_size": 1024, "code_dim": 512,
          "padding": "published"}, "quantizer, enhancer, fusion"),
        (VQCNIR, ["train:pixel_opt:type=SSIMLoss"], "train: pixel_opt", {"type": "SSIMLoss", "loss_weight": 1.0},
         "reduction"),
        (VQCNIR, ["train:perceptual_opt:type=LPIPSLoss"], "train: perceptual_opt",
         {"type": "LPIPSLoss", "loss_weight": 1.0}, "layers, weights"),
        (VQCNIR, ["train:optim_g:type=SGD", "train:optim_g:momentum=0.9"], "train: optim_g",
         {"type": "SGD", "lr": 1e-4, "weight_decay": 0, "momentum": 0.9}, "betas"),
        (VQCNIR, ["train:scheduler:type=CosineAnnealingRestartLR", "train:scheduler:periods=[500000]"],
         "train: scheduler", {"type": "CosineAnnealingRestartLR", "periods": [500000]}, "milestones, gamma"),
        (TEST, ["val:metrics:psnr:type=calculate_pyiqa", "val:metrics:psnr:metric=psnr"], "val: metrics: psnr",
         {"type": "calculate_pyiqa", "metric": "psnr", "crop_border": 0, "test_y_channel": False,
          "better": "higher"}, None),
        (VQCNIR, ["datasets:val:type=SharpImageDataset"], "datasets: val",
         {"name": "LOLBlur_every_60th", "type": "SharpImageDataset", "dataroot": "datasets/LOLBlur"},
         "split, lq_folder, gt_folder, every_nth"),
        (TEST, ["datasets:test:type=PairedImageDataset"], "datasets: test",
         {"name": "LOLBlur", "type": "PairedImageDataset", "dataroot": "datasets/LOLBlur", "split": "test",
          "lq_folder": "low_blur_noise", "gt_folder": "high_sharp_scaled"}, None),
    ],
)  # fmt: skip
def test_another_type(file, entries, place, expected, lost):
    notes = []
    options = read_options(file, entries, notes)
    block = options
    for key in place.split(": "):
        block = block[key]
    assert block == expected
    assert len(notes) == (lost is not None)
    if lost:
        (note,) = notes
        assert note.startswith(f"{place}: {expected['type']} in place of ") and note.endswith(f"{lost}: left out")
    found = check_options(options, is_train=file == VQCNIR)
    assert found["network_g"]["type"] == options["network_g"]["type"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["network_g:fusion:type=SKFF", "network_g:fusion:heads=2"], r"fusion \(SKFF\): unknown option 'heads'"),
        (["network_g:fusion:heds=2", "network_g:fusion:type=CrossAttention"], "'heds'.*did you mean 'heads'"),
        (["network_g:fusion:type=SKF"], "unknown fusion type 'SKF'.*did you mean 'SKFF'"),
        (["network_g:fusion:heds=2"], "there is no option 'heds' in the file.*did you mean 'heads'"),
        (["network_g:enhancer:from=x.pth"], "there is no option 'from' in the file"),
        (["network_g:quantizer:type=CodePrediction"], "token_opt is missing: CodePrediction learns from nothing else"),
    ],
)
def test_what_stays_wrong(entries, message):
    with pytest.raises(UserError, match=message):
        check_options(read_options(VQCNIR, entries), is_train=True)


def test_same_type_loses_nothing():
    notes = []
    assert read_options(VQCNIR, ["network_g:fusion:type=DBCA"], notes) == read_options(VQCNIR) and not notes
