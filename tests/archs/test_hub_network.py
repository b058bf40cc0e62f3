"""Networks in Hugging Face's form: written, read again, uploaded to a Hub that is made up; nothing is downloaded."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from safetensors import safe_open

from vqcnir_arch.archs import VQCNIR, FeMaSR
from vqcnir_arch.archs.loading import own_networks
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ARCH_REGISTRY, build

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra [hub] is not installed")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["AdaCode", "CodeFormer"])
def test_read_as_it_was_written(name, make_tiny, tmp_path):
    net = make_tiny(name)
    net.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = type(net).from_pretrained(tmp_path)
    assert type(again) is type(net) and not again.training
    for (key, mine), (other, theirs) in zip(net.state_dict().items(), again.state_dict().items(), strict=True):
        assert key == other and torch.equal(mine, theirs)


def test_no_network_is_left_out():
    assert all(hasattr(network, "from_pretrained") for network in own_networks())


def test_config_is_a_block_and_the_card_says_what_the_file_does(make_tiny, tmp_path):
    net = make_tiny("VQCNIR")
    net.save_pretrained(tmp_path, model_card_kwargs={"license": "cc0-1.0"})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {"type": "VQCNIR", **json.loads(json.dumps(net.options))}
    assert build(ARCH_REGISTRY, config).options == net.options
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata()["arch"] == "VQCNIR"
        assert {"type": "VQCNIR", **json.loads(file.metadata()["options"])} == config
    card = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert (card.data.library_name, card.data.license, card.data.pipeline_tag) == (
        "vqcnir",
        "cc0-1.0",
        "image-to-image",
    )
    assert {"vqcnir", "image-restoration", "pytorch_model_hub_mixin"} <= set(card.data.tags)
    assert f"{sum(p.numel() for p in net.parameters()):,} parameters" in card.text
    assert "| `codebook_size` | `32` |" in card.text and "-w hf:USER/REPO" in card.text

    (tmp_path / "README.md").write_text("my own words")
    make_tiny("VQCNIR").save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my own words"
    prior = make_tiny("VQGANPrior")
    prior.save_pretrained(tmp_path / "prior")
    assert "prior: model.safetensors" in (tmp_path / "prior/README.md").read_text()


def test_upload_and_download(make_tiny, tmp_path, monkeypatch):
    net, uploaded = make_tiny("VQCNIR"), tmp_path / "uploaded"

    def upload(self, *, folder_path, repo_id, **options):
        shutil.copytree(folder_path, uploaded / repo_id)
        return f"https://hub/{repo_id}"

    made = type("Repo", (), {"repo_id": "anna/night"})
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, **options: made)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    assert net.push_to_hub("anna/night") == "https://hub/anna/night"
    assert (uploaded / "anna/night/README.md").is_file()

    asked = []

    def download(repo_id, filename, **options):
        asked.append((repo_id, filename, options["revision"]))
        return str(uploaded / repo_id / filename)

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    monkeypatch.setattr("vqcnir_arch.archs.hub_files.hf_hub_download", download)
    again = VQCNIR.from_pretrained("anna/night", revision="v2")
    assert torch.equal(again.state_dict()["out_conv.weight"], net.state_dict()["out_conv.weight"])
    assert asked[-1] == ("anna/night", "model.safetensors", "v2")


def test_what_is_none_is_one_line(make_tiny, tmp_path, monkeypatch):
    make_tiny("VQCNIR").save_pretrained(tmp_path / "net")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    calls = {
        r"net' holds a VQCNIR, not a FeMaSR$": lambda: FeMaSR.from_pretrained(tmp_path / "net"),
        r"folder '.*empty' has no model.safetensors$": lambda: VQCNIR.from_pretrained(tmp_path / "empty"),
        "'anna/none' is neither a folder with a network nor one of the Hub": lambda: VQCNIR.from_pretrained(
            "anna/none"
        ),
        "none/of/these' is neither a folder": lambda: VQCNIR.from_pretrained(tmp_path / "none/of/these"),
        "cannot be written to '.*file'": lambda: make_tiny("VQCNIR").save_pretrained(tmp_path / "file"),
    }
    for message, call in calls.items():
        with pytest.raises(UserError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    monkeypatch.delitem(sys.modules, "vqcnir_arch.archs.hub_files")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"need huggingface_hub: pip install 'vqcnir\[hub\]'"):
        VQCNIR.from_pretrained(tmp_path / "net")
