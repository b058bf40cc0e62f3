"""`vqcnir inspect CKPT --codebook` as a user runs it."""

import importlib.util
import json

import cv2
import numpy as np
import pyiqa
import pytest
import torch
from conftest import scene
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vqcnir_arch import UserError
from vqcnir_arch.archs.start import start_from_prior
from vqcnir_arch.cli import dispatch
from vqcnir_arch.data import night_blur_pair
from vqcnir_arch.metrics import pyiqa_metric

PNG = b"\x89PNG"


@pytest.fixture
def files(tmp_path, monkeypatch, make_tiny):
    """Two night photos of odd size with their truths, a prior, and a function that saves a network started from it."""
    monkeypatch.chdir(tmp_path)
    for folder in ("lq/v", "gt/v"):
        (tmp_path / folder).mkdir(parents=True)
    for number, name in enumerate(("coffee", "astronaut")):
        pair = night_blur_pair(scene(name, 61, 44), np.random.default_rng(number))
        cv2.imwrite(f"lq/v/{name}.png", pair.low_blur_noise[..., ::-1])
        cv2.imwrite(f"gt/v/{name}.png", pair.high_sharp_scaled[..., ::-1])
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, "prior.pth")

    def save(quantizer):
        net = make_tiny("VQCNIR", quantizer={"type": quantizer})
        start_from_prior(net, "prior.pth", freeze=True)
        torch.save({"params_ema": net.state_dict()}, "net.pth")

    return save


def run(*arguments, out="out", embedding="none"):
    dispatch(["inspect", *arguments, "--codebook", "--out", out, "--embedding", embedding])
    with open(f"{out}/analysis.json", encoding="utf-8") as file:
        return json.load(file)


def written(folder):
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(PNG) and cv2.imread(str(path)).std() > 1
    return {path.name for path in folder.iterdir()}


FIGURES = {"usage.png", "choice.png", "prior.png", "features.png", "analysis.json", "analysis.md"}
ATTENTION = {"attention_matrix.png", "attention_1.png", "attention_2.png"}


@pytest.mark.parametrize(
    ("quantizer", "more"),
    [("NearestCode", set()), ("SinCA", ATTENTION), ("SelfAttention", ATTENTION), ("VectorRegression", {"weights.png"})],
)
def test_with_everything(files, tmp_path, capsys, quantizer, more):
    files(quantizer)
    report = run("net.pth", "--data", "lq", "--gt", "gt", "--prior", "prior.pth")
    assert written(tmp_path / "out") == FIGURES | more
    assert report["images"] == report["of"] == 2
    assert report["notes"] == ["--embedding none: no picture of features and codes"]
    assert len(report["usage"]) == 4
    assert set(report["choice"]["codes"]) == {"input", "clean", "truth", "truth_features"}
    assert report["choice"]["codes"]["truth"]["accuracy"] == {"quantizer": 1.0}
    assert set(report["features"]) == {"unquantised", "nearest", "least_squares", "codebook_rank"}
    assert {image["name"] for image in report["per_image"]} == {"v/coffee", "v/astronaut"}
    assert ("attention" in report, "regression" in report) == (more == ATTENTION, quantizer == "VectorRegression")
    printed = capsys.readouterr().out
    assert "## Codebook usage" in printed and "| ground truth | 100.00% |" in printed and "written to out:" in printed
    assert (tmp_path / "out/analysis.md").read_text(encoding="utf-8").strip() in printed


def test_scores_are_those_of_the_restored_files(files):
    from skimage.metrics import peak_signal_noise_ratio

    from vqcnir_arch import load_network

    files("NearestCode")
    report = run("net.pth", "--data", "lq", "--gt", "gt", "--prior", "prior.pth")
    net = load_network("net.pth")
    for image in report["per_image"]:
        lq, gt = (cv2.imread(f"{side}/{image['name']}.png")[..., ::-1] for side in ("lq", "gt"))
        x = torch.from_numpy(lq.transpose(2, 0, 1).copy()).float().div(255)[None]
        with torch.no_grad():
            restored = net(x)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        expected = peak_signal_noise_ratio(gt, restored, data_range=255)
        assert image["scores"]["input"]["full network"]["psnr"] == pytest.approx(expected, abs=1e-4)


def test_scores_on_luma_and_lpips(files, use_hub, lpips_files, tmp_path):
    """Against scikit-image's luma, and pyiqa on the restored files."""
    use_hub(lpips_files)
    files("NearestCode")
    report = run("net.pth", "--data", "lq", "--gt", "gt", "--prior", "prior.pth", "--lpips")
    dispatch(["restore", "lq", "-w", "net.pth", "-o", "restored", "--device", "cpu", "--padding", "exact"])
    lpips = pyiqa.create_metric("lpips", device="cpu")
    for image in report["per_image"]:
        scores = image["scores"]["input"]["full network"]
        paths = [f"{folder}/{image['name']}.png" for folder in ("gt", "restored")]
        luma = [rgb2ycbcr(cv2.imread(path)[..., ::-1])[..., 0] for path in paths]
        assert scores["psnr_y"] == pytest.approx(peak_signal_noise_ratio(*luma, data_range=255), abs=1e-3)
        gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        assert scores["ssim_y"] == pytest.approx(structural_similarity(*luma, data_range=255, **gaussian), abs=1e-5)
        assert scores["lpips"] == pytest.approx(lpips(paths[1], paths[0]).item(), rel=1e-4)
    table = (tmp_path / "out/analysis.md").read_text()
    assert "| codes | full network, PSNR (Y) | full network, SSIM (Y) | full network, LPIPS |" in table
    assert "| the prior reconstructs | PSNR | SSIM | PSNR (Y) | SSIM (Y) | LPIPS | its brightness" in table
    use_hub(tmp_path / "empty")
    pyiqa_metric._cached_metric.cache_clear()
    with pytest.raises(UserError, match=r"metric 'lpips' needs .*alexnet"):
        run("net.pth", "--data", "lq", "--lpips", out="other")
    pyiqa_metric._cached_metric.cache_clear()
    assert not (tmp_path / "other").exists()


