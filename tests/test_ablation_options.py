"""The option files of every ablation: as the base says, accepted by the check, and able to train, save and load."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from test_ablations import SHALLOW
from test_networks import count, frozen_names

import vqcnir_arch
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.models import VQRestorationModel
from vqcnir_arch.options.check import check_options
from vqcnir_arch.options.read import read_options

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "options" / "vqcnir" / "ablations"
FILES = sorted(FOLDER.glob("*.yml"))

PARAMETERS = {
    "enhancer_nafblock": 26_721_790,
    "enhancer_resblock": 35_277_310,
    "enhancer_swinblock": 30_614_110,
    "fusion_add": 42_372_947,
    "fusion_concat": 42_676_755,
    "fusion_cross_attention": 42_833_246,
    "fusion_none": 41_425_427,
    "fusion_skff": 42_429_783,
    "printed_attention": 47_854_211,
    "printed_offset": 51_802_446,
    "printed_upsample": 47_854_222,
    "quantizer_code_prediction": 77_393_360,
    "quantizer_code_prediction_self_attention": 77_393_360,
    "quantizer_cross_attention": 76_869_072,
    "quantizer_self_attention": 76_869_072,
    "quantizer_sinca": 76_869_072,
    "quantizer_vr": 48_648_334,
    "quantizer_vr_softmax": 48_648_334,
    "setting1_d": 15_690_951,
    "setting2_d_dbca": 21_115_390,
}


def read(path: Path) -> dict:
    return check_options(read_options(path), is_train=True)


def network_options(options: dict) -> dict:
    ignored = ("type", "prior", "freeze_prior")
    return {key: copy.deepcopy(value) for key, value in options["network_g"].items() if key not in ignored}


def test_files_are_what_the_script_writes():
    path = ROOT / "scripts" / "make_ablation_options.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert {file.name: file.read_text(encoding="utf-8") for file in FILES} == script.render_all(), f"run {path.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_differs_from_the_base_in_its_row_alone(path):
    base, options = read(ROOT / "options/vqcnir/train_vqcnir_lolblur.yml"), read(path)
    for row in (base, options):
        for block in ("quantizer", "enhancer", "fusion", "upsample"):
            row["network_g"].pop(block, None)
        for loss in ("matching_opt", "token_opt"):
            row["train"].pop(loss, None)
        row.pop("name")
    assert options == base


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parameters(path):
    with torch.device("meta"):
        assert count(VQCNIR(**network_options(read(path))).parameters()) == PARAMETERS[path.stem]


def shrink(network: dict, prior: Path) -> dict:
    """The same variant at the tests' size."""
    small = {"channels": [16, 16, 32, 32], "norm_groups": 8, "codebook_size": 32, "code_dim": 16, "prior": str(prior)}
    network = {**copy.deepcopy(network), **small}
    for block, values in (
        ("quantizer", SHALLOW),
        ("enhancer", {"depth": 2, "window": 2}),
        ("fusion", {"heads": [2, 2, 1, 1], "offset_groups": 2}),
    ):
        network[block].update({key: value for key, value in values.items() if key in network[block]})
    return network


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_training_step_and_round_trip(make_tiny, tmp_path, path):
    """With the file's own losses but those that need the weights of VGG19 or a discriminator."""
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, tmp_path / "prior.pth")
    options = read(path)
    options.update(is_train=True, dist=False, num_gpu=0)
    options["network_g"] = shrink(options["network_g"], tmp_path / "prior.pth")
    options["path"] = {"models": str(tmp_path), "training_states": str(tmp_path)}
    for loss in ("perceptual_opt", "gan_opt"):
        del options["train"][loss]
    model = VQRestorationModel(options)
    model.feed_data({"lq": torch.rand(2, 3, 16, 24), "gt": torch.rand(2, 3, 16, 24)})
    before = {name: p.detach().clone() for name, p in model.net_g.named_parameters()}
    model.optimize_parameters(1)
    changed = {name for name, p in model.net_g.named_parameters() if not torch.equal(p, before[name])}
    assert changed and not changed & frozen_names(model.net_g)

    model.save(0, 1)
    loaded = vqcnir_arch.load_network(tmp_path / "net_g_1.pth")
    expected = model.net_g.state_dict()
    assert loaded.options == model.net_g.options
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
