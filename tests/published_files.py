"""The published option files, kept outside the repository, and their translations at the tests' size."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from conftest import TINY_OPTIONS, scene

FOLDER = Path(os.environ.get("VQCNIR_PUBLISHED_OPTIONS", Path(__file__).parents[2] / "shared/published_options"))
TRAINING = (
    "femasr/train_FeMaSR_HQ_pretrain_stage.yml",
    "femasr/train_FeMaSR_LQ_stage.yml",
    "adacode/train_AdaCode_HQ_stage1_category.yml",
    "adacode/train_AdaCode_HQ_stage2.yaml",
    "adacode/train_AdaCode_stage3.yaml",
    "codeformer/VQGAN_512_ds32_nearest_stage1.yml",
    "codeformer/CodeFormer_stage2.yml",
    "codeformer/CodeFormer_stage3.yml",
    "codeformer/CodeFormer_colorization.yml",
    "codeformer/CodeFormer_inpainting.yml",
    "lednet/train_LEDNet.yml",
    "lednet/train_LEDNetGAN.yml",
)
LIGHTNING = {
    "daefr/HQ_codebook.yaml": "train_daefr_hq_codebook.yml",
    "daefr/LQ_codebook.yaml": "train_daefr_lq_codebook.yml",
    "daefr/Association_stage.yaml": "train_daefr_association.yml",
    "daefr/DAEFR.yaml": "train_daefr.yml",
}
SIDE = 64  # of the made-up images
FACE_SIDE = 32


def published(name: str) -> Path:
    """Return a published file, or skip the test where there are none."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no published option files at {FOLDER} (VQCNIR_PUBLISHED_OPTIONS names their folder)")
    return path


def write_images(folder: Path, side: int, listed: Path) -> None:
    """Write three square images, and the list of them."""
    folder.mkdir(parents=True)
    for name in ("chelsea", "coffee", "rocket"):
        cv2.imwrite(str(folder / f"{name}.png"), scene(name, side, side)[..., ::-1])
    listed.write_text("".join(f"{path}\n" for path in sorted(folder.iterdir())))


def small(options: dict[str, Any], make_tiny: Any, vgg19_file: Path, place: Path) -> dict[str, Any]:
    """Return a translated file that trains one step on made-up images below `place`, with all its losses."""
    options = copy.deepcopy(options)
    network, path, scale = options["network_g"], options["path"], options.get("scale", 1)
    kind, is_face = network["type"], "dataroot" in options["datasets"]["train"] and "val" not in options["datasets"]
    options.update(num_gpu=0, name="small")
    network.update({k: copy.deepcopy(v) for k, v in TINY_OPTIONS[kind].items() if k not in ("scale", "quantizer")})
    if "quantizer" in network:
        network["quantizer"].update(depth=1, num_heads=2)
    if kind == "CodeFormer":
        network["image_size"] = FACE_SIDE
        if "fusion_sizes" in network:
            network["fusion_sizes"] = [FACE_SIDE // 4]  # all but the finest, as inpainting's
    for block in options["datasets"].values():
        for side, factor in (("dataroot", 1), ("dataroot_gt", 1), ("dataroot_lq", scale)):
            if side in block:
                pixels = FACE_SIDE if is_face else SIDE // factor
                folder = place / f"{block['name']}_{side}"
                write_images(folder, pixels, folder.with_suffix(".txt"))
                block[side] = str(folder.with_suffix(".txt") if str(block[side]).endswith(".txt") else folder)
    train = options["datasets"]["train"]
    train.update(gt_size=32, num_worker_per_gpu=0, batch_size_per_gpu=2, dataset_enlarge_ratio=1)
    if "network_d" in options:
        options["network_d"]["num_feat"] = 4
        options["network_d"].update({"num_layers": 2} if options["network_d"]["type"] == "PatchDiscriminator" else {})
    options["train"].update(total_iter=1, gan_start_iter=0) if "gan_opt" in options["train"] else None
    options["train"]["total_iter"] = 1
    for block in map(options["train"].get, ("semantic_opt", "perceptual_opt")):
        if block and block["type"] != "LPIPSLoss":
            block["weights"] = str(vgg19_file)
    if "prior" in network:
        network["prior"] = write_prior(network, make_tiny, place)
    if path.get("pretrain_network_g"):
        start = make_tiny(kind, **{k: v for k, v in network.items() if k not in ("type", "prior", "freeze_prior")})
        path["pretrain_network_g"] = save(start, place / "start.pth", path.get("param_key_g", "params"))
    if path.get("pretrain_network_d"):
        from vqcnir_arch.registry import ARCH_REGISTRY, build

        path["pretrain_network_d"] = save(build(ARCH_REGISTRY, options["network_d"]), place / "d.pth")
    options["val"]["val_freq"] = 1
    options["logger"].update(print_freq=1, save_checkpoint_freq=1)
    return options


def write_prior(network: dict[str, Any], make_tiny: Any, place: Path) -> str | list[str]:
    """Write the checkpoint that a small network starts from, or those."""
    if network["type"] == "AdaCode" and network["stage"] == 2:
        sizes = enumerate(network["codebook_size"])
        return [save(make_tiny("VQGANPrior", codebook_size=size), place / f"prior{i}.pth") for i, size in sizes]
    if network["type"] == "AdaCode":
        return save(make_tiny("AdaCode", stage=2), place / "prior.pth")
    kind = "FaceVQGANPrior" if network["type"] == "CodeFormer" else "VQGANPrior"
    return save(make_tiny(kind), place / "prior.pth")


def save(net: torch.nn.Module, path: Path, key: str = "params") -> str:
    torch.save({key: net.state_dict()}, path)
    return str(path)
