"""FaceDegradationDataset, on a face and other square photographs of scikit-image."""

from typing import get_args

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from basicsr.data import build_dataset
from odd_images import READABLE, REFUSED, write_odd

from vqcnir_arch import UserError
from vqcnir_arch.data import face_degradation_dataset as faces
from vqcnir_arch.training.sampling import SampleKey, SeededSamples

SIDE = 128
DEGRADED = sorted(name for name, pairs in faces.SETTINGS.items() if pairs.lq)


def photo(name):
    return cv2.resize(getattr(skimage.data, name)()[:300, :300], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    for name in ("astronaut", "chelsea"):
        cv2.imwrite(str(root / f"{name}.png"), photo(name)[..., ::-1])
    return root


def dataset(folder, setting="codeformer_stage2", phase="train", **more):
    opt = {"name": "Faces", "type": "FaceDegradationDataset", "phase": phase, "dataroot": str(folder)}
    return build_dataset({**opt, "setting": setting, "gt_size": SIDE, "scale": 1, **more})


def as_levels(tensor):
    levels = tensor.permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(levels, levels.round(), atol=1e-3)
    return levels.round().astype(np.uint8)


@pytest.fixture
def used(monkeypatch):
    """The settings that `face` is called with, in order."""
    calls, face = [], faces.face

    def noted(image, rng, settings):
        calls.append(settings)
        return face(image, rng, settings)

    monkeypatch.setattr(faces, "face", noted)
    return calls


def test_every_setting_is_in_the_type():
    assert get_args(faces.Setting) == tuple(faces.SETTINGS)


@pytest.mark.parametrize("setting", faces.SETTINGS)
@pytest.mark.parametrize("phase", ["train", "val"])
def test_sample(folder, setting, phase):
    sample = dataset(folder, setting, phase, gray_prob=0)[0]
    keys = {"lq", "gt", "lq_large"} if setting == "codeformer_stage3" else {"lq", "gt"}
    assert {key for key, value in sample.items() if isinstance(value, torch.Tensor)} == keys
    for key in keys:
        assert sample[key].shape == (3, SIDE, SIDE)
        assert sample[key].dtype == torch.float32
    assert sample["name"] == "astronaut"
    assert sample["lq_path"] == sample["gt_path"] == str(folder / "astronaut.png")
    clean = photo("astronaut")
    truth = as_levels(sample["gt"])
    is_clean = (truth == clean).all() or (phase == "train" and (truth == clean[:, ::-1]).all())
    assert is_clean == (setting != "daefr_lq_codebook")
    assert sample["lq"].equal(sample["gt"]) == (setting not in set(DEGRADED) - {"daefr_lq_codebook"})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        # sigma, downsampling, noise, JPEG of each image that is made
        ("codeformer_stage1", []),
        ("codeformer_stage2", [((1, 15), (4, 30), (0, 20), (30, 80))]),
        ("codeformer_stage3", [((0.1, 10), (1, 12), (0, 15), (60, 100)), ((1, 15), (4, 30), (0, 20), (30, 80))]),
        ("daefr_hq_codebook", []),
        ("daefr_lq_codebook", [((0.1, 10), (0.8, 8), (0, 20), (60, 100))]),
        ("daefr_association", [((0.1, 10), (0.8, 8), (0, 20), (60, 100))]),
        ("daefr", [((0.1, 15), (0.8, 30), (0, 20), (30, 100))]),
        ("vqfr_light", [((0.1, 10), (0.8, 8), (0, 20), (60, 100))]),
        ("vqfr_heavy", [((1, 15), (1, 30), (0, 20), (30, 90))]),
    ],
)
def test_settings(folder, used, setting, expected):
    dataset(folder, setting)[0]
    assert [(s.sigma, s.shrink, s.noise_levels, s.qualities) for s in used] == expected
    assert {s.kernel_sizes for s in used} <= ({(39, 41)} if setting.startswith("daefr") else {(41,)})
    assert all(s.gray == 0 for s in used)


def test_stage3_branches_are_flipped_alike(folder):
    data = dataset(folder, "codeformer_stage3")
    flips = []
    for _ in range(30):
        sample = data[0]
        straight, mirrored = photo("astronaut"), photo("astronaut")[:, ::-1]
        flips.append((as_levels(sample["gt"]) == mirrored).all())
        if not flips[-1]:
            assert (as_levels(sample["gt"]) == straight).all()
        near, far = (mirrored, straight) if flips[-1] else (straight, mirrored)
        for key in ("lq", "lq_large"):
            error = [np.abs(as_levels(sample[key]).astype(float) - image).mean() for image in (near, far)]
            assert error[0] < error[1]
    assert 7 <= sum(flips) <= 23
    unflipped = dataset(folder, "codeformer_stage3", use_hflip=False)
    assert all((as_levels(unflipped[0]["gt"]) == straight).all() for _ in range(8))


def test_large_branch_is_the_worse_one(folder):
    data = dataset(folder, "codeformer_stage3")
    errors = np.array(
        [[(s[k] - s["gt"]).abs().mean() for k in ("lq", "lq_large")] for s in (data[0] for _ in range(30))]
    )
    assert errors[:, 1].mean() > 1.15 * errors[:, 0].mean()


