"""Every column of every protocol beside an independent computation, on real photographs."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pyiqa
import pytest
import pytorch_msssim
import torch
from basicsr.metrics import calculate_niqe
from evaluation_tree import noisy, write_niqe_parameters
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vqcnir_arch.evaluation import PROTOCOLS, evaluate
from vqcnir_arch.evaluation.columns import batch_function, host_function

SHARED = Path(os.environ.get("VQCNIR_SHARED", Path(__file__).parents[3] / "shared")) / "data"
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def values(evaluation, column):
    return {image: value.value for image, value in evaluation.measured.values[column].items()}


def rgb_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))[None].float() / 255


def column(protocol, name):
    return next(column for column in PROTOCOLS[protocol].columns if column.name == name)


def host(protocol, name):
    return host_function(column(protocol, name), PROTOCOLS[protocol])


def test_lolblur(tree, use_hub, lpips_files):
    use_hub(lpips_files)
    evaluation = evaluate(tree.results, "lolblur", tree.gt, batch=3)
    assert not evaluation.measured.skipped and not evaluation.measured.failed
    direct = {name: pyiqa.create_metric(name, device="cpu") for name in ("lpips", "lpips-vgg")}
    for name, image in tree.images.items():
        truth = tree.truths[name]
        expected = peak_signal_noise_ratio(truth, image)
        assert values(evaluation, "psnr")[name] == pytest.approx(expected, abs=1e-6)
        expected = structural_similarity(truth, image, channel_axis=2, **GAUSSIAN)
        assert values(evaluation, "ssim")[name] == pytest.approx(expected, abs=1e-6)
        luma = [rgb2ycbcr(x[..., ::-1])[..., 0] for x in (truth, image)]
        expected = structural_similarity(*luma, data_range=255, **GAUSSIAN)
        assert values(evaluation, "ssim_y")[name] == pytest.approx(expected, abs=1e-5)
        expected = calculate_niqe(image, crop_border=0)
        assert values(evaluation, "niqe")[name] == pytest.approx(expected, rel=1e-6)
        for ours, theirs in (("lpips", "lpips"), ("lpips_vgg", "lpips-vgg")):
            expected = direct[theirs](rgb_tensor(image), rgb_tensor(truth)).item()
            assert values(evaluation, ours)[name] == pytest.approx(expected, rel=1e-4)
    assert evaluation.means["psnr"].mean == pytest.approx(np.mean(list(values(evaluation, "psnr").values())))


def test_gt_mean(tree):
    """By its formula, with scikit-image: a dark result gains what brightness alone cost it, in these columns alone."""
    for name, image in tree.images.items():
        cv2.imwrite(f"{tree.results}/{name}.png", np.round(image * 0.5).astype(np.uint8))
    evaluation = evaluate(tree.results, "lolblur", tree.gt)
    for name, truth in tree.truths.items():
        dark = cv2.imread(f"{tree.results}/{name}.png")
        grey, wanted = (np.round(image @ [0.114, 0.587, 0.299]).mean() for image in (dark, truth))
        scaled = np.minimum(dark * (wanted / grey), 255)
        expected = peak_signal_noise_ratio(truth.astype(float), scaled, data_range=255)
        assert values(evaluation, "psnr_gtmean")[name] == pytest.approx(expected, abs=2e-3)
        expected = structural_similarity(truth.astype(float), scaled, data_range=255, channel_axis=2, **GAUSSIAN)
        assert values(evaluation, "ssim_gtmean")[name] == pytest.approx(expected, abs=1e-5)
        assert values(evaluation, "psnr")[name] == pytest.approx(peak_signal_noise_ratio(truth, dark), abs=1e-6)
    assert evaluation.means["psnr_gtmean"].mean > evaluation.means["psnr"].mean + 5


def test_gt_mean_of_a_black_result(tree):
    cv2.imwrite(f"{tree.results}/0000/0030.png", np.zeros((104, 200, 3), np.uint8))
    value = evaluate(tree.results, "lolblur", tree.gt).measured.values["psnr_gtmean"]["0000/0030"]
    assert value.value is None and value.note.startswith("a black image has no scale")


def test_bsr_on_the_luma_of_bt601(tree, use_hub, lpips_files):
    use_hub(lpips_files)
    evaluation = evaluate(tree.results, "bsr", tree.gt)
    for name, image in tree.images.items():
        luma = [rgb2ycbcr(x[..., ::-1])[..., 0] for x in (tree.truths[name], image)]
        bt601 = peak_signal_noise_ratio(*luma, data_range=255)
        assert values(evaluation, "psnr_y")[name] == pytest.approx(bt601, abs=1e-3)
        # YIQ's luma takes 0 to 255 where BT.601's takes 16 to 235: 20 log10(255 / 219) dB
        assert bt601 - values(evaluation, "psnr_y_yiq")[name] == pytest.approx(20 * np.log10(255 / 219), abs=0.01)


def test_vqcnir_paper(tree, use_hub, lpips_files):
    """pyiqa called on the files, as the paper's script did."""
    use_hub(lpips_files)
    evaluation = evaluate(tree.results, "vqcnir-paper", tree.gt, batch=4)
    for ours, theirs in (("psnr", "psnr"), ("ssim_y", "ssim"), ("ssim", "ssimc"), ("lpips", "lpips")):
        direct = pyiqa.create_metric(theirs, device="cpu")
        for name, value in values(evaluation, ours).items():
            expected = direct(f"{tree.results}/{name}.png", f"{tree.gt}/{name}.png").item()
            assert value == pytest.approx(expected, rel=1e-5), ours


