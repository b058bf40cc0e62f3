"""A host that this library does not have: one class and its layout; no other file knows of it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import pytest
import torch
from conftest import TINY_OPTIONS, scene

import vqcnir_arch
from vqcnir_arch.archs import FeMaSR
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.published.layout import LAYOUTS, Layout, published_names
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ARCH_REGISTRY


class FurtherHost(FeMaSR):
    """FeMaSR whose published files have one more, dead tensor, by which they are recognised."""


@pytest.fixture
def host(monkeypatch):
    """The host and its layout, registered for one test, with a published and an own checkpoint's tensors."""
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "FurtherHost", FurtherHost)
    # a real host's file has not all of FeMaSR's tensors; this one has, and FeMaSR would be asked first
    (femasr,) = LAYOUTS["FeMaSR"]
    further = Layout(
        network="FurtherHost",
        names=femasr.names,
        read_options=lambda shapes: {**TINY_OPTIONS["FeMaSR"], "scale": 2},
        required=("further_host",),
        dead=(*femasr.dead, "further_host"),
    )
    monkeypatch.setitem(LAYOUTS, "FeMaSR", [replace(femasr, foreign=("further_host",))])
    monkeypatch.setitem(LAYOUTS, "FurtherHost", [further])
    torch.manual_seed(0)
    return FurtherHost(**{**TINY_OPTIONS["FeMaSR"], "scale": 2})


def test_checkpoint_and_commands(host, tmp_path, capsys):
    own = host.state_dict()
    published = {theirs: own[ours] for ours, theirs in published_names(host).items()}
    published["further_host"] = torch.zeros(1)
    cv2.imwrite(str(tmp_path / "photo.png"), scene("coffee", 31, 23))
    for name, state in (("own", own), ("published", published)):
        file = tmp_path / f"{name}.pth"
        torch.save({"params": state}, file)
        assert type(vqcnir_arch.load_network(file)) is FurtherHost
        dispatch(["inspect", str(file)])
        assert "FurtherHost" in capsys.readouterr().out
        dispatch(["restore", str(tmp_path / "photo.png"), "-w", str(file), "-o", str(tmp_path / name), "--quiet"])
        assert cv2.imread(str(tmp_path / name / "photo.png")).shape == (46, 62, 3)


def test_without_published_files(monkeypatch):
    """A network that has none is among those that a checkpoint is not of."""
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Unpublished", type("Unpublished", (VQNetwork,), {}))
    with pytest.raises(UserError, match=r"is not a checkpoint of .*Unpublished"):
        vqcnir_arch.load_network({"weight": torch.zeros(1)})
