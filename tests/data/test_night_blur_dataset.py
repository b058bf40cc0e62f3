"""NightBlurDataset: pairs made on the fly, alone and in a training run."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from conftest import TINY_OPTIONS, scene
from odd_images import READABLE, REFUSED, assert_shows, write_odd
from training_runs import read_logs, train_here

from vqcnir_arch import UserError
from vqcnir_arch.data import NightBlurDataset
from vqcnir_arch.options import read_options
from vqcnir_arch.training.sampling import SampleKey, SeededSamples

OPTION_FILE = Path(__file__).parents[2] / "options/vqcnir/train_vqcnir_nightblur.yml"


@pytest.fixture
def folders(tmp_path):
    for folder, name in (("DIV2K", "chelsea"), ("Flickr2K", "rocket"), ("Flickr2K", "coffee")):
        (tmp_path / folder).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / f"{name}.png"), scene(name, 120, 80)[..., ::-1])
    return [str(tmp_path / "DIV2K"), str(tmp_path / "Flickr2K")]


def options(folders, phase="train", **more):
    made = {"name": "night", "phase": phase, "dataroot": folders, **more}
    return {"gt_size": 48, **made} if phase == "train" else made


def test_training_crops(folders):
    data = NightBlurDataset(options(folders))
    assert data.names == ["DIV2K/chelsea", "Flickr2K/coffee", "Flickr2K/rocket"]
    samples = [data[0] for _ in range(4)]
    assert all(sample[key].shape == (3, 48, 48) for sample in samples for key in ("lq", "gt"))
    assert all(sample["lq"].mean() < sample["gt"].mean() for sample in samples)
    assert not samples[0]["lq"].equal(samples[1]["lq"])
    assert samples[0]["gt_path"].endswith("DIV2K/chelsea.png") and samples[0]["name"] == "DIV2K/chelsea"


def test_training_pair_is_registered_and_turned_alike(folders):
    plain = {
        "no_motion": 1,
        "defocus": 0,
        "lights": [0, 0],
        "shot": [1e-20, 1e-20],
        "exposure": [1, 1],
        "unclip": [0, 0],
    }
    data = NightBlurDataset(options(folders, settings=plain, gt_folder="high_sharp_original"))
    for index in (0, 1, 2, 0, 1):
        sample = data[index]
        assert abs(sample["lq"] - sample["gt"]).max() <= 1.01 / 255


def test_draws_depend_on_seed_epoch_and_position(folders):
    data = SeededSamples(NightBlurDataset(options(folders)))
    key = SampleKey(index=1, seed=7, epoch=2, position=5)
    first = data[key]
    np.random.seed(123)
    assert first["lq"].equal(data[key]["lq"])
    for other in (key._replace(epoch=3), key._replace(position=6), key._replace(seed=8)):
        assert not first["lq"].equal(data[other]["lq"])


def test_validation_pairs_are_fixed(folders):
    first, again = (NightBlurDataset(options(folders, "val", max_images=2)) for _ in range(2))
    assert len(first) == 2 and first[0]["gt"].shape == (3, 80, 120)
    assert first[1]["lq"].equal(again[1]["lq"]) and first[1]["gt"].equal(again[1]["gt"])
    other = NightBlurDataset(options(folders, "val", seed=1))
    assert not first[1]["lq"].equal(other[1]["lq"])


@pytest.mark.parametrize("name", READABLE)
def test_odd_photographs(name, tmp_path):
    image = scene("coffee", 240, 160)  # large enough for JPEG's halved colours to be close
    write_odd(name, image, tmp_path / "odd")
    plain = {"gt_folder": "high_sharp_original", "settings": {"lights": [0, 0], "jpeg_shrink": [1, 1]}}
    gt = NightBlurDataset(options(str(tmp_path), "val", **plain))[0]["gt"]
    assert_shows(name, image, (gt.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


@pytest.mark.parametrize("name", REFUSED)
def test_broken_photographs(name, tmp_path):
    path = write_odd(name, scene("coffee", 48, 32), tmp_path / "odd")
    with pytest.raises(UserError, match=f"image '{path}' cannot be read"):
        NightBlurDataset(options(str(tmp_path), "val"))[0]


def test_bad_options(folders):
    cases = [
        ({"gt_size": None}, "gt_size is missing"),
        ({"recipe": "lolbur"}, "recipe: input should be 'lolblur' or 'real-night'"),
        ({"settings": {"exposre": 1}}, "settings has no option 'exposre' .*'exposure'"),
        ({"settings": {"exposure": [0.2, 0.1]}}, "settings: exposure: value error"),
        ({"lq_folder": "high_sharp_scaled"}, "lq_folder: input should be"),
    ]
    for more, expected in cases:
        with pytest.raises(UserError, match=expected):
            NightBlurDataset(options(folders, **more))
    with pytest.raises(UserError, match="smaller than gt_size 81"):
        NightBlurDataset(options(folders, gt_size=81))[0]


def test_option_file_trains(folders, tmp_path):
    """A few iterations of options/vqcnir/train_vqcnir_nightblur.yml with a tiny network and without VGG's weights."""
    made = read_options(OPTION_FILE)
    made.update(name="night", num_gpu=0)
    made["network_g"] = {"type": "VQCNIR", **TINY_OPTIONS["VQCNIR"]}
    made["network_d"]["num_feat"] = 4
    made["path"]["pretrain_network_d"] = None
    train, val = made["datasets"]["train"], made["datasets"]["val"]
    train.update(dataroot=folders, gt_size=48, num_worker_per_gpu=0, batch_size_per_gpu=2)
    val.update(dataroot=folders[0])
    del made["train"]["perceptual_opt"], made["train"]["alignment_opt"]
    made["train"]["total_iter"] = 3
    made["val"].update(val_freq=3, save_img=False)
    made["logger"].update(print_freq=1, use_tb_logger=False)
    log = train_here(yaml.safe_load(yaml.safe_dump(made)), tmp_path)
    assert "made by recipe lolblur from 3 of 3 images" in log and "iter:       3" in log
    assert "Validation night_blur_valid" in read_logs(tmp_path, "night")
    weights = torch.load(tmp_path / "experiments/night/models/net_g_latest.pth")["params"]
    assert all(tensor.isfinite().all() for tensor in weights.values() if tensor.is_floating_point())
    shutil.rmtree(tmp_path / "experiments")
