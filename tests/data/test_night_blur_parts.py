"""Night-blur pairs: the parts that both recipes are made of, and the demo's short one, on scikit-image's photos."""

import time

import cv2
import numpy as np
import pytest
from conftest import scene

from vqcnir_arch import UserError
from vqcnir_arch.data import NightBlurSettings, night_blur_pair, write_lolblur
from vqcnir_arch.data.night_blur import darkening, lights, motion, sensor, simple

WIDTH, HEIGHT = 96, 64


def photo(name, width=320, height=208):
    return scene(name, width, height)


def test_same_seed_same_bytes():
    image = photo("chelsea")
    first, second, third = (night_blur_pair(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for version in simple.LAYOUT:
        a, b = getattr(first, version), getattr(second, version)
        assert a.dtype == np.uint8
        assert a.shape == image.shape
        assert a.tobytes() == b.tobytes()
    assert first.low_blur_noise.tobytes() != third.low_blur_noise.tobytes()
    np.testing.assert_array_equal(first.high_sharp_original, image)
    scaled = image * first.draws["brightness"]
    assert abs(first.high_sharp_scaled - scaled).max() <= 0.5 + 1e-9


def test_identity():
    """At its own exposure and with the camera at rest, the photo stays as it is."""
    image = photo("coffee")
    level = darkening.lightness(image / 255)
    own = float(level[level <= darkening.SATURATED].mean())
    settings = NightBlurSettings(exposure=(own, own), max_length=(0, 0), unclip=(0, 0))
    pair = night_blur_pair(image, np.random.default_rng(0), settings)
    assert abs(pair.low_blur.astype(int) - image).max() <= 1
    assert pair.draws["kernel"].tolist() == [[1]]


@pytest.mark.parametrize("exposure", [0.02, 0.05, 0.16])
def test_darken(exposure):
    image = photo("astronaut") / 255
    level = darkening.lightness(image)
    saturated = level > darkening.SATURATED
    dark, amount = darkening.darken(image, exposure)
    assert darkening.darkening_curve(level[~saturated], amount).mean() == pytest.approx(exposure, rel=1e-3)
    # the ratio of L is applied to sRGB values, whose L it meets only roughly
    assert darkening.lightness(dark)[~saturated].mean() == pytest.approx(exposure, rel=0.35)
    np.testing.assert_allclose(dark[saturated], image[saturated], rtol=1e-6)
    assert (dark <= image + 1e-6).all()


def test_darken_leaves_darker_and_flat_images():
    image = photo("rocket") / 255
    np.testing.assert_allclose(darkening.darken(image, 0.9)[0], image, atol=1e-6)
    for value in (0.0, 1.0):
        flat = np.full((8, 8, 3), value)
        np.testing.assert_allclose(darkening.darken(flat, 0.1)[0], flat, atol=1e-6)


@pytest.mark.parametrize("max_length", [0, 0.3, 5, 60, 300])
def test_motion_kernel(max_length):
    for seed in range(5):
        kernel = motion.motion_kernel(np.random.default_rng(seed), max_length)
        assert kernel.sum() == pytest.approx(1)
        assert kernel.min() >= 0
        size = len(kernel)
        assert kernel.shape == (size, size)
        assert size % 2 == 1
        assert kernel[size // 2, size // 2] > 0
        assert size <= max_length + 3
        # connected: no row of dots
        assert cv2.connectedComponents((kernel > 0).astype(np.uint8))[0] == 2


def test_no_motion_is_a_delta():
    assert motion.motion_kernel(np.random.default_rng(0), 0).tolist() == [[1]]
    image = photo("chelsea", 64, 48) / 255
    np.testing.assert_array_equal(motion.blur(image, np.ones((1, 1))), image)


def test_middle_of_the_exposure_is_at_the_centre(monkeypatch):
    """A camera at rest for half the exposure: half of the light stays in place, the rest goes to one side."""
    path = np.concatenate([np.zeros(33), np.linspace(0, 8, 33)[1:]]).astype(complex)
    monkeypatch.setattr(motion, "camera_path", lambda rng, max_length: path)
    kernel = motion.motion_kernel(np.random.default_rng(0), 8)
    assert kernel.shape == (17, 17)
    assert kernel[8, 8] == pytest.approx(0.54, abs=0.03)
    assert kernel[8, 8:].sum() == pytest.approx(1)


def test_path_length():
    path = motion.camera_path(np.random.default_rng(3), 40.0)
    assert abs(np.diff(path)).sum() == pytest.approx(40)


def test_lamps_leave_streaks_and_sky_does_not():
    night = np.full((64, 64, 3), 0.1)
    night[30:33, 30:33] = 1
    mask = lights.lamps(darkening.lightness(night), 0.01)
    assert mask.sum() == 9
    kernel = np.full((1, 9), 1 / 9)
    streaks = [
        lights.encode(motion.blur(lights.unclipped_light(night, mask, level), kernel))[31, 27, 0] for level in (0, 100)
    ]
    assert streaks[1] > 1.3 * streaks[0]
    night[:20] = 1
    assert lights.lamps(darkening.lightness(night), 0.01).sum() == 0


def test_noise_has_its_variance():
    light = np.full((128, 128, 3), 0.02)
    noise = sensor.sensor_noise(np.random.default_rng(0), light, 1e-4, 1e-8, demosaic=0)
    assert noise.var() == pytest.approx(1e-4 * 0.02 + 1e-8, rel=0.03)
    smooth = sensor.sensor_noise(np.random.default_rng(0), light, 1e-4, 1e-8, demosaic=0.7)
    assert smooth.std() < 0.6 * noise.std()


def test_statistics_are_those_of_lolblur():
    """Dark, hardly saturated, hardly noisy: measured on LOL-Blur's published samples."""
    rng = np.random.default_rng(0)
    images = [photo(name, 160, 104) for name in ("chelsea", "coffee", "rocket", "astronaut")]
    pairs = [night_blur_pair(images[i % 4], rng) for i in range(80)]
    level = [100 * darkening.lightness(pair.low_blur_noise / 255).mean() for pair in pairs]
    saturated = [(pair.low_blur_noise.min(axis=2) >= 250).mean() for pair in pairs]
    noise = [(pair.low_blur_noise.astype(float) - pair.low_blur).std() for pair in pairs]
    assert 4 < np.median(level) < 14
    assert np.percentile(level, 5) > 1.5
    assert np.percentile(level, 95) < 18
    assert np.median(saturated) < 0.01
    assert 0.4 < np.median(noise) < 1.2


def test_some_cameras_are_at_rest():
    image = photo("chelsea", 32, 24)
    rng = np.random.default_rng(0)
    at_rest = [night_blur_pair(image, rng).draws["max_length"] == 0 for _ in range(100)]
    assert 3 <= sum(at_rest) <= 20


def test_small_and_wide_images():
    for shape in ((1, 1, 3), (5, 400, 3)):
        pair = night_blur_pair(np.full(shape, 128, np.uint8), np.random.default_rng(0))
        assert pair.low_blur_noise.shape == shape


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_wrong_photo(wrong):
    with pytest.raises(UserError, match=r"expected an image \[H, W, 3\] of uint8"):
        night_blur_pair(wrong, np.random.default_rng(0))


def test_writing(tmp_path):
    pair = night_blur_pair(photo("coffee", WIDTH, HEIGHT), np.random.default_rng(0))
    write_lolblur(tmp_path, "train", "0007", "0042", pair)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == [f"train/{version}/0007/0042.png" for version in sorted(simple.LAYOUT)]
    for version in simple.LAYOUT:
        written = cv2.imread(str(tmp_path / f"train/{version}/0007/0042.png"))[..., ::-1]
        np.testing.assert_array_equal(written, getattr(pair, version))


def test_speed():
    image = photo("astronaut", 512, 512)
    night_blur_pair(image, np.random.default_rng(0))
    start = time.process_time()
    night_blur_pair(image, np.random.default_rng(0), NightBlurSettings(no_motion=0))
    assert time.process_time() - start < 2  # 0.1 s of wall time on two cores; the bound is for a busy machine
