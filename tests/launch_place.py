"""Small data sets, checkpoints and option files for whole runs through the launchers."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
import yaml
from conftest import TINY_OPTIONS, write_night_pairs

from vqcnir_arch.archs import VQCNIR, VQGANPrior

FRAMES = [(video, frame) for video in ("0000", "0001") for frame in ("0030", "0031")]
PSNR = {"type": "calculate_psnr", "crop_border": 0, "better": "higher"}


@pytest.fixture(scope="session")
def night_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("night")
    write_night_pairs(root, "train")
    write_night_pairs(root, "test")
    return root


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, small_published_state):
    """Files of a prior and of restoration networks, sound and broken."""
    root = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(3)
    prior = VQGANPrior(**copy.deepcopy(TINY_OPTIONS["VQGANPrior"]))
    torch.save({"params": prior.state_dict()}, root / "prior.pth")
    other = VQGANPrior(**{**copy.deepcopy(TINY_OPTIONS["VQGANPrior"]), "codebook_size": 16})
    torch.save({"params": other.state_dict()}, root / "small_prior.pth")
    torch.save({"params": VQCNIR(**copy.deepcopy(TINY_OPTIONS["VQCNIR"])).state_dict()}, root / "vqcnir.pth")
    torch.save({"params": small_published_state}, root / "published.pth")
    torch.save({"params": torch.nn.Linear(2, 2).state_dict()}, root / "linear.pth")
    (root / "truncated.pth").write_bytes((root / "prior.pth").read_bytes()[:-500])
    (root / "text.pth").write_text("not a checkpoint")
    return root


@pytest.fixture
def place(tmp_path, monkeypatch, night_folder, checkpoints):
    """The current folder, with data and checkpoints in it."""
    shutil.copytree(night_folder, tmp_path / "night")
    (tmp_path / "weights").symlink_to(checkpoints)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def training_set(**more):
    return {
        "name": "pairs", "type": "LOLBlurDataset", "dataroot": "night", "split": "train", "gt_size": 32,
        "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, **more,
    }  # fmt: skip


def validation_set(**more):
    return {"name": "held_out", "type": "LOLBlurDataset", "dataroot": "night", "split": "test", **more}


def options(model, network, datasets, **sections):
    return {
        "name": "tiny", "model_type": model, "scale": 1, "num_gpu": 0, "manual_seed": 0,
        "datasets": datasets, "network_g": network, "path": {"pretrain_network_g": None}, **sections,
    }  # fmt: skip


def training(**losses):
    return {
        "train": {
            "total_iter": 2,
            "optim_g": {"type": "Adam", "lr": 1.0e-3, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            **losses,
        },
        "val": {"val_freq": 2, "save_img": True, "metrics": {"psnr": dict(PSNR)}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2, "use_tb_logger": True},
    }


def prior_options():
    network = {"type": "VQGANPrior", **copy.deepcopy(TINY_OPTIONS["VQGANPrior"])}
    train = {
        "name": "sharp", "type": "SharpImageDataset", "dataroot": "night/train/high_sharp_scaled", "gt_size": 32,
        "num_worker_per_gpu": 0, "batch_size_per_gpu": 2,
    }  # fmt: skip
    val = {"name": "held_out", "type": "SharpImageDataset", "dataroot": "night/test/high_sharp_scaled"}
    sections = training(codebook_opt={"type": "CodebookLoss"})
    return {**options("VQPriorModel", network, {"train": train, "val": val}, **sections), "name": "prior"}


def restoration_options(prior="weights/prior.pth"):
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"]), "prior": prior, "freeze_prior": True}
    datasets = {"train": training_set(), "val": validation_set()}
    return options("VQRestorationModel", network, datasets, **training(alignment_opt={"type": "CodeAlignmentLoss"}))


def options_of_test(checkpoint="weights/vqcnir.pth"):
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"])}
    content = options("VQRestorationModel", network, {"test": validation_set()})
    content["path"]["pretrain_network_g"] = checkpoint
    content["val"] = {"save_img": True, "suffix": None, "metrics": {"psnr": dict(PSNR)}}
    return content


options_of_test.__test__ = False


def written(content, path="options.yml"):
    with open(path, "w") as file:
        yaml.safe_dump(content, file, sort_keys=False)
    return ["-opt", path]


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
