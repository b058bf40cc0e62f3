"""`logger: checkpoint_format: safetensors`: the same training, resumed across formats, read by everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from training_runs import differences, make_images, options, sr_options, train_here

from vqcnir_arch import UserError
from vqcnir_arch.archs.loading import load_network
from vqcnir_arch.safetensors_files import network_file, packed, unpacked
from vqcnir_arch.tensor_files import load_file as read_file

SHORT = {"train__total_iter": 2, "logger__save_checkpoint_freq": 1}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_images(root / "images")
    return root


def networks(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "experiments/run/models").iterdir())


def test_resumed_across_formats_it_is_the_same_training(images, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    train_here(options(images, **SHORT), whole)
    made = options(images, **SHORT | {"train__total_iter": 1}, logger__checkpoint_format="safetensors")
    train_here(made, parts)
    assert {name.partition(".")[2] for name in networks(parts)} == {"safetensors"}
    # on in the other format, whose files take the place of the first's latest
    train_here(options(images, **SHORT), parts, "--auto_resume")
    assert {"net_g_1.safetensors", "net_g_2.pth", "net_g_latest.pth"} <= set(networks(parts))
    assert "net_g_latest.safetensors" not in networks(parts)
    for name in ("net_g_2.pth", "net_d_2.pth", "net_g_latest.pth"):
        one, other = (torch.load(root / "experiments/run/models" / name) for root in (whole, parts))
        assert differences(one, other) == []

    # and what stands in the files: both weights under their keys, the discriminator's names as they are
    folder = parts / "experiments/run/models"
    content = read_file(folder / "net_g_1.safetensors", "network")
    assert set(content) == {"params", "params_ema"}
    names = set(load_file(folder / "net_g_1.safetensors"))
    assert {"params.out_conv.weight", "params_ema.out_conv.weight", "params_ema._extra_state"} <= names
    with safe_open(folder / "net_g_1.safetensors", "pt") as file:
        assert file.metadata()["arch"] == "VQGANPrior" and json.loads(file.metadata()["options"])["codebook_size"] == 16
    assert not any(name.startswith("params") for name in load_file(folder / "net_d_1.safetensors"))
    state = load_network(folder / "net_g_1.safetensors").state_dict()
    assert torch.equal(state["out_conv.weight"], content["params_ema"]["out_conv.weight"])


def test_a_foreign_model_resumes_and_old_ones_go(images, tmp_path):
    made = sr_options(images, **SHORT, logger__checkpoint_format="safetensors", logger__keep_last=1, val=None)
    train_here(made | {"train": made["train"] | {"total_iter": 1, "ema_decay": 0}}, tmp_path)
    assert networks(tmp_path) == [f"net_g_{n}.safetensors" for n in ("1", "latest")]
    train_here(made | {"train": made["train"] | {"ema_decay": 0}}, tmp_path, "--auto_resume")
    assert networks(tmp_path) == [f"net_g_{n}.safetensors" for n in ("2", "latest")]
    (tmp_path / "experiments/run/models/net_g_2.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"net_g_2.safetensors' is a text file"):
        train_here(made, tmp_path, "--auto_resume")


def test_packing(tmp_path):
    tied = torch.rand(3, 4)
    both = {"params": {"a.weight": tied, "b.weight": tied.T}, "params_ema": {"a.weight": tied + 1, "b.weight": tied.T}}
    (tmp_path / "both.safetensors").write_bytes(packed(both, {"format": "pt"}))
    assert differences(unpacked(load_file(tmp_path / "both.safetensors")), both) == []
    (tmp_path / "one.safetensors").write_bytes(packed({"params": both["params"]}, {"format": "pt"}))
    assert differences(unpacked(load_file(tmp_path / "one.safetensors")), both["params"]) == []
    assert network_file(tmp_path, "net_g", 3).name == "net_g_3.pth"
    (tmp_path / "net_g_3.safetensors").touch()
    assert network_file(tmp_path, "net_g", 3).name == "net_g_3.safetensors"
