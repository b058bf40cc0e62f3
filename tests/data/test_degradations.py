"""The degradations as a whole: shapes, ranges, and that each can be made again."""

import json

import numpy as np
import pytest
import skimage.data
import skimage.registration
import skimage.transform

from vqcnir_arch import UserError
from vqcnir_arch.data.degradations import (
    FACE_SETTINGS,
    BSRGANPlusSettings,
    BSRGANSettings,
    FaceSettings,
    bsrgan,
    bsrgan_plus,
    face,
    remake,
)
from vqcnir_arch.data.degradations.steps import to_uint8
from vqcnir_arch.data.recipes import RECIPES

LEVELS = skimage.data.astronaut()[96:192, 180:300]
PHOTO = LEVELS.astype(np.float32) / 255
SUPER_RESOLUTION = [
    (degradation, settings(scale))
    for degradation, settings in ((bsrgan, BSRGANSettings), (bsrgan_plus, BSRGANPlusSettings))
    for scale in (2, 4)
]
ALL = [*SUPER_RESOLUTION, *((face, settings) for settings in FACE_SETTINGS.values())]


@pytest.mark.parametrize(("degradation", "settings"), ALL)
def test_result(degradation, settings):
    scale = getattr(settings, "scale", 1)
    before, state = PHOTO.copy(), np.random.get_state()[1].copy()
    for seed in range(8):
        degraded, draws = degradation(PHOTO, np.random.default_rng(seed), settings)
        assert degraded.shape == (96 // scale, 120 // scale, 3)
        assert degraded.dtype == np.float32
        # the last step is a JPEG or a rounding
        np.testing.assert_array_equal(to_uint8(degraded).astype(np.float32) / 255, degraded)

        again, same_draws = degradation(PHOTO, np.random.default_rng(seed), settings)
        assert again.tobytes() == degraded.tobytes()
        assert same_draws == draws
        assert remake(PHOTO, json.loads(json.dumps(draws))).tobytes() == degraded.tobytes()
        assert np.abs(degradation(PHOTO, np.random.default_rng(seed + 99), settings)[0] - degraded).max() > 0
    np.testing.assert_array_equal(PHOTO, before)
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize(("degradation", "settings"), SUPER_RESOLUTION)
def test_result_lies_on_the_photograph(degradation, settings):
    """Neither decimation nor any resize may move the image."""
    expected = skimage.transform.downscale_local_mean(PHOTO, (settings.scale, settings.scale, 1)).mean(axis=2)
    total = sum(degradation(PHOTO, np.random.default_rng(seed), settings)[0] for seed in range(40)).mean(axis=2) / 40
    shift, *_ = skimage.registration.phase_cross_correlation(expected, total, upsample_factor=50)
    assert np.abs(shift).max() <= 0.06
    assert total.mean() == pytest.approx(expected.mean(), abs=0.03)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("sides", [(4, 4), (4, 100), (7, 5)])
def test_small_images(scale, sides):
    image = np.random.default_rng(0).random((sides[0] * scale, sides[1] * scale, 3), np.float32)
    for seed in range(20):
        for degradation, settings in ((bsrgan, BSRGANSettings), (bsrgan_plus, BSRGANPlusSettings)):
            degraded, _ = degradation(image, np.random.default_rng(seed), settings(scale))
            assert degraded.shape == (*sides, 3)


def test_identity():
    """Without blur, shrinking, noise and loss a face stays as it is, up to what JPEG of quality 100 rounds away."""
    settings = FaceSettings(sigma=(0, 0), shrink=(1, 1), noise_levels=(0, 0), qualities=(100, 100))
    smooth = skimage.transform.resize(skimage.data.astronaut(), (64, 64), anti_aliasing=True).astype(np.float32)
    degraded, _ = face(smooth, np.random.default_rng(0), settings)
    assert np.abs(degraded - smooth).mean() < 0.02


def test_bad_images():
    rng = np.random.default_rng(0)
    for wrong in (LEVELS, PHOTO[..., 0], PHOTO.astype(np.float64), np.dstack([PHOTO, PHOTO[..., :1]])):
        with pytest.raises(UserError, match=r"expected an RGB image \[H, W, 3\] of float32"):
            bsrgan(wrong, rng, BSRGANSettings(2))
    for wrong in (PHOTO * 255, PHOTO - 1, np.where(PHOTO > 0.5, np.float32("nan"), PHOTO)):
        with pytest.raises(UserError, match=r"expected an RGB image in \[0, 1\], got values from"):
            face(wrong, rng, FACE_SETTINGS["daefr"])
    with pytest.raises(UserError, match="the image is 120 x 94, expected multiples of the scale 4"):
        bsrgan_plus(PHOTO[:94], rng)
    with pytest.raises(UserError, match="the image is 1 x 1, expected at least 16 x 16 for scale 4"):
        bsrgan(PHOTO[:1, :1], rng)
    with pytest.raises(UserError, match="scale 3: BSRGAN's degradations are for 2 and 4"):
        bsrgan(PHOTO, rng, BSRGANSettings(3))
    _, draws = bsrgan(PHOTO, rng)
    with pytest.raises(UserError, match="the draws are for an image of 120 x 96, this one is 120 x 48"):
        remake(PHOTO[:48], draws)


# the recipes of `vqcnir data synth`


@pytest.mark.parametrize("name", ["bsrgan", "bsrgan_plus"])
@pytest.mark.parametrize("scale", [2, 4])
def test_super_resolution_recipes(name, scale):
    """An odd photograph is cut at the bottom and right; height with height and width with width."""
    odd = LEVELS[:87, :117]
    images, draws = RECIPES[name].make(odd, np.random.default_rng(0), scale=scale)
    height, width = 87 // scale, 117 // scale
    np.testing.assert_array_equal(images["gt"], odd[: height * scale, : width * scale])
    assert images["lq"].shape == (height, width, 3)
    assert images["lq"].dtype == np.uint8
    np.testing.assert_array_equal(to_uint8(remake(images["gt"].astype(np.float32) / 255, draws)), images["lq"])
    assert set(images) == set(RECIPES[name].folders)


def test_sharpened_ground_truth():
    plain, draws = RECIPES["bsrgan_plus"].make(LEVELS, np.random.default_rng(0))
    sharp, same_draws = RECIPES["bsrgan_plus"].make(LEVELS, np.random.default_rng(0), sharpen_gt=True)
    assert draws == same_draws
    np.testing.assert_array_equal(plain["lq"], sharp["lq"])
    assert np.abs(sharp["gt"].astype(float) - plain["gt"]).max() > 10
    gradient = [np.abs(np.diff(pair["gt"].astype(float), axis=1)).mean() for pair in (plain, sharp)]
    assert gradient[1] > 1.1 * gradient[0]


@pytest.mark.parametrize("name", ["codeformer", "daefr"])
def test_face_recipes(name):
    photo = skimage.data.astronaut()
    images, draws = RECIPES[name].make(photo, np.random.default_rng(0), gt_size=256)
    blocks = skimage.transform.downscale_local_mean(photo, (2, 2, 1))
    assert np.abs(images["gt"] - blocks).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(to_uint8(remake(images["gt"].astype(np.float32) / 255, draws)), images["lq"])
    assert (RECIPES[name].make(photo, np.random.default_rng(0))[0]["gt"] == photo).all()
    with pytest.raises(UserError, match="a face is expected as a square of 512 pixels or more, got 120 x 96"):
        RECIPES[name].make(LEVELS, np.random.default_rng(0))


def test_codeformers_settings():
    photo = skimage.data.astronaut()[:128, :128]
    heavy, light = (
        RECIPES["codeformer"].make(photo, np.random.default_rng(3), gt_size=128, setting=f"codeformer_{size}")[1]
        for size in ("large", "small")
    )
    assert heavy["steps"][1]["size"][0] <= 128 / 4
    assert light["steps"][1]["size"][0] > heavy["steps"][1]["size"][0]
