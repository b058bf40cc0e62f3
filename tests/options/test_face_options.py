"""The option files of CodeFormer and DAEFR: fitting together, and able to train, save and load."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from basicsr.models import build_model
from conftest import TINY_OPTIONS
from model_experiments import moved, snapshot
from network_facts import frozen_names

import vqcnir_arch
from vqcnir_arch.options.check import check_options
from vqcnir_arch.options.read import read_options
from vqcnir_arch.study.rows import rows_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "options"
FILES = {p.relative_to(FOLDER).as_posix(): p for h in ("codeformer", "daefr") for p in FOLDER.glob(f"{h}/**/*.yml")}
TRAINING = [name for name in FILES if "/train_" in name]
ROWS = rows_of("daefr")
STAGES = {"codeformer/train_codeformer_stage2", "codeformer/train_codeformer_stage3", "daefr/train_daefr"}


def read(name):
    return check_options(read_options(FILES[name]), is_train="/train_" in name)


def test_rows_of_the_papers():
    """Every row of SinCA's tables 2, 3 and 4 has its files; released networks have a test."""
    assert {"retrain", "sinca", "index", "self_attention", "cross_attention", "vr"} <= set(ROWS)
    rows = {f"{s.replace('/', '/sinca/')}_{row}.yml" for s in STAGES for row in ROWS}
    tests = {f"{host}/test_{host}_{data}.yml" for host in ("codeformer", "daefr") for data in ("celeba", "celebchild")}
    priors = {"codeformer/train_codeformer_stage1.yml"}
    priors |= {f"daefr/train_daefr_{name}.yml" for name in ("hq_codebook", "lq_codebook", "association")}
    further = {f"codeformer/train_codeformer_{task}.yml" for task in ("inpainting", "colorization")}
    further |= {f"codeformer/sinca/train_codeformer_stage3_{row}_gan.yml" for row in ("retrain", "sinca")}
    assert set(FILES) == rows | tests | priors | further | {f"{stage}.yml" for stage in STAGES}


def test_rows_of_a_table_have_the_gan_or_have_it_not():
    """SinCA's rows train without one (appendix B.1); what has none asks for no discriminator's file."""
    for name in TRAINING:
        options = read(name)
        has_gan = bool(options["train"].get("gan_opt"))
        assert has_gan == ("network_d" in options) == ("optim_d" in options["train"]), name
        assert has_gan or not options["path"].get("pretrain_network_d"), name
        if "/sinca/" in name:
            assert has_gan == name.endswith("_gan.yml"), name


def test_each_host_tests_on_inputs_of_its_own():
    folders = {}
    for host in ("codeformer", "daefr"):
        block = read(f"{host}/test_{host}_celeba.yml")["datasets"]["test"]
        folders[host] = (block["dataroot_gt"], block["dataroot_lq"])
        assert folders[host] == (f"datasets/CelebA-Test_{host}/gt", f"datasets/CelebA-Test_{host}/lq")
        header = (ROOT / f"options/{host}/test_{host}_celeba.yml").read_text(encoding="utf-8")
        assert f"vqcnir data synth datasets/CelebA-Test datasets/CelebA-Test_{host} --recipe {host}" in header


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_rows_differ_from_the_retrained_host(stage):
    """In the quantizer, the losses that it needs and the earlier stage that it starts from."""

    def rest(row):
        options = read(f"{stage.replace('/', '/sinca/')}_{row}.yml")
        options.pop("name")
        options["datasets"]["train"].pop("codes", None)
        options["network_g"].pop("quantizer")
        options["path"].pop("pretrain_network_g")
        for key in [k for k in options["train"] if k.endswith("_opt")]:
            if key not in ("pixel_opt", "perceptual_opt"):
                options["train"].pop(key)
        return options

    assert all(rest(row) == rest("retrain") for row in ROWS)


def test_stages_fit_together():
    """A stage starts from what the stage before it writes, and the sizes are the same."""
    written = {read(name)["name"] for name in TRAINING}
    for name in TRAINING:
        options = read(name)
        paths = [options["path"].get(f"pretrain_network_{label}") for label in "gd"]
        paths += [options["network_g"].get(key) for key in ("prior", "hq_prior", "lq_prior")]
        for path in filter(None, paths):
            assert path.split("/")[1] in written, (name, path)


