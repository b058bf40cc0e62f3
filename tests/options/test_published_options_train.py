"""Published option files, translated and made small, train one step with all their losses and validate."""

from __future__ import annotations

import pytest
import torch
import yaml
from published_files import TRAINING, published, small

from vqcnir_arch import load_network
from vqcnir_arch.cli import dispatch
from vqcnir_arch.options.read import load_file, read_options


@pytest.mark.usefixtures("fresh_basicsr_log")
@pytest.mark.parametrize("name", TRAINING)
def test_one_step(name, make_tiny, vgg19_file, lpips_files, use_hub, tmp_path, monkeypatch):
    use_hub(lpips_files)
    monkeypatch.chdir(tmp_path)
    dispatch(["convert", str(published(name)), "ours.yml"])
    options = small(yaml.safe_load((tmp_path / "ours.yml").read_text()), make_tiny, vgg19_file, tmp_path)
    (tmp_path / "small.yml").write_text(yaml.safe_dump(options))
    dispatch(["train", "-opt", "small.yml"])

    (log,) = (tmp_path / "experiments/small").glob("train_*.log")
    (line,) = [line for line in log.read_text().splitlines() if "iter:       1" in line]
    losses = {key: f"l_{short}" for key, short in LOSSES.items() if key in options["train"]}
    assert len(losses) == sum(key.endswith("_opt") for key in options["train"])
    assert all(f"{loss}: " in line for loss in losses.values()), line
    net = load_network(tmp_path / "experiments/small/models/net_g_latest.pth")
    assert all(torch.isfinite(tensor).all() for tensor in net.parameters())


LOSSES = {
    "pixel_opt": "pix",
    "perceptual_opt": "percep",
    "gan_opt": "g_gan",
    "codebook_opt": "codebook",
    "semantic_opt": "semantic",
    "alignment_opt": "align",
    "merged_opt": "merged",
    "contrast_opt": "contrast",
    "token_opt": "token",
}


def test_perceptual_loss_of_lednet_is_basicsr_s(vgg19_file, tmp_path, monkeypatch):
    """BasicSR's takes its images, in [-1, 1] there, with the option as published."""
    from basicsr.archs import vgg_arch
    from basicsr.losses import build_loss

    path = published("lednet/train_LEDNet.yml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vgg_arch, "VGG_PRETRAIN_PATH", str(vgg19_file))
    dispatch(["convert", str(path), "ours.yml"])
    ours = build_loss({**read_options("ours.yml")["train"]["perceptual_opt"], "weights": str(vgg19_file)})
    theirs = build_loss(load_file(path)[0]["train"]["perceptual_opt"])
    first, second = torch.rand(2, 2, 3, 32, 32)
    expected, _ = theirs(first * 2 - 1, second * 2 - 1)
    assert ours(first, second).item() == pytest.approx(expected.item(), rel=1e-5)
