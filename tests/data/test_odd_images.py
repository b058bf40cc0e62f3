"""Odd and broken images: read as what they show, or refused by name."""

import cv2
import numpy as np
import pytest
import skimage.data
from odd_images import ODD_IMAGES, READABLE, REFUSED, assert_shows, write_odd

from vqcnir_arch import UserError
from vqcnir_arch.data import LOLBlurDataset, SharpImageDataset
from vqcnir_arch.data.files import read_image

PHOTO = skimage.data.chelsea()[:64, :96].copy()


@pytest.mark.parametrize("name", READABLE)
def test_shown(name, tmp_path):
    assert_shows(name, PHOTO, read_image(write_odd(name, PHOTO, tmp_path / "a"))[..., ::-1])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    path = write_odd(name, PHOTO, tmp_path / "a")
    with pytest.raises(UserError, match=f"^image '{path}' cannot be read: .*"):
        read_image(path)


def lolblur(root, phase, **more):
    return LOLBlurDataset({"name": "odd", "phase": phase, "dataroot": str(root), "split": "", **more})


@pytest.mark.parametrize("name", READABLE)
def test_pairs(name, tmp_path):
    """The odd image as input, what it shows as ground truth."""
    path = write_odd(name, PHOTO, tmp_path / "low_blur_noise/0000/0030")
    truth = tmp_path / "high_sharp_scaled/0000/0030.png"
    truth.parent.mkdir(parents=True)
    cv2.imwrite(str(truth), ODD_IMAGES[name].shows(PHOTO)[..., ::-1])
    sample = lolblur(tmp_path, "val")[0]
    assert_shows(name, PHOTO, (sample["lq"].permute(1, 2, 0).numpy() * 255).round())
    assert sample["gt"].shape == sample["lq"].shape
    training = lolblur(tmp_path, "train", gt_size=48)
    if name == "1x1":
        with pytest.raises(UserError, match=r"0030.png' is 1 x 1, smaller than gt_size 48"):
            training[0]
        return
    crop = training[0]
    assert abs(crop["lq"] - crop["gt"]).mean() * 255 <= ODD_IMAGES[name].tolerance
    assert sample["lq_path"] == str(path)


@pytest.mark.parametrize("name", READABLE)
def test_sharp_images(name, tmp_path):
    write_odd(name, PHOTO, tmp_path / "a")
    sample = SharpImageDataset({"name": "odd", "phase": "val", "dataroot": str(tmp_path)})[0]
    assert_shows(name, PHOTO, (sample["gt"].permute(1, 2, 0).numpy() * 255).round())


@pytest.mark.parametrize("name", REFUSED)
def test_data_sets_refuse(name, tmp_path):
    path = write_odd(name, PHOTO, tmp_path / "low_blur_noise/0000/0030")
    for data in (
        lolblur(tmp_path, "test", gt_folder=None),
        SharpImageDataset({"name": "odd", "phase": "val", "dataroot": str(path.parent)}),
        SharpImageDataset({"name": "odd", "phase": "train", "dataroot": str(path.parent), "gt_size": 8}),
    ):
        with pytest.raises(UserError, match=f"^image '{path}' cannot be read: .* bytes"):
            data[0]


def test_sizes_as_shown_must_pair(tmp_path):
    """An input on its side, beside a ground truth that stands: their pixels have the same size, what they show not."""
    content = {"low_blur_noise": ODD_IMAGES["EXIF-rotated PNG"].encode(np.ascontiguousarray(np.rot90(PHOTO, -1)))}
    content["high_sharp_scaled"] = cv2.imencode(".png", PHOTO)[1].tobytes()
    for folder, data in content.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(data)
    with pytest.raises(UserError, match=r"sizes of a pair differ: .*' is 64 x 96, .*' is 96 x 64"):
        lolblur(tmp_path, "val")[0]
