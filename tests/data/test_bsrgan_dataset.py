"""BSRGANDataset, on scikit-image's photographs."""

import random

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from basicsr.data import build_dataset
from odd_images import READABLE, REFUSED, write_odd

from vqcnir_arch import UserError
from vqcnir_arch.data import BSRGANDataset
from vqcnir_arch.data.degradations import BSRGANPlusSettings, BSRGANSettings, Sharpen, bsrgan, bsrgan_plus, degrade
from vqcnir_arch.data.synthesis import pair_generator
from vqcnir_arch.training.sampling import SampleKey, SeededSamples

HEIGHT, WIDTH = 141, 199


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("sharp")
    for name in ("chelsea", "coffee", "rocket"):
        image = cv2.resize(getattr(skimage.data, name)(), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(root / f"{name}.png"), image[..., ::-1])
    return root


def dataset(folder, phase="train", scale=4, **more):
    opt = {"name": "Pairs", "type": "BSRGANDataset", "phase": phase, "scale": scale, "dataroot": str(folder), **more}
    return build_dataset({"gt_size": 64, "hr_size": 128, **opt} if phase == "train" else opt)


def as_array(tensor):
    return tensor.permute(1, 2, 0).numpy()


def photo(folder, name):
    return np.ascontiguousarray(cv2.imread(str(folder / f"{name}.png"))[..., ::-1]).astype(np.float32) / 255


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("pairs", ["offline", "online"])
@pytest.mark.parametrize("variant", ["bsrgan", "bsrgan_plus"])
def test_training_sample(folder, scale, pairs, variant):
    data = dataset(folder, scale=scale, pairs=pairs, variant=variant)
    assert len(data) == 3
    sample = data[1]
    assert sample["name"] == "coffee"
    assert sample["lq_path"] == sample["gt_path"] == str(folder / "coffee.png")
    for key, side in (("gt", 64), ("lq", 64 // scale)):
        assert sample[key].shape == (3, side, side)
        assert sample[key].dtype == torch.float32
        assert 0 <= sample[key].min() < sample[key].max() <= 1


@pytest.mark.parametrize("pairs", ["offline", "online"])
def test_pairs_show_the_same(folder, pairs):
    """Crop, turn and shrinking of both images agree, whatever was drawn."""
    random.seed(0)
    np.random.seed(0)
    data = dataset(folder, scale=2, pairs=pairs)
    likeness, anothers = [], []
    before = None
    for _ in range(12):
        sample = data[1]
        small = cv2.resize(as_array(sample["gt"]), (32, 32), interpolation=cv2.INTER_AREA)
        likeness.append(np.corrcoef(small.ravel(), as_array(sample["lq"]).ravel())[0, 1])
        if before is not None:
            anothers.append(np.corrcoef(small.ravel(), before.ravel())[0, 1])
        before = as_array(sample["lq"])
    assert np.median(likeness) > 0.85
    assert min(likeness) > 0.6
    assert np.median(anothers) < 0.75


def test_offline_pairs_are_cut_from_a_degraded_crop(folder):
    """Without the random shrinking the truth is a piece of the photograph, and JPEG's grid need not fit the crop."""
    data = dataset(folder, scale=2, random_resize=False, use_hflip=False, use_rot=False)
    truth = as_array(data[1]["gt"])
    found = cv2.matchTemplate(photo(folder, "coffee"), truth, cv2.TM_SQDIFF)
    assert found.min() < 1e-2
    degraded = [as_array(data[1]["lq"]) * 255 for _ in range(3)]
    for image in degraded:
        np.testing.assert_allclose(image, image.round(), atol=1e-3)


@pytest.mark.parametrize("pairs", ["offline", "online"])
def test_random_shrinking(folder, pairs, monkeypatch):
    """The large crop, never the photograph, is shrunk to anything between the crop and itself."""
    from vqcnir_arch.data import bsrgan_dataset, resizing

    sizes, shrink = [], bsrgan_dataset.shrink

    def noted(image, height, width):
        sizes.append((image.shape[0], height, width))
        return shrink(image, height, width)

    for module in (bsrgan_dataset, resizing):
        monkeypatch.setattr(module, "shrink", noted)
    data = dataset(folder, scale=2, pairs=pairs)
    for _ in range(60):
        data[0]
    if pairs == "offline":
        truths, inputs = sizes[::2], sizes[1::2]
        assert all(truth == (128, 2 * small, 2 * small) for truth, (_, small, _) in zip(truths, inputs, strict=True))
        heights = [height for _, height, _ in truths]
    else:
        assert all(before == 128 and height == width for before, height, width in sizes)
        heights = [height for _, height, _ in sizes]
    assert 64 <= min(heights) < 70 and 128 >= max(heights) > 121
    sizes.clear()
    dataset(folder, scale=2, pairs=pairs, random_resize=False)[0]
    assert not sizes


def test_training_truth_of_plus_is_sharpened(folder):
    plain = {"scale": 2, "random_resize": False, "use_hflip": False, "use_rot": False, "variant": "bsrgan_plus"}
    sharp = degrade(photo(folder, "coffee"), [Sharpen()])
    # the whole photograph is the crop, but for what is no multiple of the scale
    whole = {**plain, "gt_size": 140, "hr_size": 140}
    for sharpen, expected in ((None, sharp), (True, sharp), (False, photo(folder, "coffee"))):
        truth = as_array(dataset(folder, **whole, sharpen_gt=sharpen)[1]["gt"])
        inner = truth[50:-50, 50:-50]  # the sharpening reaches 50 pixels far
        distance = cv2.matchTemplate(expected, inner, cv2.TM_SQDIFF).min()
        assert distance < 1e-2
    assert np.abs(sharp - photo(folder, "coffee")).max() > 0.1


@pytest.mark.parametrize("phase", ["val", "test"])
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("variant", ["bsrgan", "bsrgan_plus"])
def test_fixed_pairs(folder, phase, scale, variant):
    """Whole photographs, cut to multiples of the scale; what was made of one depends on the seed and its name alone."""
    data = dataset(folder, phase, scale, variant=variant)
    truth = photo(folder, "coffee")[: HEIGHT // scale * scale, : WIDTH // scale * scale]
    if variant == "bsrgan":
        expected, _ = bsrgan(truth, pair_generator(0, "coffee", 0), BSRGANSettings(scale))
    else:
        expected, _ = bsrgan_plus(truth, pair_generator(0, "coffee", 0), BSRGANPlusSettings(scale))
    for _ in range(2):
        np.testing.assert_array_equal(as_array(data[1]["gt"]), truth)
        np.testing.assert_array_equal(as_array(data[1]["lq"]), expected)
    fewer = dataset(folder, phase, scale, variant=variant, max_images=2)
    assert len(fewer) == 2
    assert fewer[1]["lq"].equal(data[1]["lq"])
    assert not dataset(folder, phase, scale, variant=variant, seed=1)[1]["lq"].equal(data[1]["lq"])


def test_training_draws_follow_the_sample(folder):
    """Made again by the key of a sample, in whatever process; other keys give other draws."""
    data = SeededSamples(dataset(folder))
    random.seed(0)
    first = data[SampleKey(0, 7, 0, 0)]
    random.seed(1)
    np.random.seed(5)
    again, other = data[SampleKey(0, 7, 0, 0)], data[SampleKey(0, 7, 0, 1)]
    for key in ("lq", "gt"):
        assert first[key].equal(again[key])
        assert not first[key].equal(other[key])


def test_loader_with_workers(folder):
    loader = torch.utils.data.DataLoader(dataset(folder), batch_size=3, num_workers=1)
    (batch,) = loader
    assert batch["lq"].shape == (3, 3, 16, 16)
    assert batch["gt"].shape == (3, 3, 64, 64)


@pytest.mark.parametrize("name", READABLE)
def test_odd_images(name, tmp_path):
    image = skimage.data.chelsea()[:64, :96].copy()
    path = write_odd(name, image, tmp_path / "odd")
    data = dataset(tmp_path, "val", 2)
    if name == "1x1":
        with pytest.raises(UserError, match=f"image '{path}' is 1 x 1, expected at least 8 x 8"):
            data[0]
        return
    assert data[0]["gt"].shape == (3, 64, 96)
    assert data[0]["lq"].shape == (3, 32, 48)


@pytest.mark.parametrize("name", REFUSED)
def test_broken_images(name, tmp_path):
    path = write_odd(name, skimage.data.chelsea()[:64, :96].copy(), tmp_path / "odd")
    with pytest.raises(UserError, match=f"image '{path}' cannot be read"):
        dataset(tmp_path, "val", 2)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 3}, "scale: input should be 2 or 4, got 3"),
        ({"scale": None}, "scale is missing: 2 or 4"),
        ({"gt_size": None}, "gt_size is missing"),
        ({"gt_size": 66}, "gt_size 66: expected a multiple of 4, 16 or more"),
        ({"gt_size": 8}, "gt_size 8: expected a multiple of 4, 16 or more"),
        ({"gt_size": 256}, "hr_size 128 is smaller than gt_size 256"),
        ({"variant": "bsrgan+"}, "variant: input should be 'bsrgan' or 'bsrgan_plus'"),
        ({"varient": "bsrgan"}, r"no option 'varient' \(did you mean 'variant'\?\)"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0"),
        ({"dataroot": "nowhere"}, "dataroot 'nowhere' does not exist"),
    ],
)
def test_bad_options(folder, options, message):
    with pytest.raises(UserError, match=message):
        dataset(folder, **options)


def test_photograph_smaller_than_the_crop(folder):
    with pytest.raises(UserError, match=r"chelsea.png' is 199 x 141, smaller than gt_size 160"):
        dataset(folder, gt_size=160, hr_size=200)[0]


def test_log(folder, basicsr_log):
    BSRGANDataset({"name": "Pairs", "phase": "val", "scale": 2, "dataroot": [str(folder)]})
    assert basicsr_log[-1].startswith("BSRGANDataset 'Pairs': 3 of 3 images of")
    assert basicsr_log[-1].endswith("bsrgan x2")
