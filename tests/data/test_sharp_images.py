"""SharpImageDataset: the photographs of the VQ prior."""

import random

import cv2
import numpy as np
import pytest
import scipy.stats
import skimage.data

from vqcnir_arch import UserError
from vqcnir_arch.data import SharpImageDataset
from vqcnir_arch.data.sharp_image_dataset import random_shrink


@pytest.fixture
def folders(tmp_path):
    for folder, name in (("DIV2K", "chelsea"), ("DIV2K/more", "coffee"), ("Flickr2K", "rocket")):
        (tmp_path / folder).mkdir(exist_ok=True)
        image = getattr(skimage.data, name)()[:120, :200]
        cv2.imwrite(str(tmp_path / folder / f"{name}.png"), image[..., ::-1])
    return [str(tmp_path / "DIV2K"), str(tmp_path / "Flickr2K")]


def test_several_folders_and_whole_images(folders):
    data = SharpImageDataset({"name": "val", "phase": "val", "dataroot": folders})
    assert data.names == ["DIV2K/chelsea", "DIV2K/more/coffee", "Flickr2K/rocket"]
    sample = data[0]
    expected = skimage.data.chelsea()[:120, :200].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(sample["gt"].numpy(), expected, atol=1e-6)
    assert sample["lq"] is sample["gt"] and sample["gt_path"].endswith("DIV2K/chelsea.png")
    one = SharpImageDataset({"name": "val", "phase": "val", "dataroot": folders[0], "max_images": 1})
    assert one.names == ["chelsea"]


def test_training_crops(folders):
    options = {"name": "train", "phase": "train", "dataroot": folders, "gt_size": 48, "random_resize": True}
    data = SharpImageDataset(options)
    crops = [data[0]["gt"] for _ in range(6)]
    assert all(crop.shape == (3, 48, 48) for crop in crops)
    assert any(not crop.equal(crops[0]) for crop in crops[1:])
    plain = {**options, "random_resize": False, "use_hflip": False, "use_rot": False}
    crop = (SharpImageDataset(plain)[0]["gt"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    found = cv2.matchTemplate(skimage.data.chelsea()[:120, :200], crop, cv2.TM_SQDIFF).min()
    assert found < 1000  # an untouched piece of the photograph, up to the rounding of float32 sums of about 1e8


def test_random_shrink_draws_the_published_factors():
    """A 2K photograph keeps half of its resolution or more: the patch is cut before it is shrunk."""
    image = np.zeros((1080, 2040, 3), np.uint8)
    shrunk = [random_shrink(image, 512, 256).shape for _ in range(2000)]
    assert all(height == width for height, width, _ in shrunk)
    factors = np.array([height / 512 for height, _, _ in shrunk])
    assert 0.5 <= factors.min() < 0.51 and 0.99 < factors.max() <= 1
    assert scipy.stats.kstest(factors, scipy.stats.uniform(0.5, 0.5).cdf).pvalue > 0.001


def test_random_shrink_is_a_bicubic_resize_of_a_patch():
    image = skimage.data.rocket()
    random.seed(0)
    shrunk = random_shrink(image, 128, 64)
    random.seed(0)
    top, left = random.randint(0, 427 - 128), random.randint(0, 640 - 128)
    patch = image[top : top + 128, left : left + 128]
    np.testing.assert_array_equal(shrunk, cv2.resize(patch, shrunk.shape[:2], interpolation=cv2.INTER_CUBIC))


def test_random_shrink_of_a_small_image_takes_what_there_is():
    sides = [random_shrink(np.zeros((90, 300, 3), np.uint8), 512, 64).shape[0] for _ in range(200)]
    assert min(sides) < 68 and 86 < max(sides) <= 90


def test_bad_input(folders, tmp_path):
    with pytest.raises(UserError, match="gt_size is missing"):
        SharpImageDataset({"name": "x", "phase": "train", "dataroot": folders})
    with pytest.raises(UserError, match=r"dataroot '.*DIV2' does not exist \(did you mean 'DIV2K'\?\)"):
        SharpImageDataset({"name": "x", "phase": "val", "dataroot": str(tmp_path / "DIV2")})
    with pytest.raises(UserError, match=r"chelsea.png' is 200 x 120, smaller than gt_size 121"):
        SharpImageDataset({"name": "x", "phase": "train", "dataroot": folders[0], "gt_size": 121})[0]
    with pytest.raises(UserError, match=r"no option 'randomresize' .*'random_resize'"):
        SharpImageDataset({"name": "x", "phase": "val", "dataroot": folders, "randomresize": True})
    with pytest.raises(UserError, match="hr_size 40 is smaller than gt_size 48"):
        wrong = {"gt_size": 48, "hr_size": 40, "random_resize": True}
        SharpImageDataset({"name": "x", "phase": "train", "dataroot": folders[0], **wrong})
    twin = tmp_path / "other/DIV2K"
    twin.mkdir(parents=True)
    cv2.imwrite(str(twin / "chelsea.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="would have the same name 'DIV2K/chelsea'"):
        SharpImageDataset({"name": "x", "phase": "val", "dataroot": [folders[0], str(twin)]})
