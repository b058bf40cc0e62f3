"""`hf:user/repo`: from a made-up cache and a made-up Hub, never from the network."""

from __future__ import annotations

import sys

import pytest
import torch
from checkpoint_checks import assert_refused, assert_same_tensors

import vqcnir_arch
from vqcnir_arch import hub
from vqcnir_arch.packaged import named_path

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra [hub] is not installed")
from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Return a function that puts files into the cache of a repository; nothing can be downloaded."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(file_download, "constants", constants)
    repo = tmp_path / "hub/models--anna--night"
    snapshot = repo / "snapshots" / COMMIT

    def put(**files):
        snapshot.mkdir(parents=True, exist_ok=True)
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs/main").write_text(COMMIT)
        for name, content in files.items():
            torch.save(content, snapshot / name.replace("__", "."))
        return snapshot

    return put


def test_from_the_cache(make_tiny, tmp_path, cached, monkeypatch):
    state = make_tiny("VQCNIR").state_dict()
    snapshot = cached(net_g__pth={"params": state}, README__md={})
    assert named_path("hf:anna/night") == snapshot / "net_g.pth"
    assert_same_tensors(vqcnir_arch.load_network("hf:anna/night"), state)
    assert named_path("hf:anna/night@main:net_g.pth") == snapshot / "net_g.pth"

    cached(other__pth=state)
    assert_refused("hf:anna/night", r"the repository has net_g\.pth, other\.pth: say which, hf:anna/night:net_g\.pth")
    cached(model__safetensors=state)
    assert named_path("hf:anna/night").name == "model.safetensors"
    assert_refused("hf:anna/night:nett.pth", "is not in the cache, and the Hub cannot be reached")
    assert_refused("hf:anna/day", "is not in the cache, and the Hub cannot be reached")
    assert_refused("hf:night", "expected hf:user/repo")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "hf:anna").mkdir()
    torch.save(state, tmp_path / "hf:anna/night")
    assert str(named_path("hf:anna/night")) == "hf:anna/night"  # a path comes first


def test_by_the_network(tmp_path, monkeypatch):
    asked = []

    def download(repo, file, revision=None, local_files_only=False):
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        asked.append((repo, file, revision))
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, repo, revision: ["README.md", "a.pth"])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert named_path("hf:anna/night@v2") == tmp_path / "a.pth"
    assert asked == [("anna/night", "a.pth", "v2")]
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, repo, revision: ["README.md"])
    assert_refused("hf:anna/night", "the repository has no checkpoint")


def test_before_anything_has_imported_its_parts(cached, monkeypatch):
    monkeypatch.delitem(sys.modules, "huggingface_hub.utils", raising=False)
    monkeypatch.delattr(huggingface_hub, "utils", raising=False)
    assert_refused("hf:anna/no-such-thing:net.pth", "net.pth' is not in the cache, and the Hub cannot be reached")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert hub.is_hub_name("hf:anna/night")
    assert_refused("hf:anna/night", r"needs huggingface_hub: pip install 'vqcnir\[hub\]'")
