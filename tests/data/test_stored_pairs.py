"""StoredPairsDataset, and lists of images in the place of folders."""

from __future__ import annotations

import math
import random

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from conftest import scene

from vqcnir_arch import UserError
from vqcnir_arch.data.codes import read_codes
from vqcnir_arch.data.resizing import shrink_pair

NAMES = ("chelsea", "coffee", "rocket")


def write_pairs(root, side=96, scale=2, suffix=""):
    for name in NAMES:
        image = scene(name, side, side)[..., ::-1]
        small = cv2.resize(image, (side // scale, side // scale), interpolation=cv2.INTER_AREA)
        for folder, pixels, ending in (("gt", image, ""), ("lq", small, suffix)):
            (root / folder / "a").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / folder / "a" / f"{name}{ending}.png"), pixels)
    return root


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path)


def dataset(folder, phase="train", scale=2, gt="gt", lq="lq", **more):
    roots = {"dataroot_gt": str(folder / gt), "dataroot_lq": str(folder / lq)}
    train = {"gt_size": 32, "hr_size": 64, "random_resize": True} if phase == "train" else {}
    opt = {"name": "Pairs", "type": "StoredPairsDataset", "phase": phase, "scale": scale, **roots, **train, **more}
    return build_dataset(opt)


def refusal(*arguments, **more):
    with pytest.raises(UserError) as caught:
        dataset(*arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("random_resize", [True, False])
def test_training_sample(folder, random_resize):
    sample = dataset(folder, random_resize=random_resize)[1]
    assert sample["name"] == "a/coffee"
    assert (sample["gt_path"], sample["lq_path"]) == tuple(str(folder / side / "a/coffee.png") for side in ("gt", "lq"))
    for key, side in (("gt", 32), ("lq", 16)):
        assert sample[key].shape == (3, side, side) and sample[key].dtype == torch.float32
    small = torch.nn.functional.avg_pool2d(sample["gt"], 2)  # both show the same place, turned alike
    assert (small - sample["lq"]).abs().mean() < 0.05
    assert (small.flip(-1) - sample["lq"]).abs().mean() > (small - sample["lq"]).abs().mean()


def test_validation_sample_is_whole(folder):
    sample = dataset(folder, phase="val")[0]
    assert sample["gt"].shape == (3, 96, 96) and sample["lq"].shape == (3, 48, 48)
    stored = cv2.imread(str(folder / "lq/a/chelsea.png"))[..., ::-1].astype(np.float32) / 255
    assert np.array_equal(sample["lq"].permute(1, 2, 0).numpy(), stored)


def test_drawn_factors_are_the_published(monkeypatch):
    """512-pixel patches and crops of 256: uniform between 0.5 and 1, for larger images too."""
    import vqcnir_arch.data.resizing as resizing

    sizes = []
    monkeypatch.setattr(resizing, "shrink", lambda image, height, width: sizes.append((height, width)) or image)
    rng = np.random.default_rng(0)
    gt, lq = np.zeros((512, 512, 3), np.float32), np.zeros((128, 128, 3), np.float32)
    for _ in range(4000):
        shrink_pair(gt, lq, 256, 4, rng)
    gts, lqs = np.array(sizes[::2]), np.array(sizes[1::2])
    assert np.array_equal(gts, lqs * 4)
    factors = gts[:, 0] / 512
    assert factors.min() >= 0.5 and factors.max() <= 1
    for share in (0.25, 0.5, 0.75):
        assert np.mean(factors < 0.5 + share / 2) == pytest.approx(share, abs=4 * math.sqrt(0.25 / 4000) + 1 / 128)


def test_larger_images_are_cropped_first(folder, monkeypatch):
    import vqcnir_arch.data.resizing as resizing

    shapes, original = [], resizing.shrink
    monkeypatch.setattr(
        resizing, "shrink", lambda image, *size: shapes.append((image.shape[0], size[0])) or original(image, *size)
    )
    random.seed(0)
    for index in range(3):
        dataset(folder, hr_size=64)[index]
    assert {before for before, _ in shapes[::2]} == {64}  # the images have 96
    assert all(32 <= after <= 64 for _, after in shapes[::2])


def test_names_of_inputs_by_template(tmp_path):
    write_pairs(tmp_path, suffix="x2")
    assert dataset(tmp_path, filename_tmpl="{}x2")[0]["lq_path"].endswith("chelseax2.png")
    assert "do not pair" in refusal(tmp_path)
    assert "expected one {}" in refusal(tmp_path, filename_tmpl="x2")


def test_what_does_not_fit(folder):
    assert "expected a multiple of scale 2" in refusal(folder, gt_size=33)
    assert "smaller than gt_size" in refusal(folder, hr_size=16)
    assert "has no option 'use_resize_crop'" in refusal(folder, use_resize_crop=True)
    with pytest.raises(UserError, match=r"do not fit scale 4.*48 x 48.*96 x 96"):
        dataset(folder, scale=4)[0]


# lists


@pytest.fixture
def lists(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for side in ("gt", "lq"):
        lines = [f"{side}/a/{name}.png" for name in ("rocket", "chelsea")]
        (folder / f"{side}.txt").write_text("\n".join(lines) + "\n\n")
    return folder


def test_lists_pair_line_by_line(lists):
    data = dataset(lists, gt="gt.txt", lq="lq.txt")
    assert data.names == ["rocket", "chelsea"]
    assert data[0]["lq_path"].endswith("lq/a/rocket.png")


def test_list_for_sharp_images(lists):
    opt = {"name": "Sharp", "type": "SharpImageDataset", "phase": "train", "scale": 1, "gt_size": 32}
    data = build_dataset({**opt, "dataroot": "gt.txt"})
    assert data.names == ["rocket", "chelsea"] and data[0]["gt"].shape == (3, 32, 32)
    assert build_dataset({**opt, "dataroot": ["gt.txt", "lq"]}).names[:2] == ["gt/rocket", "gt/chelsea"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "gt/a/rocket.png\ngt/a/cofee.png\n",
            r"gt\.txt': 1 of 2 images do not exist, first line 2: .*cofee\.png' \(did you mean 'coffee\.png'\?\)",
        ),
        ("gt/a/rocket.png\n\ngt/a/rocket.png\n", r"line 3: .*rocket\.png' has the name of"),
        ("gt/a/rocket\n", r"line 1: expected the path of an image"),
        ("\n", r"is empty"),
        ("gt/a/rocket.png\n", r"1 images and .* 2"),
    ],
)
def test_bad_lists(lists, content, says):
    (lists / "gt.txt").write_text(content)
    with pytest.raises(UserError, match=says):
        dataset(lists, gt="gt.txt", lq="lq.txt")


def test_lists_that_cannot_be(lists):
    assert "did you mean 'gt.txt'" in refusal(lists, gt="gtt.txt", lq="lq.txt")
    assert "one of each" in refusal(lists, gt="gt.txt")
    assert "io_backend: {type: disk}" in refusal(lists, gt="gt.txt", lq="lq.txt", io_backend={"type": "lmdb"})


def test_codes_of_codeformer_are_refused_by_name(tmp_path):
    path = tmp_path / "latent_gt_code1024.pth"
    torch.save({"orig": {}}, path)
    with pytest.raises(UserError, match=r"laid out otherwise; make it: vqcnir data codes FACES -w PRIOR -o FILE"):
        read_codes(str(path), [])
