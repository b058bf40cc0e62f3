"""Option files of VQCNIR and its prior at the tests' size: a step with all losses, a checkpoint there and back.

Those of the other hosts are in files of their own.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from ablation_variants import SHALLOW
from conftest import TINY_OPTIONS
from model_experiments import built, moved, snapshot
from network_facts import frozen_names

from vqcnir_arch import load_network
from vqcnir_arch.archs.autoencoder import CHANNELS
from vqcnir_arch.options import check_options, read_options

FOLDER = Path(__file__).parents[2] / "options"
HERE = ("demo", "prior", "study", "vqcnir")
FILES = sorted(path.relative_to(FOLDER).as_posix() for name in HERE for path in (FOLDER / name).rglob("*.yml"))
TRAINING = [name for name in FILES if "train" in read_options(FOLDER / name)]

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


def channels_of(network: dict) -> list[int]:
    """Channels of the tests' size, for as many levels as the file's network has."""
    return [16, 16, 32, 32] if len(network.get("channels", CHANNELS)) == len(CHANNELS) else [16, 16, 32]


def shrink(network: dict, prior: Path) -> dict:
    """The same variant at the tests' size; a file with three levels keeps its f4."""
    small = {
        "channels": channels_of(network),
        "norm_groups": 8,
        "codebook_size": 32,
        "code_dim": 16,
        "prior": str(prior),
    }
    network = {**copy.deepcopy(network), **small}
    for block, values in (
        ("quantizer", SHALLOW),
        ("enhancer", {"depth": 2, "window": 2}),
        ("fusion", {"heads": [2, 2, 1, 1], "offset_groups": 2}),
    ):
        network[block].update({key: value for key, value in values.items() if key in network[block]})
    return network


def small_network(block: dict, prior: Path) -> dict:
    """The file's network with tiny sizes; its prior, where it names one, is `prior`."""
    block = copy.deepcopy(block)
    if block["type"] == "VQGANPrior":
        return {**block, **TINY_OPTIONS["VQGANPrior"], "channels": channels_of(block)}
    named = "prior" in block
    block.pop("res_blocks", None)
    block.setdefault("fusion", {"type": "DBCA"})
    block = shrink({"enhancer": {"type": "AIEM", "depth": 12}, **block}, prior)
    return block if named else {key: value for key, value in block.items() if key != "prior"}


def test_files_for_training_are_found():
    assert len(TRAINING) > 25
    assert {"prior/train_prior.yml", "vqcnir/finetune_vqcnir.yml", "demo/train_vqcnir.yml"} <= set(TRAINING)


@pytest.mark.parametrize("name", TRAINING)
def test_step_with_all_losses_and_round_trip(make_tiny, vgg19_file, tmp_path, name):
    options = check_options(read_options(FOLDER / name), is_train=True)
    upsample = {name: value for name, value in options["network_g"].items() if name == "generator_upsample"}
    prior = make_tiny("VQGANPrior", channels=channels_of(options["network_g"]), **upsample)
    torch.save({"params": prior.state_dict()}, tmp_path / "prior.pth")
    options["num_gpu"] = 0
    options["network_g"] = small_network(options["network_g"], tmp_path / "prior.pth")
    if options.get("network_d"):
        options["network_d"]["num_feat"] = 4
    for block in ("perceptual_opt", "semantic_opt"):
        if options["train"].get(block):
            options["train"][block]["weights"] = str(vgg19_file)
    given = options["path"].get("pretrain_network_g")
    if given:
        torch.save({"params": make_tiny("VQCNIR", **small_blocks(options)).state_dict()}, tmp_path / "start.pth")
    options["path"] = {"models": str(tmp_path), "training_states": str(tmp_path)}
    if given:
        options["path"]["pretrain_network_g"] = str(tmp_path / "start.pth")
    model = built(options)
    losses = {block for block, value in options["train"].items() if block.endswith("_opt") and value}
    assert set(model.losses) == losses
    before = snapshot(model.net_g)
    batch = {"lq": torch.rand(2, 3, 32, 32), "gt": torch.rand(2, 3, 32, 32)}
    if size := options["datasets"]["train"].get("thumbnail"):
        batch["lq_small"] = torch.rand(2, 3, size, size)
    model.feed_data(batch)
    model.optimize_parameters(1)
    assert all(torch.as_tensor(value).isfinite() for value in model.get_current_log().values())
    changed = moved(model.net_g, before)
    assert changed and not changed & frozen_names(model.net_g)

    model.save(0, 1)
    loaded, expected = load_network(tmp_path / "net_g_1.pth"), model.net_g.state_dict()
    assert loaded.options == model.net_g.options
    assert all(torch.equal(tensor, expected[key]) for key, tensor in loaded.state_dict().items())


def small_blocks(options: dict) -> dict:
    """The blocks that a checkpoint to start from must share with the file's network."""
    return {
        key: options["network_g"][key] for key in ("quantizer", "enhancer", "fusion") if key in options["network_g"]
    }
