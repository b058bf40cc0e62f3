"""The option files of FeMaSR and AdaCode: able to train, save and load."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from basicsr.models import build_model
from conftest import TINY_OPTIONS
from model_experiments import moved, snapshot
from network_facts import count, frozen_names

import vqcnir_arch
from vqcnir_arch.archs import find_quantizers
from vqcnir_arch.options.check import check_options
from vqcnir_arch.options.read import read_options
from vqcnir_arch.registry import ARCH_REGISTRY, build

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "options"
FILES = {p.relative_to(FOLDER).as_posix(): p for host in ("femasr", "adacode") for p in FOLDER.glob(f"{host}/**/*.yml")}
TRAINING = [name for name in FILES if "/train_" in name]
NEEDS_WEIGHTS = ("perceptual_opt", "semantic_opt", "gan_opt")


def read(name):
    return check_options(read_options(FILES[name]), is_train="/train_" in name)


def test_rows_of_the_papers():
    """Every row of SinCA's tables 1, 3 and 4 and of figure 5 has a file; released networks have a test."""
    rows = {"x2_retrain", "x2_sinca", "x4_retrain", "x4_sinca", "x2_index", "x2_self_attention", "x2_cross_attention",
            "x2_vr", "x4_vr"}  # fmt: skip
    for host in ("femasr", "adacode"):
        expected = {f"{host}/sinca/train_{host}_{row}.yml" for row in rows}
        expected |= {f"{host}/test_{host}_x2.yml", f"{host}/test_{host}_x4.yml"}
        assert expected <= set(FILES)
    assert "femasr/sinca/train_femasr_x2_without_fusion.yml" in FILES


@pytest.mark.parametrize("host", ["FeMaSR", "AdaCode"])
def test_rows_differ_from_the_retrained_host(host):
    """In the quantizer or the fusion and the loss that it needs; the budget is the same for all."""
    folder = host.lower()
    base = read(f"{folder}/sinca/train_{folder}_x2_retrain.yml")
    for name in TRAINING:
        if name.startswith(f"{folder}/sinca/train_{folder}_x2_"):
            row = read(name)
            for options in (row, base):
                for key in ("quantizer", "feature_fusion"):
                    options["network_g"].pop(key, None)
                options.pop("name", None)
                for loss in ("matching_opt", "token_opt"):
                    options["train"].pop(loss, None)
                if name.endswith("_feature_alone.yml"):
                    options["train"].pop("alignment_opt", None)
            assert row == base
            base = read(f"{folder}/sinca/train_{folder}_x2_retrain.yml")


def test_published_validation_decides_which_is_best():
    """FeMaSR's and AdaCode's option files: best by LPIPS, 4 pixels cut off; AdaCode's stage 2 takes the best."""
    for name in TRAINING:
        val = read(name)["val"]
        assert val["key_metric"] == "lpips", name
        assert {val["metrics"][m]["crop_border"] for m in ("psnr", "ssim")} == {4}, name
    assert all(
        path.endswith("net_g_best.pth") for path in read("adacode/train_adacode_stage2.yml")["network_g"]["prior"]
    )
    stage1 = {read(n)["datasets"]["val"]["dataroot"] for n in TRAINING if "adacode_stage1" in n}
    assert stage1 == set(read("adacode/train_adacode_stage2.yml")["datasets"]["val"]["dataroot"]) and len(stage1) == 5
    frequencies = {read(f"adacode/train_adacode_{stage}.yml")["val"]["val_freq"] for stage in ("stage2", "x2", "x4")}
    assert frequencies == {3000}


def shrink(name, network, make_tiny, folder):
    """The same network at the tests' size, with the priors that it starts from."""
    kind = network["type"]
    keep = {key: value for key, value in network.items() if key not in TINY_OPTIONS[kind] or key == "scale"}
    small = {**copy.deepcopy(TINY_OPTIONS[kind]), **keep}
    if kind == "VQGANPrior":
        return {**small, "semantic_dim": 0}
    if "quantizer" in small:
        few = {"depth": [2, 1] if kind == "AdaCode" else 1, "num_heads": 4}
        small["quantizer"] = {**small["quantizer"], **{k: v for k, v in few.items() if k in small["quantizer"]}}
    if small.get("stage") == 2:
        priors = [make_tiny("VQGANPrior", codebook_size=size) for size in small["codebook_size"]]
    else:
        priors = [make_tiny("AdaCode", stage=2) if kind == "AdaCode" else make_tiny("VQGANPrior")]
    for k, prior in enumerate(priors):
        torch.save({"params": prior.state_dict()}, folder / f"prior_{k}.pth")
    files = [str(folder / f"prior_{k}.pth") for k in range(len(priors))]
    return {**small, "prior": files if small.get("stage") == 2 else files[0]}


@pytest.mark.usefixtures("fresh_basicsr_log")
@pytest.mark.parametrize("name", TRAINING)
def test_training_step_and_round_trip(make_tiny, tmp_path, name):
    """With the file's own losses but those that need the weights of a VGG or a discriminator."""
    options = read(name)
    options.update(is_train=True, dist=False, num_gpu=0, rank=0, world_size=1)
    options["network_g"] = shrink(name, options["network_g"], make_tiny, tmp_path)
    options["path"] = {"models": str(tmp_path), "training_states": str(tmp_path)}
    for loss in NEEDS_WEIGHTS:
        options["train"].pop(loss, None)
    model = build_model(options)
    scale = options["scale"]
    model.feed_data({"lq": torch.rand(2, 3, 32 // scale, 32 // scale), "gt": torch.rand(2, 3, 32, 32)})
    before = snapshot(model.net_g)
    model.optimize_parameters(1)
    changed = moved(model.net_g, before)
    frozen = frozen_names(model.net_g)
    # the rest moves, but for codes that nothing chose and biases of keys, which have no gradient
    assert changed and not changed & frozen
    assert {n for n in before if n.endswith("weight") and n not in frozen} <= changed
    log = model.get_current_log()
    losses = {n for n in options["train"] if n.endswith("_opt")}
    assert len([n for n in log if n.startswith("l_")]) == len(losses)

    model.save(0, 1)
    loaded = vqcnir_arch.load_network(tmp_path / "net_g_1.pth")
    expected = model.net_g.state_dict()
    assert loaded.options == model.net_g.options
    assert all(torch.equal(tensor, expected[n]) for n, tensor in loaded.state_dict().items())


def test_depths_of_sinca():
    for host, depths in (("femasr", [9]), ("adacode", [5, 4, 3, 4, 4])):
        block = read(f"{host}/sinca/train_{host}_x2_sinca.yml")["network_g"]
        block.pop("prior")
        with torch.device("meta"):
            net = build(ARCH_REGISTRY, block)
        assert [len(q.transformer.layers) for q in find_quantizers(net).values()] == depths
        retrained = {**block, "quantizer": {"type": "NearestCode"}}
        with torch.device("meta"):
            more = count(net.parameters()) - count(build(ARCH_REGISTRY, retrained).parameters())
        d = 512 if host == "femasr" else 256
        hidden = int(d * 2.66)
        # two norms, four projections, GDFN (1x1 to 2·hidden, 3x3 depth-wise, 1x1 back); then the fusion of 2d to d
        layer = 4 * d + 4 * d * d + 2 * hidden * d + 2 * hidden * 9 + hidden * d
        assert more == sum(depth * layer + 2 * d * d for depth in depths)
