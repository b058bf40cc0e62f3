"""A host that this library does not have: one class with its rule of recognition; no other file knows of it."""

from __future__ import annotations

import cv2
import pytest
import torch
from conftest import TINY_OPTIONS, scene

import vqcnir_arch
from vqcnir_arch.archs import FeMaSR
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ARCH_REGISTRY


class FurtherHost(FeMaSR):
    """FeMaSR whose published files have one more, dead tensor, by which they are recognised."""

    published_dead = (*FeMaSR.published_dead, "further_host")

    @classmethod
    def published_options(cls, shapes):
        return {**TINY_OPTIONS["FeMaSR"], "scale": 2} if "further_host" in shapes else None


@pytest.fixture
def host(monkeypatch):
    """The host, registered for one test, with a published and an own checkpoint's tensors."""
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "FurtherHost", FurtherHost)
    # a real host's file has not all of FeMaSR's tensors; this one has, and FeMaSR would be asked first
    monkeypatch.setattr(FeMaSR, "published_options", classmethod(lambda cls, shapes: None))
    torch.manual_seed(0)
    return FurtherHost(**{**TINY_OPTIONS["FeMaSR"], "scale": 2})


def test_checkpoint_and_commands(host, tmp_path, capsys):
    own = host.state_dict()
    published = {host.published_name(n): t for n, t in own.items() if isinstance(t, torch.Tensor) and "extra" not in n}
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