@pytest.mark.parametrize("gt_gray", [True, False])
def test_gray(folder, gt_gray):
    """A grey input has a grey truth if gt_gray says so; both branches are grey or neither."""
    data = dataset(folder, "codeformer_stage3", gray_prob=0.5, gt_gray=gt_gray)
    seen = set()
    for _ in range(24):
        sample = data[0]
        is_gray = {k: bool((sample[k] - sample[k][:1]).abs().max() < 1e-6) for k in ("lq", "lq_large", "gt")}
        assert is_gray["lq"] == is_gray["lq_large"]
        assert is_gray["gt"] == (is_gray["lq"] and gt_gray)
        seen.add(is_gray["lq"])
    assert seen == {True, False}


def test_colourisation_keeps_the_color_of_the_truth(folder):
    data = dataset(folder, "codeformer_colorization", gray_prob=1)
    assert data.gray_prob == 1 and dataset(folder, "codeformer_colorization").gray_prob == 0.01
    sample = data[0]
    assert (sample["gt"][0] - sample["gt"][2]).abs().max() > 0.1


def test_inpainting_covers_with_white_and_changes_nothing_else(folder):
    data = dataset(folder, "codeformer_inpainting", use_hflip=False)
    sample = data[0]
    is_covered = (sample["lq"] != sample["gt"]).any(dim=0)
    assert 0.002 < is_covered.float().mean() < 0.8
    assert (sample["lq"][:, is_covered] == 1).all()
    with pytest.raises(UserError, match="gray_prob does nothing with setting codeformer_inpainting"):
        dataset(folder, "codeformer_inpainting", gray_prob=0.1)


def test_clean_faces_are_never_gray(folder):
    sample = dataset(folder, "codeformer_stage1", gray_prob=1)[0]
    assert sample["gt"].equal(sample["lq"])
    assert (sample["gt"][0] - sample["gt"][2]).abs().max() > 0.1


def test_fixed_pairs(folder):
    data = dataset(folder, "daefr", "test")
    first, again = data[1], data[1]
    assert first["lq"].equal(again["lq"])
    assert (as_levels(first["gt"]) == photo("chelsea")).all()
    assert not dataset(folder, "daefr", "test", seed=1)[1]["lq"].equal(first["lq"])
    alone = dataset(folder, "daefr", "test", max_images=1)
    assert len(alone) == 1
    assert alone[0]["lq"].equal(data[0]["lq"])


def test_training_draws_follow_the_sample(folder):
    data = SeededSamples(dataset(folder, "codeformer_stage3"))
    first, again, other = (data[SampleKey(0, 7, 0, position)] for position in (0, 0, 1))
    for key in ("lq", "lq_large"):
        assert first[key].equal(again[key])
        assert not first[key].equal(other[key])


def test_halving_by_area_is_the_bilinear_one_of_daefr():
    image = skimage.data.astronaut()
    half = cv2.resize(image, (256, 256), interpolation=cv2.INTER_LINEAR)
    assert np.abs(faces.full_size(image, 256).astype(int) - half).max() <= 1


def test_larger_faces_are_shrunk(folder):
    data = dataset(folder, "codeformer_stage1", "val", gt_size=SIDE // 2)
    blocks = photo("astronaut").reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(as_levels(data[0]["gt"]) - blocks).max() <= 0.5


@pytest.mark.parametrize("name", READABLE)
def test_odd_images(name, tmp_path):
    path = write_odd(name, photo("astronaut"), tmp_path / "odd")
    data = dataset(tmp_path, "daefr", "val")
    if name == "1x1":
        with pytest.raises(UserError, match=f"^image '{path}': a face is expected as a square of 128 pixels or more"):
            data[0]
        return
    assert data[0]["lq"].shape == (3, SIDE, SIDE)


@pytest.mark.parametrize("name", REFUSED)
def test_broken_images(name, tmp_path):
    path = write_odd(name, photo("astronaut"), tmp_path / "odd")
    with pytest.raises(UserError, match=f"^image '{path}' cannot be read"):
        dataset(tmp_path, "daefr", "val")[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"setting": "codeformer"}, "setting: input should be 'codeformer_stage1', "),
        ({"setting": None}, "setting: input should be"),
        ({"scale": 2}, "scale: input should be 1, got 2"),
        ({"gray_prob": 1.5}, "gray_prob: input should be less than or equal to 1"),
        ({"gray_probability": 1}, r"no option 'gray_probability' \(did you mean 'gray_prob'\?\)"),
        ({"dataroot": "nowhere"}, "dataroot 'nowhere' does not exist"),
    ],
)
def test_bad_options(folder, options, message):
    with pytest.raises(UserError, match=message):
        dataset(folder, **options)


def test_not_square(tmp_path):
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((600, 800, 3), np.uint8))
    with pytest.raises(
        UserError, match=r"wide.png': a face is expected as a square of 128 pixels or more, got 800 x 600"
    ):
        dataset(tmp_path)[0]