def shrink(network, make_tiny, folder):
    """The same network at the tests' size, with the priors that it starts from."""
    kind = network["type"]
    keep = {key: value for key, value in network.items() if key not in TINY_OPTIONS[kind]}
    small = {**copy.deepcopy(TINY_OPTIONS[kind]), **keep}
    if "quantizer" in network:
        few = {"depth": 1, "num_heads": 2}
        small["quantizer"] = {k: few.get(k, v) for k, v in network["quantizer"].items()}
    if "fusion_sizes" in network:
        small["fusion_sizes"] = [4]  # all but the finest, as inpainting's
    for key in ("prior", "hq_prior", "lq_prior"):
        if key in small:
            prior = make_tiny("FaceVQGANPrior", flavour="codeformer" if kind == "CodeFormer" else "daefr")
            small[key] = str(folder / f"{key}.pth")
            torch.save({"params": prior.state_dict()}, small[key])
    return small


@pytest.mark.usefixtures("fresh_basicsr_log")
@pytest.mark.parametrize("name", TRAINING)
def test_training_step_and_round_trip(make_tiny, tmp_path, name):
    """With the file's own losses but LPIPS, which needs weights; the discriminator is a small one."""
    options = read(name)
    options.update(is_train=True, dist=False, num_gpu=0, rank=0, world_size=1)
    options["network_g"] = shrink(options["network_g"], make_tiny, tmp_path)
    if "network_d" in options:
        options["network_d"] |= {"num_feat": 4, "num_layers": 2}
    options["path"] = {"models": str(tmp_path), "training_states": str(tmp_path)}
    train = options["train"]
    train.pop("perceptual_opt", None)
    if train.get("gan_start_iter"):
        train["gan_start_iter"] = 0
    model = build_model(options)
    model.feed_data({key: torch.rand(2, 3, 16, 16) for key in ("lq", "gt", "lq_large")})
    before = snapshot(model.net_g)
    model.optimize_parameters(1)
    changed = moved(model.net_g, before)
    frozen = frozen_names(model.net_g)
    assert changed and not changed & frozen
    # stage II, and colourisation, make no image: the fusion waits for stage III
    waits = ("fusions.",) if "stage2" in name or "colorization" in name else ()
    assert {n for n in before if n.endswith("weight") and n not in frozen and not n.startswith(waits)} <= changed
    names = [n for n in model.get_current_log() if n.startswith("l_") and not n.startswith("l_d_")]
    assert len(names) == len([n for n in train if n.endswith("_opt") and train[n]])

    model.save(0, 1)
    loaded = vqcnir_arch.load_network(tmp_path / "net_g_1.pth")
    expected = (model.net_g_ema if train.get("ema_decay") else model.net_g).state_dict()
    assert all(torch.equal(tensor, expected[n]) for n, tensor in loaded.state_dict().items())


def test_fidelity_schedule(make_tiny, tmp_path):
    """The schedule at the iterations of its file: which image goes in, at which w, and which losses there are."""
    options = read("codeformer/train_codeformer_stage3.yml")
    options.update(is_train=True, dist=False, num_gpu=0, rank=0, world_size=1)
    options["network_g"] = shrink(options["network_g"], make_tiny, tmp_path)
    options["network_d"] |= {"num_feat": 4, "num_layers": 2}
    options["path"] = {}
    options["train"].pop("perceptual_opt")
    model = build_model(options)
    seen = []
    net_forward = model.net_g.forward

    def record(x, **keywords):
        seen.append((x[0, 0, 0, 0].item(), keywords.get("w"), keywords.get("decode", True)))
        return net_forward(x, **keywords)

    model.net_g.forward = record
    for iteration in (1, 40_000, 40_001, 80_000, 80_001, 120_000, 120_001, 120_015):
        batch = {
            key: torch.full((2, 3, 16, 16), value) for key, value in (("lq", 0.25), ("lq_large", 0.5), ("gt", 1.0))
        }
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        assert ("l_g_gan" in model.log_dict) == ("l_d_real" in model.log_dict) == (seen[-1][2] and iteration > 5001)
        assert ("l_pix" in model.log_dict) == seen[-1][2]
        assert {"l_align", "l_token"} <= set(model.log_dict)
    restores = [(0.25, 1.0, True)] * 2 + [(0.25, 1.3, True)] * 2
    codes = (0.5, None, False)
    assert seen == [*restores, codes, codes, codes, (0.25, 1.3, True)]