def test_the_same_twice_and_fewer_images(files, tmp_path):
    files("SinCA")
    arguments = ("net.pth", "--data", "lq", "--gt", "gt", "--prior", "prior.pth", "--max-images", "1", "--query", "3,4")
    first, second = (run(*arguments, out=out, embedding="tsne") for out in ("a", "b"))
    assert first == second and (first["images"], first["of"]) == (1, 2) and first["notes"] == []
    assert (tmp_path / "a/embedding.png").read_bytes() == (tmp_path / "b/embedding.png").read_bytes()
    assert set(first["embedding"]["quantizer"]["distance"]) == {
        "input_to_input_codes", "input_to_truth_codes", "truth_to_truth_codes"
    }  # fmt: skip


def test_what_is_missing_is_said(files, tmp_path, capsys):
    files("NearestCode")
    report = run("net.pth", "--data", "lq")
    assert "choice" not in report and "reconstruction" not in report and len(report["usage"]) == 1
    assert [note.split(":")[0] for note in report["notes"]] == ["without --gt", "without --prior", "--embedding none"]
    assert "Note: without --gt: no scores" in capsys.readouterr().out
    report = run("net.pth", "--data", "lq", "--gt", "gt", out="no_prior")
    assert set(report["choice"]["codes"]) == {"input", "clean"}
    assert report["choice"]["codes"]["input"]["accuracy"] is None
    assert written(tmp_path / "no_prior") == FIGURES - {"prior.png", "features.png"}


@pytest.mark.parametrize("sides", [("--data",), ("--gt",), ("--data", "--gt")])
def test_prior_alone(files, tmp_path, sides):
    arguments = [word for side in sides for word in (side, {"--data": "lq", "--gt": "gt"}[side])]
    report = run("prior.pth", *arguments, embedding="tsne")
    sources = {"--gt": "truth", "--data": "prior_on_input"}
    assert {row["source"] for row in report["usage"]} == {sources[side] for side in sides}
    assert ("features" in report) is ("--gt" in sides) and "choice" not in report
    assert "reconstruction" in report and "embedding" in report
    assert len(report["notes"]) == 2 - len(sides) and (tmp_path / "out/embedding.png").is_file()


def test_bad_input(files, make_tiny, monkeypatch):
    files("NearestCode")

    def refused(message, *arguments, **keywords):
        with pytest.raises(UserError, match=message):
            run(*arguments, **keywords)

    refused("checkpoint 'nett.pth' does not exist .did you mean 'net.pth'", "nett.pth", "--data", "lq")
    refused("a restoration network needs --data", "net.pth", "--gt", "gt")
    refused("the prior needs --data or --gt", "prior.pth")
    refused("--data 'lqq' does not exist .did you mean 'lq'", "net.pth", "--data", "lqq")
    refused("prior 'net.pth' is a VQCNIR, expected a prior", "net.pth", "--data", "lq", "--prior", "net.pth")
    refused("is a prior itself: leave --prior out", "prior.pth", "--data", "lq", "--prior", "prior.pth")
    refused("--query: this checkpoint has no attention layer", "net.pth", "--data", "lq", "--query", "61,0")
    refused("--query: this checkpoint has no attention layer", "prior.pth", "--data", "lq", "--query", "61,0")
    torch.save(make_tiny("VQGANPrior").state_dict(), "other.pth")
    refused("'other.pth' is not the prior of", "net.pth", "--data", "lq", "--prior", "other.pth")
    if not torch.cuda.is_available():
        refused("--device 'cuda'", "net.pth", "--data", "lq", "--device", "cuda")
    cv2.imwrite("gt/v/coffee.png", np.zeros((44, 60, 3), np.uint8))
    refused("coffee.png' is 60 x 44, expected 1 times the size of its input", "net.pth", "--data", "lq", "--gt", "gt")
    cv2.imwrite("gt/v/coffee.png", np.zeros((10, 60, 3), np.uint8))
    refused("coffee.png' is 60 x 10: SSIM needs 11 x 11", "net.pth", "--data", "lq", "--gt", "gt")
    cv2.imwrite("gt/v/more.png", np.zeros((44, 61, 3), np.uint8))
    refused("do not pair: 1 without input .v/more", "net.pth", "--data", "lq", "--gt", "gt")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "umap" else real(name))
    refused("--embedding umap needs umap-learn: pip install", "net.pth", "--data", "lq", embedding="umap")
