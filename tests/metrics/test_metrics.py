"""`calculate_pyiqa` beside BasicSR and scikit-image, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import basicsr.metrics
import numpy as np
import pytest
import scipy.io
import torch
from basicsr.metrics import calculate_metric, calculate_niqe, calculate_psnr, calculate_ssim
from conftest import scene
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vqcnir_arch import UserError
from vqcnir_arch.metrics import calculate_pyiqa
from vqcnir_arch.metrics import pyiqa_metric as module


def noisy(image, sigma=8.0):
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photo():
    """A photograph as BasicSR hands it to metrics: BGR uint8."""
    return np.ascontiguousarray(scene("astronaut", 128, 96)[..., ::-1])


@pytest.fixture(scope="module")
def large_photo():
    return np.ascontiguousarray(scene("coffee", 300, 200)[..., ::-1])


@pytest.fixture(scope="module")
def niqe_file(tmp_path_factory):
    """NIQE's parameters in pyiqa's layout, from the file inside BasicSR."""
    bundled = np.load(Path(basicsr.metrics.__file__).parent / "niqe_pris_params.npz")
    path = tmp_path_factory.mktemp("niqe") / "niqe.mat"
    scipy.io.savemat(path, {f"{name}_prisparam": bundled[f"{name}_pris_param"] for name in ("mu", "cov")})
    return path


@pytest.fixture(autouse=True)
def empty_cache():
    module._cached_metric.cache_clear()
    yield
    module._cached_metric.cache_clear()


# agreement


@pytest.mark.parametrize("border", [0, 5])
def test_psnr(photo, border):
    restored = noisy(photo)
    value = calculate_pyiqa(restored, photo, metric="psnr", crop_border=border)
    assert type(value) is float
    assert 25 < value < 35
    assert value == pytest.approx(calculate_psnr(restored, photo, crop_border=border), abs=1e-3)
    inner = np.s_[border : 96 - border, border : 128 - border]
    assert value == pytest.approx(peak_signal_noise_ratio(photo[inner], restored[inner]), abs=1e-3)


@pytest.mark.parametrize("border", [0, 5])
def test_ssim(photo, border):
    restored = noisy(photo)
    value = calculate_pyiqa(restored, photo, metric="ssimc", crop_border=border)
    assert value < 0.95
    assert value == pytest.approx(calculate_ssim(restored, photo, crop_border=border), abs=1e-6)
    inner = np.s_[border : 96 - border, border : 128 - border]
    scikit = structural_similarity(
        photo[inner], restored[inner], channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert value == pytest.approx(scikit, abs=2e-3)


def test_crop_border_is_cut_away(photo):
    """A frame of other colour counts only without the crop."""
    restored = np.zeros_like(photo)
    restored[4:-4, 4:-4] = photo[4:-4, 4:-4]
    assert calculate_pyiqa(restored, photo, metric="psnr", crop_border=4) == pytest.approx(80)  # pyiqa's ceiling
    assert calculate_pyiqa(restored, photo, metric="psnr", crop_border=3) < 40


def test_niqe(large_photo, niqe_file):
    restored = noisy(large_photo, 20)
    options = {"metric": "niqe", "pretrained_model_path": str(niqe_file), "color_space": "ycbcr", "better": "lower"}
    value = calculate_pyiqa(restored, **options)
    assert value == pytest.approx(calculate_niqe(restored, crop_border=0), abs=1e-3)
    clean = calculate_pyiqa(large_photo, large_photo, **options)  # a ground truth is of no use, and no error
    assert abs(clean - value) > 0.5


def test_channels_are_turned_to_rgb(photo):
    """Luma of a red image, which BGR read as RGB would take for blue."""
    red = np.zeros_like(photo)
    red[..., 2] = 255
    black = np.zeros_like(photo)
    value = calculate_pyiqa(red, black, metric="psnr", test_y_channel=True, color_space="ycbcr")
    # BT.601: black is 16, red 16 + 65.481
    assert value == pytest.approx(20 * np.log10(255 / (65.481)), abs=0.1)


def test_grey_image(photo):
    grey, other = photo[..., 1], noisy(photo)[..., 1]
    value = calculate_pyiqa(other, grey, metric="psnr")
    assert value == pytest.approx(peak_signal_noise_ratio(grey, other), abs=1e-3)
    assert value == pytest.approx(calculate_pyiqa(np.dstack([other] * 3), np.dstack([grey] * 3), metric="psnr"))


def test_from_an_option_file(photo):
    """BasicSR copies the block for every image and hands on all of its keys."""
    block = {"type": "calculate_pyiqa", "metric": "psnr", "better": "higher", "crop_border": 2}
    value = calculate_metric({"img": noisy(photo), "img2": photo}, block)
    assert value == pytest.approx(calculate_psnr(noisy(photo), photo, crop_border=2), abs=1e-3)


def test_lpips(photo, use_hub, lpips_files):
    use_hub(lpips_files)
    assert calculate_pyiqa(photo, photo, metric="lpips", better="lower") == pytest.approx(0, abs=1e-6)
    assert (
        calculate_pyiqa(noisy(photo, 40), photo, metric="lpips")
        > calculate_pyiqa(noisy(photo), photo, metric="lpips")
        > 0
    )


# how it is built


def test_built_once_and_off_the_random_state(photo, use_hub, lpips_files, monkeypatch):
    import pyiqa

    use_hub(lpips_files)
    built = []
    original = pyiqa.create_metric
    monkeypatch.setattr(pyiqa, "create_metric", lambda name, **kw: built.append(name) or original(name, **kw))
    before = torch.get_rng_state()
    for _ in range(2):
        calculate_pyiqa(noisy(photo), photo, metric="lpips")
        calculate_pyiqa(noisy(photo), photo, metric="psnr")
    assert built == ["lpips", "psnr"]
    assert torch.equal(torch.get_rng_state(), before)
    calculate_pyiqa(noisy(photo), photo, metric="psnr", test_y_channel=True)
    assert built == ["lpips", "psnr", "psnr"]


def test_plain_import_leaves_pyiqa_alone():
    code = (
        "import sys, random, torch; state = torch.get_rng_state(), random.getstate()\n"
        "import vqcnir_arch\n"
        "assert 'pyiqa' not in sys.modules and 'skimage' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "assert torch.equal(state[0], torch.get_rng_state()) and state[1] == random.getstate()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# what it refuses


def refusal(*args, **options):
    with pytest.raises(UserError) as caught:
        calculate_pyiqa(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_weights_name_the_file(photo, use_hub, tmp_path):
    use_hub(tmp_path)
    message = refusal(photo, metric="musiq")
    assert str(tmp_path / "pyiqa/musiq_koniq_ckpt-e95806b9.pth") in message
    message = refusal(photo, photo, metric="lpips")
    assert str(tmp_path / "checkpoints/alexnet-owt-7be5be79.pth") in message
    assert str(tmp_path / "pyiqa/niqe_modelparameters.mat") in refusal(photo, metric="niqe")


def test_unknown_metric(photo):
    assert "pyiqa has no metric 'lpip' (did you mean 'lpips'?)" in refusal(photo, photo, metric="lpip")


def test_unknown_option_of_a_metric(photo, niqe_file):
    message = refusal(photo, metric="niqe", pretrained_model_path=str(niqe_file), colour_space="ycbcr")
    assert "metric 'niqe'" in message
    assert "colour_space" in message


def test_wrong_file_of_a_metric(photo, tmp_path):
    path = tmp_path / "niqe.mat"
    options = {"metric": "niqe", "pretrained_model_path": str(path)}
    assert f"metric 'niqe': pretrained_model_path '{path}' does not exist" in refusal(photo, **options)
    scipy.io.savemat(path, {"mean": np.zeros(3)})
    assert "metric 'niqe' cannot be built by pyiqa" in refusal(photo, **options)
    path.write_text("no such file")
    assert "metric 'niqe' cannot be built by pyiqa" in refusal(photo, **options)


def test_full_reference_without_ground_truth(photo):
    assert "metric 'psnr' compares with a ground truth, but this data set has none" in refusal(photo, metric="psnr")


@pytest.mark.parametrize(("metric", "wrong"), [("psnr", "lower"), ("ssimc", "lower"), ("psnr", "bigger")])
def test_wrong_direction(photo, metric, wrong):
    assert f"metric '{metric}': 'better: {wrong}' is wrong" in refusal(photo, photo, metric=metric, better=wrong)


def test_wrong_direction_of_a_lower_is_better_metric(photo, niqe_file):
    assert "'better: higher' is wrong" in refusal(
        photo, metric="niqe", pretrained_model_path=str(niqe_file), better="higher"
    )