def test_lednet_feeds_bgr(tree, use_hub, lpips_files):
    use_hub(lpips_files)
    evaluation = evaluate(tree.results, "lednet", tree.gt)
    rgb = evaluate(tree.results, "vqcnir-paper", tree.gt)
    ssim, lpips = (pyiqa.create_metric(name, device="cpu") for name in ("ssim", "lpips-vgg"))
    for name in tree.images:
        pair = [
            torch.from_numpy(cv2.imread(f"{folder}/{name}.png")).permute(2, 0, 1)[None] / 255
            for folder in (tree.results, tree.gt)
        ]
        assert values(evaluation, "ssim_y")[name] == pytest.approx(ssim(*pair).item(), abs=1e-7)
        assert values(evaluation, "lpips_vgg")[name] == pytest.approx(lpips(*pair).item(), rel=1e-4)
        assert values(evaluation, "psnr")[name] == pytest.approx(values(rgb, "psnr")[name], abs=1e-4)
    difference = evaluation.means["ssim_y"].mean - rgb.means["ssim_y"].mean
    assert 1e-4 < abs(difference) < 2e-2  # small, and in the third digit of a table


def test_darkir_on_floats(tree, use_hub, lpips_files):
    use_hub(lpips_files)
    outputs = {}
    for seed, (name, truth) in enumerate(tree.truths.items()):
        rgb = truth[..., ::-1].astype(np.float32) / 255
        outputs[name] = rgb + np.random.default_rng(seed).normal(0, 0.1, rgb.shape).astype(np.float32)
        assert outputs[name].min() < 0 and outputs[name].max() > 1  # as a network gives it
        np.save(f"{tree.results}/{name}.npy", outputs[name])
    evaluation = evaluate(tree.results, "darkir", tree.gt)
    # the network's own call, the range left as it is: what the lpips package does with normalize=False
    net = pyiqa.create_metric("lpips-vgg", device="cpu").net
    for name, output in outputs.items():
        result = torch.from_numpy(output).permute(2, 0, 1)[None]
        truth = rgb_tensor(tree.truths[name])
        psnr = 10 * torch.log10(1 / ((result - truth).double() ** 2).mean()).item()
        assert values(evaluation, "psnr")[name] == pytest.approx(psnr, abs=1e-4)
        ssim = pytorch_msssim.ssim(result.double(), truth.double(), data_range=1).item()
        assert values(evaluation, "ssim")[name] == pytest.approx(ssim, abs=1e-5)
        with torch.no_grad():
            halved = net((result + 1) / 2, (truth + 1) / 2).item()
            usual = net(result, truth).item()
        assert values(evaluation, "lpips_vgg_01")[name] == pytest.approx(halved, rel=1e-4)
        assert abs(halved - usual) > 0.01 * usual
    # rounded to 8 bit it is another number: why such images are refused
    clamped = [np.round(output.clip(0, 1) * 255) / 255 for output in outputs.values()]
    truths = [truth[..., ::-1] / 255 for truth in tree.truths.values()]
    rounded = np.mean([peak_signal_noise_ratio(t, c, data_range=1) for t, c in zip(truths, clamped, strict=True)])
    assert rounded - evaluation.means["psnr"].mean > 0.05


