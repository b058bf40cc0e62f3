"""The single steps of the degradations against independent implementations, on a photograph."""

import io

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.measure
import skimage.transform
import torch
from basicsr.data.degradations import add_jpg_compression
from PIL import Image

from vqcnir_arch.data.degradations import steps as st
from vqcnir_arch.data.degradations.face_steps import DrawStrokes, JitterColors, ShiftColors

PHOTO = skimage.data.astronaut()[100:196, 180:300].astype(np.float32) / 255


def written_out_gaussian(size, variances, angle, shift=0.0):
    """exp(-½ pᵀ Σ⁻¹ p) over a square of pixels, divided by its sum; Σ has `variances` along axes turned by `angle`."""
    half = size // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1] - shift
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    kernel = np.exp(-0.5 * (along**2 / variances[0] + across**2 / variances[1]))
    return kernel / kernel.sum()


# blur


@pytest.mark.parametrize(("size", "sigma"), [(7, 0.8), (25, 2.4), (41, 15.0)])
def test_isotropic_blur(size, sigma):
    blurred = st.GaussianBlur(size=size, sigma=(sigma, sigma), angle=0)(PHOTO)
    expected = scipy.ndimage.gaussian_filter(PHOTO, (sigma, sigma, 0), radius=(size // 2, size // 2, 0), mode="mirror")
    np.testing.assert_allclose(blurred, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("size", "sigma", "angle"), [(9, (0.5, 2.0), 0.3), (25, (2.8, 1.1), 2.0), (41, (1.0, 9.0), -2.5)]
)
def test_anisotropic_blur(size, sigma, angle):
    blurred = st.GaussianBlur(size=size, sigma=sigma, angle=angle)(PHOTO)
    kernel = written_out_gaussian(size, np.square(sigma), angle)
    expected = scipy.ndimage.convolve(PHOTO.astype(np.float64), kernel[..., None], mode="mirror")
    np.testing.assert_allclose(blurred, expected, atol=2e-5)
    assert np.abs(kernel - kernel.T).max() > 0.1 * kernel.max()  # else the angle would not be tested


@pytest.mark.parametrize("sigma", [(0.0, 0.0), (1e-9, 0.0)])
def test_no_blur(sigma):
    np.testing.assert_allclose(st.GaussianBlur(size=7, sigma=sigma, angle=0.4)(PHOTO), PHOTO, atol=1e-6)


def test_line_blur():
    """An eigenvalue of 0 leaves a line."""
    blurred = st.GaussianBlur(size=7, sigma=(2.0, 0.0), angle=0)(PHOTO)
    expected = scipy.ndimage.gaussian_filter1d(PHOTO, 2.0, axis=1, radius=3, mode="mirror")
    np.testing.assert_allclose(blurred, expected, atol=1e-5)


def test_kernel_larger_than_the_image():
    small = PHOTO[:9, :14]
    blurred = st.GaussianBlur(size=41, sigma=(6, 6), angle=0)(small)
    expected = scipy.ndimage.gaussian_filter(small, (6, 6, 0), radius=(20, 20, 0), mode="mirror")
    np.testing.assert_allclose(blurred, expected, atol=2e-5)


# resizing


@pytest.mark.parametrize("size", [(61, 77), (200, 333), (24, 30)])
@pytest.mark.parametrize(("mode", "torch_mode"), [("linear", "bilinear"), ("cubic", "bicubic")])
def test_resize_is_torchs(size, mode, torch_mode):
    batch = torch.from_numpy(PHOTO).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(batch, size=size, mode=torch_mode, align_corners=False)
    resized = st.Resize(size=size, mode=mode)(PHOTO)
    np.testing.assert_allclose(resized, expected[0].permute(1, 2, 0), atol=2e-5)


def test_linear_resize_is_scikit_images():
    expected = skimage.transform.resize(PHOTO, (61, 77), order=1, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(st.Resize(size=(61, 77), mode="linear")(PHOTO), expected, atol=2e-5)


def test_area_resize_is_the_mean_of_blocks():
    expected = skimage.measure.block_reduce(PHOTO, (4, 3, 1), np.mean)
    np.testing.assert_allclose(st.Resize(size=(24, 40), mode="area")(PHOTO), expected, atol=1e-5)


def test_area_resize_by_a_broken_factor_keeps_the_mean():
    # each output pixel is the integral of the image over its own rectangle
    bounds = np.linspace(0, 120, 36)
    overlap = np.clip(
        np.minimum(bounds[1:, None], np.arange(1, 121)) - np.maximum(bounds[:-1, None], np.arange(120)), 0, 1
    )
    expected = np.einsum("jx,yxc->yjc", overlap / overlap.sum(axis=1, keepdims=True), PHOTO)
    np.testing.assert_allclose(st.Resize(size=(96, 35), mode="area")(PHOTO), expected, atol=1e-4)


def matlab_half(image):
    """MATLAB's imresize(image, 0.5) along the first axis: Keys' cubic (a = -0.5), twice as wide; mirrored borders."""
    length = image.shape[0]
    centre = 2 * np.arange(length // 2) + 0.5
    taps = np.arange(-4, 6) + np.floor(centre)[:, None].astype(int)
    x = np.abs(taps - centre[:, None]) / 2
    weights = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2) * (x < 2)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.pad(np.arange(length), 8, mode="symmetric")
    return np.einsum("it,it...->i...", weights, image[mirrored[taps + 8]])


def test_halving_is_matlabs():
    expected = matlab_half(matlab_half(PHOTO.astype(np.float64)).swapaxes(0, 1)).swapaxes(0, 1)
    halved = st.HalveBicubic()(PHOTO)
    np.testing.assert_allclose(halved, expected, atol=1e-5)
    channels = [Image.fromarray(PHOTO[..., c]).resize((60, 48), Image.Resampling.BICUBIC) for c in range(3)]
    np.testing.assert_allclose(halved[4:-4, 4:-4], np.dstack(channels)[4:-4, 4:-4], atol=1e-5)


@pytest.mark.parametrize(("factor", "sigma"), [(2, 0.1), (2, 1.2), (4, 0.5), (4, 2.4)])
def test_decimation(factor, sigma):
    kernel = written_out_gaussian(25, (sigma**2, sigma**2), 0, shift=(factor - 1) / 2)
    expected = scipy.ndimage.correlate(PHOTO.astype(np.float64), kernel[..., None], mode="mirror")
    decimated = st.Decimate(sigma=sigma, factor=factor)(PHOTO)
    np.testing.assert_allclose(decimated, expected[::factor, ::factor], atol=2e-5)


@pytest.mark.parametrize("factor", [2, 4])
def test_decimation_does_not_shift_the_image(factor):
    """On a ramp every kept pixel has the value of its block's centre, as after any centred resize."""
    ramp = np.linspace(0, 1, 128, dtype=np.float32)
    ramp = np.repeat(np.repeat(ramp[None, :, None], 32, axis=0), 3, axis=2)
    decimated = st.Decimate(sigma=1.0, factor=factor)(ramp)[4:-4, 4:-4]
    blocks = skimage.measure.block_reduce(ramp, (factor, factor, 1), np.mean)[4:-4, 4:-4]
    np.testing.assert_allclose(decimated, blocks, atol=1e-5)


# compression, sharpening, grey, quantisation


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_jpeg(quality):
    compressed = st.Jpeg(quality=quality)(PHOTO)
    file = io.BytesIO()
    Image.fromarray(np.round(PHOTO * 255).astype(np.uint8)).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    expected = np.asarray(Image.open(file)) / 255
    np.testing.assert_allclose(compressed, expected, atol=4 / 255)
    assert np.abs(compressed - expected).mean() < 0.2 / 255
    bgr = np.ascontiguousarray(PHOTO[..., ::-1])
    np.testing.assert_allclose(compressed, add_jpg_compression(bgr, quality)[..., ::-1], atol=1e-6)


def test_jpeg_rounds_as_the_published_code_does():
    """It encodes img · 255 as floats, which OpenCV rounds."""
    between = np.clip(PHOTO + np.float32(0.4 / 255), 0, 1)
    bgr = np.ascontiguousarray(between[..., ::-1])
    np.testing.assert_allclose(st.Jpeg(quality=80)(between), add_jpg_compression(bgr, 80)[..., ::-1], atol=1e-6)


def test_sharpening():
    """I + w (I - B) where the blurred mask of |I - B| > threshold says so; B has 51 taps and σ 8."""
    blur = lambda image: scipy.ndimage.gaussian_filter(image, (8, 8, 0), radius=(25, 25, 0), mode="mirror")  # noqa: E731
    residual = PHOTO - blur(PHOTO)
    mask = blur((np.abs(residual) > 10 / 255).astype(np.float32))
    expected = mask * np.clip(PHOTO + 0.5 * residual, 0, 1) + (1 - mask) * PHOTO
    sharp = st.Sharpen()(PHOTO)
    np.testing.assert_allclose(sharp, expected, atol=1e-3)
    assert np.abs(sharp - PHOTO).max() > 0.05


def test_gray_and_quantize():
    gray = st.Gray()(PHOTO)
    np.testing.assert_allclose(gray[..., 1], PHOTO @ np.float32([0.299, 0.587, 0.114]), atol=1e-5)
    assert (gray[..., 0] == gray[..., 2]).all()
    values = np.float32([0.4, 0.6, 1.4, 254.4, 254.6]) / 255
    image = np.repeat(values[None, :, None], 3, axis=2)
    assert (st.Quantize()(image)[0, :, 0] * 255).round(4).tolist() == [0, 1, 1, 254, 255]


def test_eight_bit_levels_survive_truncation():
    """The published pairs were truncated to 8 bit when they were stored: of images at 8-bit levels nothing is lost."""
    levels = np.arange(256, dtype=np.uint8)
    assert ((levels.astype(np.float32) / 255 * 255).astype(np.uint8) == levels).all()


# noise

MIDDLE = np.full((256, 256, 3), 0.5, np.float32)
STEPPED = np.repeat(np.float32([0.2, 0.4, 0.8, 1.0])[None, :, None], 64, axis=1).repeat(256, axis=0).repeat(3, axis=2)


@pytest.mark.parametrize("level", [2, 10, 25])
def test_color_noise(level):
    noise = st.GaussianNoise(kind="color", level=level, seed=1)(MIDDLE) - MIDDLE
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(level / 255, rel=0.01)
    assert abs(noise.mean()) < 0.02 * level / 255
    np.testing.assert_allclose(np.corrcoef(noise.reshape(-1, 3), rowvar=False), np.eye(3), atol=0.02)


def test_gray_noise():
    noise = st.GaussianNoise(kind="gray", level=10, seed=1)(MIDDLE) - MIDDLE
    assert (noise == noise[..., :1]).all()
    assert noise.std() == pytest.approx(10 / 255, rel=0.01)


def test_correlated_noise():
    covariance = np.array([[4, 2, 1], [2, 3, 0.5], [1, 0.5, 2]]) * 1e-3
    step = st.GaussianNoise(kind="correlated", covariance=covariance.tolist(), seed=1)
    noise = step(MIDDLE) - MIDDLE
    np.testing.assert_allclose(np.cov(noise.reshape(-1, 3), rowvar=False), covariance, atol=1e-4)


@pytest.mark.parametrize("kind", ["color", "gray"])
def test_speckle_grows_with_the_image(kind):
    noise = st.GaussianNoise(kind=kind, level=10, speckle=True, seed=1)(STEPPED) - STEPPED
    for column, value in enumerate((0.2, 0.4, 0.8, 1.0)):
        assert noise[:, 64 * column : 64 * column + 64].std() == pytest.approx(value * 10 / 255, rel=0.03)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("peak", [100, 10000])
def test_shot_noise(peak, gray):
    """Its variance is the light over the number of photons at level 1."""
    noise = st.PoissonNoise(peak=peak, gray=gray, seed=1)(STEPPED) - STEPPED
    assert abs(noise.mean()) < 1e-3
    assert (noise == noise[..., :1]).all() == gray
    for column, value in enumerate((0.2, 0.4, 0.8, 1.0)):
        assert noise[:, 64 * column : 64 * column + 64].var() == pytest.approx(value / peak, rel=0.05)


def test_gray_shot_noise_is_that_of_the_luma():
    image = np.zeros((256, 256, 3), np.float32)
    image[..., 1] = 0.5
    noise = st.PoissonNoise(peak=1000, gray=True, seed=1)(image) - image
    assert noise.var() == pytest.approx(0.587 * 0.5 / 1000, rel=0.05)


def test_shifted_colors():
    image = np.full((4, 5, 3), 0.5, np.float32)
    shifted = ShiftColors(levels=(10, -20, 0))(image)
    np.testing.assert_allclose(shifted, np.broadcast_to([0.5 + 10 / 255, 0.5 - 20 / 255, 0.5], image.shape), atol=1e-6)


def test_jittered_colors():
    """Each against its definition; hue and saturation against scikit-image's HSV and gray."""
    image = skimage.data.astronaut()[100:180, 200:300].astype(np.float32) / 255
    gray = (image @ np.float32([0.2989, 0.587, 0.114]))[..., None]

    def jittered(name, value):
        return JitterColors(changes=((name, value),))(image)

    np.testing.assert_allclose(jittered("brightness", 0.7), 0.7 * image, atol=1e-6)
    np.testing.assert_allclose(jittered("contrast", 0.6), 0.6 * image + 0.4 * gray.mean(), atol=1e-4)
    np.testing.assert_allclose(jittered("saturation", 0.2), 0.2 * image + 0.8 * gray, atol=1e-4)
    hsv = skimage.color.rgb2hsv(image)
    hsv[..., 0] = (hsv[..., 0] + 0.1) % 1
    np.testing.assert_allclose(jittered("hue", 0.1), skimage.color.hsv2rgb(hsv), atol=1e-3)
    both = JitterColors(changes=(("brightness", 0.5), ("saturation", 0.2)))(image)
    np.testing.assert_allclose(both, 0.1 * image + 0.4 * gray, atol=1e-4)


def test_strokes_are_white_and_as_wide_as_said():
    image = np.zeros((100, 200, 3), np.float32)
    covered = DrawStrokes(strokes=(((0.25, 0.5), (0.75, 0.5)),), widths=(0.1,))(image)
    column = covered[:, 100, 0]
    assert set(np.unique(covered)) == {0, 1} and 19 <= column.sum() <= 21 and column[50] == 1
    assert covered[50, 45, 0] == 1 and covered[50, 30, 0] == 0 and not image.any()
