"""Option files that contradict themselves, and validation: names, images and metrics."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from conftest import write_night_pairs
from model_experiments import (
    ALIGNMENT,
    PIXEL,
    built,
    prior_experiment,
    restoration_experiment,
    step,
    with_gan,
)

from vqcnir_arch import UserError, load_network
from vqcnir_arch.options import check_options

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


def no_semantic_head(options):
    options["train"]["semantic_opt"] = {"type": "SemanticGuidedLoss"}


def change(*keys, to):
    def apply(options):
        block = options
        for key in keys[:-1]:
            block = block[key]
        block[keys[-1]] = copy.deepcopy(to)

    return apply


CONTRADICTIONS = {
    "alignment without prior": (
        restoration_experiment, change("train", "alignment_opt", to=ALIGNMENT), "name network_g: prior"
    ),
    "semantic loss without head": (prior_experiment, no_semantic_head, "network_g: semantic_dim: 512"),
    "gan without discriminator": (
        lambda: with_gan(prior_experiment()), change("network_d", to=None), "network_d is missing"
    ),
    "gan without its optimiser": (
        lambda: with_gan(prior_experiment()), change("train", "optim_d", to=None), "train: optim_d is missing"
    ),
    "a loss of the other stage": (
        restoration_experiment, change("train", "codebook_opt", to={"type": "CodebookLoss"}),
        "VQRestorationModel has no loss 'codebook_opt'",
    ),
    "a misspelt loss": (
        prior_experiment, change("train", "percpetual_opt", to=PIXEL), "did you mean 'perceptual_opt'?",
    ),
    "nothing to freeze": (
        restoration_experiment, change("network_g", "freeze_prior", to=True), "freeze_prior would freeze random weights"
    ),
    "no codebook loss": (prior_experiment, change("train", "codebook_opt", to=None), "codebook does not train"),
    "no loss": (restoration_experiment, change("train", "pixel_opt", to=None), "no loss but a GAN's"),
    "only a gan": (
        lambda: with_gan(restoration_experiment()), change("train", "pixel_opt", to=None), "no loss but a GAN's"
    ),
    "a network without a codebook": (
        restoration_experiment, change("network_g", to={"type": "MSRResNet", "upscale": 2}),
        "VQRestorationModel cannot train MSRResNet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(case):
    make, breaking, expected = CONTRADICTIONS[case]
    options = make()
    check_options(options, is_train=True)
    breaking(options)
    with pytest.raises(UserError) as caught:
        check_options(options, is_train=True)
    assert expected in str(caught.value)
    with pytest.raises(UserError) as caught:
        built(options)
    assert expected in str(caught.value)


@pytest.fixture
def night_root(tmp_path):
    write_night_pairs(tmp_path / "night", "test")
    return tmp_path / "night"


def validated(model, root, current_iter, save_img=True, **dataset):
    block = {"name": "Night", "type": "LOLBlurDataset", "phase": "val", "dataroot": str(root), "scale": 1, **dataset}
    loader = build_dataloader(build_dataset(block), block)
    model.validation(loader, current_iter, None, save_img)
    folder = Path(model.opt["path"]["visualization"])
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def with_validation(options, tmp_path, **metrics):
    options["path"]["visualization"] = str(tmp_path / "visualization")
    options["val"] = {"val_freq": 1, "save_img": True, "suffix": None, "metrics": metrics}
    return options


def test_validation_names_in_training(night_root, tmp_path):
    options = with_validation(restoration_experiment(), tmp_path, psnr={"type": "calculate_psnr", "crop_border": 0})
    model = built(options)
    files = validated(model, night_root, 7)
    assert files == [f"Night/{v}/{f}/{f}_7.png" for v in ("0000", "0001") for f in ("0030", "0031")]
    assert model.best_metric_results["Night"]["psnr"]["iter"] == 7


@pytest.mark.parametrize(("suffix", "ending"), [(None, ""), ("ours", "_ours")])
def test_validation_names_in_test(night_root, tmp_path, suffix, ending):
    options = with_validation(restoration_experiment(), tmp_path)
    options["val"]["suffix"] = suffix
    files = validated(built(options, is_train=False), night_root, "tiny")
    assert files == [f"Night/{v}/{f}{ending}.png" for v in ("0000", "0001") for f in ("0030", "0031")]


def test_validation_image_and_metric(night_root, tmp_path):
    """The file holds the network's output, and the metric is the mean over the frames."""
    options = with_validation(restoration_experiment(), tmp_path, psnr={"type": "calculate_psnr", "crop_border": 0})
    model = built(options, is_train=False)
    validated(model, night_root, "tiny")
    values = []
    for video, frame in (("0000", "0030"), ("0000", "0031"), ("0001", "0030"), ("0001", "0031")):
        lq = cv2.imread(str(night_root / f"test/low_blur_noise/{video}/{frame}.png"))[..., ::-1].copy()
        gt = cv2.imread(str(night_root / f"test/high_sharp_scaled/{video}/{frame}.png")).astype(float)
        with torch.no_grad():
            output = model.net_g(torch.from_numpy(lq).permute(2, 0, 1).float().div(255)[None])[0]
        expected = output.clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()[..., ::-1]
        written = cv2.imread(str(tmp_path / f"visualization/Night/{video}/{frame}.png")).astype(float)
        assert abs(written - expected).max() <= 1
        values.append(10 * np.log10(255**2 / ((written - gt) ** 2).mean()))
    assert model.metric_results["psnr"] == pytest.approx(np.mean(values), rel=1e-6)


def test_validation_without_images(night_root, tmp_path):
    model = built(with_validation(restoration_experiment(), tmp_path), is_train=False)
    assert validated(model, night_root, "tiny", save_img=False) == []


@pytest.mark.parametrize("metric", ["calculate_psnr", "calculate_ssim"])
def test_metric_without_ground_truth(night_root, tmp_path, metric):
    options = with_validation(restoration_experiment(), tmp_path, value={"type": metric, "crop_border": 0})
    with pytest.raises(UserError, match=f"{metric} needs a ground truth, but data set 'Night' has none"):
        validated(built(options, is_train=False), night_root, "tiny", gt_folder=None)


def test_stage_one_validates_on_its_images(night_root, tmp_path):
    options = with_validation(prior_experiment(), tmp_path, psnr={"type": "calculate_psnr", "crop_border": 0})
    block = {
        "name": "sharp", "type": "SharpImageDataset", "phase": "val", "scale": 1,
        "dataroot": str(night_root / "test/high_sharp_scaled"),
    }  # fmt: skip
    model = built(options)
    model.validation(build_dataloader(build_dataset(block), block), 3, None, True)
    assert (tmp_path / "visualization/sharp/0001/0031/0031_3.png").is_file()
    assert model.metric_results["psnr"] > 0


def test_saved_networks(tmp_path):
    options = with_gan(prior_experiment())
    options["train"]["ema_decay"] = 0.9
    options["path"].update(models=str(tmp_path), training_states=str(tmp_path))
    model = built(options)
    step(model)
    model.save(0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.state", "net_d_1.pth", "net_g_1.pth"]
    content = torch.load(tmp_path / "net_g_1.pth", weights_only=True)
    assert set(content) == {"params", "params_ema"}
    loaded = load_network(tmp_path / "net_g_1.pth")
    assert torch.equal(loaded.out_conv.weight, model.net_g_ema.out_conv.weight)