def test_niqe_of_both_libraries(tree, use_hub, tmp_path):
    use_hub(tmp_path)
    write_niqe_parameters(tmp_path)
    evaluation = evaluate(tree.results, "real-lolblur")
    direct = pyiqa.create_metric("niqe", device="cpu")
    for name, image in tree.images.items():
        assert values(evaluation, "niqe")[name] == pytest.approx(calculate_niqe(image, crop_border=0), rel=1e-6)
        assert values(evaluation, "niqe_pyiqa")[name] == pytest.approx(direct(rgb_tensor(image)).item(), rel=1e-4)
    assert abs(evaluation.means["niqe"].mean - evaluation.means["niqe_pyiqa"].mean) > 1e-3
    assert set(evaluation.measured.skipped) == {"musiq", "nrqm", "brisque", "pi"}
    assert str(tmp_path / "pyiqa/musiq_koniq_ckpt-e95806b9.pth") in evaluation.measured.skipped["musiq"]


def test_fid_names_its_reference_set(tree, use_hub, monkeypatch, tmp_path):
    """With random Inception weights in pyiqa's layout, and 64 of its features: the root of 2,048² takes a minute."""
    from pyiqa.archs import fid_arch, inception

    hub = tmp_path / "hub"
    (hub / "pyiqa").mkdir(parents=True)
    use_hub(hub)
    file = hub / "pyiqa/pt_inception-2015-12-05-6726825d.pth"
    with monkeypatch.context() as patch:
        patch.setattr(inception, "load_pretrained_network", lambda *args: None)
        torch.save(inception.fid_inception_v3().state_dict(), file)
    all_features = fid_arch.get_folder_features

    def some_features(*args, **kwargs):
        return all_features(*args, **kwargs)[:, :64] * 1e7  # with random weights they are of the order of 1e-8

    monkeypatch.setattr(fid_arch, "get_folder_features", some_features)
    evaluation = evaluate(tree.results, "face", tree.gt, reference=tree.gt)
    direct = pyiqa.create_metric("fid", device="cpu")
    expected = float(direct(str(tree.results), str(tree.gt), num_workers=0, verbose=False))
    file.unlink()
    assert evaluation.means["fid"].mean == pytest.approx(expected, rel=1e-6)
    assert expected > 1e-3
    assert evaluation.about["reference set"] == str(tree.gt)
    assert set(evaluation.measured.skipped) == {"lpips", "niqe_pyiqa"}


@pytest.mark.parametrize("name", ["psnr", "ssim_y", "ssim"])
def test_batches_give_the_same_values(tree, name):
    function = batch_function(column("vqcnir-paper", name), PROTOCOLS["vqcnir-paper"], torch.device("cpu"))
    results, truths = ([image[:64, :64] for image in images.values()] for images in (tree.images, tree.truths))
    single = [function([r], [t])[0] for r, t in zip(results, truths, strict=True)]
    assert function(results, truths) == pytest.approx(single, rel=1e-6)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no photographs in {SHARED} (VQCNIR_SHARED)")
def test_real_photographs():
    """PSNR, SSIM and NIQE on frames of the kind that the protocols are for."""
    for path in sorted((SHARED / "night/lednet_synthetic").glob("*.png")):
        truth = cv2.imread(str(path))[:320, :560]
        image = noisy(truth, 10, 0)
        assert host("lolblur", "psnr")(image, truth) == pytest.approx(peak_signal_noise_ratio(truth, image), abs=1e-6)
        expected = structural_similarity(truth, image, channel_axis=2, **GAUSSIAN)
        assert host("lolblur", "ssim")(image, truth) == pytest.approx(expected, abs=1e-6)
        assert host("lolblur", "niqe")(image, None) == pytest.approx(calculate_niqe(image, 0), rel=1e-6)
