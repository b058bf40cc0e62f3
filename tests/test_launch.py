"""Whole runs on a CPU through the launchers, and BasicSR's own SRModel."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import cv2
import pytest
import torch
from conftest import SMALL_PUBLISHED_OPTIONS, TINY_OPTIONS
from launch_place import (
    FRAMES,
    files_below,
    options,
    options_of_test,
    prior_options,
    restoration_options,
    training,
    training_set,
    validation_set,
    written,
)

import vqcnir_arch
from vqcnir_arch import load_network
from vqcnir_arch.launch import run
from vqcnir_arch.pipeline_fixes import PipelineFixes

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


def test_both_stages_and_a_test(place, capsys):
    run("train", written(prior_options()))
    run("train", written(restoration_options("experiments/prior/models/net_g_latest.pth")))
    run("test", written(options_of_test("experiments/tiny/models/net_g_latest.pth")))
    log = capsys.readouterr().err
    assert "codebook_usage" in log and "perplexity" in log and "VQCNIR: what trains" in log

    prior = load_network("experiments/prior/models/net_g_2.pth")
    restored = load_network("experiments/tiny/models/net_g_latest.pth")
    assert type(prior).__name__ == "VQGANPrior" and type(restored).__name__ == "VQCNIR"
    assert torch.equal(prior.quantizer.codebook, restored.quantizer.codebook)
    assert not torch.equal(prior.encoder.in_conv.weight, restored.encoder.in_conv.weight)

    found = files_below(place / "experiments/tiny")
    for name in ("models/net_g_2.pth", "models/net_g_latest.pth", "training_states/2.state", "options.yml"):
        assert name in found
    for video, frame in FRAMES:
        assert f"visualization/held_out/{video}/{frame}/{frame}_2.png" in found
    for name in ("prior", "tiny"):
        assert list((place / "tb_logger" / name).glob("events.out.tfevents.*"))
    assert [path.name for path in (place / "experiments/tiny").glob("train_tiny_*.log")]

    for video, frame in FRAMES:
        lq = cv2.imread(f"night/test/low_blur_noise/{video}/{frame}.png")
        with torch.no_grad():
            output = restored(torch.from_numpy(lq[..., ::-1].copy()).permute(2, 0, 1).float().div(255)[None])[0]
        expected = output.clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()[..., ::-1]
        assert abs(cv2.imread(f"results/tiny/visualization/held_out/{video}/{frame}.png") - expected).max() <= 1


def test_root(place):
    content = restoration_options()
    content["logger"]["use_tb_logger"] = False
    del content["val"]
    (place / "elsewhere").mkdir()
    run("train", [*written(content), "--root", "elsewhere"])
    assert (place / "elsewhere/experiments/tiny/models/net_g_latest.pth").is_file()
    run("test", ["--root", str(place / "elsewhere"), *written(options_of_test())])
    assert (place / "elsewhere/results/tiny/visualization/held_out/0001/0030.png").is_file()
    assert not (place / "experiments").exists() and not (place / "results").exists()


def launch(module, *arguments, cwd):
    """A true process, with this checkout's package."""
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(vqcnir_arch.__file__))}
    command = [sys.executable, *module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


def test_real_process(place):
    """Two loader processes: one run that works, and one that meets an image that cannot be read."""
    content = restoration_options()
    content["train"]["total_iter"] = 1
    content["datasets"]["train"]["num_worker_per_gpu"] = 2
    del content["val"]
    arguments = written(content)
    done = launch(["-m", "vqcnir_arch.train"], *arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    assert type(load_network("experiments/tiny/models/net_g_latest.pth")).__name__ == "VQCNIR"

    content["train"]["total_iter"] = 8
    content["datasets"]["train"]["dataset_enlarge_ratio"] = 4
    broken = place / "night/train/low_blur_noise/0001/0030.png"
    broken.write_bytes(broken.read_bytes()[:60])
    done = launch(["-m", "vqcnir_arch.train"], *written(content), cwd=place)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("vqcnir: error: ")] == [
        "vqcnir: error: image 'night/train/low_blur_noise/0001/0030.png' cannot be read: "
        "truncated or not an image (60 bytes)"
    ]
    # the earlier run was put aside, not overwritten
    assert len(list((place / "experiments").glob("tiny_archived_*/models/net_g_latest.pth"))) == 1


def test_three_lines_train_a_network_of_ours_with_basicsrs_model(place):
    """BasicSR's SRModel and data set, from a published file, strictly."""
    train = {
        "name": "pairs", "type": "PairedImageDataset", "dataroot_lq": "night/train/low_blur_noise/0000",
        "dataroot_gt": "night/train/high_sharp_scaled/0000", "io_backend": {"type": "disk"}, "gt_size": 32,
        "use_hflip": True, "use_rot": True, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, "use_shuffle": True,
        "dataset_enlarge_ratio": 4,
    }  # fmt: skip
    val = {**train, "name": "held_out", "dataroot_lq": "night/test/low_blur_noise/0001",
           "dataroot_gt": "night/test/high_sharp_scaled/0001"}  # fmt: skip
    network = {"type": "VQCNIR", **copy.deepcopy(SMALL_PUBLISHED_OPTIONS)}
    content = options("SRModel", network, {"train": train, "val": val}, **training())
    content["path"] = {"pretrain_network_g": "weights/published.pth", "strict_load_g": True}
    content["train"]["ema_decay"] = 0.5
    script = "import vqcnir_arch\nfrom basicsr.train import train_pipeline\ntrain_pipeline('.')"  # what a user writes
    done = launch(["-c", script], *written(content), cwd=place)
    assert done.returncode == 0, done.stderr
    assert "# psnr:" in done.stderr
    assert (place / "experiments/tiny/visualization/0030/0030_2.png").is_file()

    published = load_network("weights/published.pth")
    trained = load_network("experiments/tiny/models/net_g_latest.pth")
    assert trained.options == {**published.options, "padding": "exact"}
    assert torch.equal(trained.quantizer.codebook, published.quantizer.codebook)
    difference = (trained.encoder.in_conv.weight - published.encoder.in_conv.weight).abs().max()
    assert 0 < difference < 0.01  # two steps away, and so really started from it


def test_basicsrs_model_through_our_launcher(place):
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"])}
    content = options("SRModel", network, {"train": training_set(), "val": validation_set(every_nth=3)}, **training())
    content["logger"]["use_tb_logger"] = False
    run("train", written(content))
    assert load_network("experiments/tiny/models/net_g_latest.pth").options["codebook_size"] == 32


def test_numbers_that_yaml_leaves_as_strings(place):
    content = restoration_options()
    content["logger"]["use_tb_logger"] = False
    del content["val"]
    arguments = written(content)
    text = (place / "options.yml").read_text()
    assert "lr: 0.001" in text
    (place / "options.yml").write_text(text.replace("lr: 0.001", "lr: 1e-4"))
    run("train", arguments)
    state = torch.load("experiments/tiny/training_states/2.state", weights_only=True)
    assert state["optimizers"][0]["param_groups"][0]["initial_lr"] == 1e-4


def test_force_yml(place):
    content = restoration_options()
    content["logger"]["use_tb_logger"] = False
    content["network_g"]["prior"] = None
    del content["val"], content["network_g"]["freeze_prior"], content["train"]["alignment_opt"]
    forced = ["train:total_iter=1", "train:optim_g:lr=1e-5", "name=forced", "manual_seed=0"]
    for name, seed in (("a", 0), ("b", 1), ("c", 1)):
        run("train", [*written(content), "--force_yml", *forced[:2], f"name={name}", f"manual_seed={seed}"])
    a, b, c = (load_network(f"experiments/{name}/models/net_g_latest.pth") for name in "abc")
    kept = (place / "experiments/b/options.yml").read_text()
    assert "--force_yml train:total_iter=1 train:optim_g:lr=1e-5 name=b manual_seed=1" in kept.partition("\n\n")[0]
    # BasicSR seeds before it reads --force_yml: the launcher must not
    assert torch.equal(b.encoder.in_conv.weight, c.encoder.in_conv.weight)
    assert not torch.equal(a.encoder.in_conv.weight, b.encoder.in_conv.weight)
    content.update(name="d", manual_seed=1)
    content["train"].update(total_iter=1)
    content["train"]["optim_g"]["lr"] = 1e-5
    run("train", written(content))
    d = load_network("experiments/d/models/net_g_latest.pth")
    assert torch.equal(b.encoder.in_conv.weight, d.encoder.in_conv.weight)


def test_basicsr_gets_the_options_that_were_checked(place, monkeypatch):
    """Not what it would make of the file and of the forced entries itself: `none` is a name, `1e-4` a number."""

    class Reached(Exception):
        pass

    def reached(self, options):
        raise Reached(options)

    monkeypatch.setattr(PipelineFixes, "load_resume_state", reached)
    content = restoration_options()
    content["train"]["amp"] = "bf16"
    forced = ["train:amp=none", "train:optim_g:lr=1e-5", "datasets:train:dataroot=[night]"]
    before = list(sys.argv)
    with pytest.raises(Reached) as caught:
        run("train", [*written(content), "--auto_resume", "--debug", "--force_yml", *forced])
    (options,) = caught.value.args
    assert options["train"]["amp"] == "none" and options["train"]["optim_g"]["lr"] == 1e-5
    assert options["datasets"]["train"]["dataroot"] == ["night"]
    assert options["auto_resume"] and options["name"] == "debug_tiny" and options["logger"]["print_freq"] == 1
    assert sys.argv == before


def test_auto_resume(place, capsys):
    content = restoration_options()
    content["logger"].update(use_tb_logger=False, save_checkpoint_freq=1)
    del content["val"]
    run("train", [*written(content), "--root", "runs"])
    content["train"]["total_iter"] = 3
    capsys.readouterr()
    run("train", [*written(content), "--root", "runs", "--auto_resume"])
    assert "Resuming training from epoch: 0, iter: 2" in capsys.readouterr().err.replace("epoch: 1", "epoch: 0")
    assert [path.name for path in (place / "runs/experiments").iterdir()] == ["tiny"]
    names = files_below(place / "runs/experiments/tiny/training_states")
    assert names == ["1.state", "2.state", "3.state"]
    state = torch.load(place / "runs/experiments/tiny/training_states/3.state", weights_only=True)
    assert state["optimizers"][0]["state"][0]["step"].item() == 3

    run("train", [*written({**content, "name": "new"}), "--root", "runs", "--auto_resume"])  # nothing to resume: start
    assert (place / "runs/experiments/new/models/net_g_latest.pth").is_file()
