"""Options of classes that are not ours: checked where they can be, and said where not."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY

from vqcnir_arch import UserError
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.models import VQRestorationModel
from vqcnir_arch.options import check_options, read_options
from vqcnir_arch.options.unchecked import unchecked_blocks
from vqcnir_arch.registry import FUSION_REGISTRY, build

TRAIN = Path(__file__).parents[2] / "options/vqcnir/train_vqcnir_lolblur.yml"


class Anything(torch.nn.Module):
    """A third project's network that takes any option."""

    def __init__(self, width=8, **others):
        super().__init__()
        self.width, self.others = width, others


class Fuser(torch.nn.Module):
    """A third project's network whose options have names of ours."""

    def __init__(self, fusion="late", enhancer: str = "none", quantizer="fp8"):
        super().__init__()


@pytest.fixture
def content():
    return read_options(TRAIN)


@pytest.fixture
def register(monkeypatch):
    def add(registry, cls):
        monkeypatch.setitem(registry._obj_map, cls.__name__, cls)

    return add


def findings(content):
    with pytest.raises(UserError) as caught:
        check_options(content, is_train=True)
    return str(caught.value).splitlines()


def sr_options(content, model):
    content["model_type"] = model
    for name in ("alignment_opt", "perceptual_opt", "gan_opt", "optim_d"):
        del content["train"][name]
    return content


# blocks


def test_third_party_classes_are_checked_by_their_signature(content):
    content["network_d"]["num_feats"] = 3
    assert findings(content) == [
        "network_d (UNetDiscriminatorSN): unknown option 'num_feats' (did you mean 'num_feat'?)"
    ]


def test_every_network_is_checked_by_its_signature(content, register):
    register(ARCH_REGISTRY, Fuser)
    content["network_identity"] = {"type": "Fuser", "fusoin": "early"}
    assert findings(content) == ["network_identity (Fuser): unknown option 'fusoin' (did you mean 'fusion'?)"]
    content["network_identity"] = {"type": "VQGANPrior", "codebook_size": "big"}
    assert len(findings(content)) == 1 and findings(content)[0].startswith("network_identity (VQGANPrior): codebook_si")
    content["network_identity"] = None
    check_options(content, is_train=True)


def test_options_of_others_with_our_names_are_theirs(content, register):
    register(ARCH_REGISTRY, Fuser)
    content["network_d"] = {"type": "Fuser", "fusion": "early", "enhancer": "AIEM", "quantizer": "int8"}
    assert check_options(content, is_train=True)["network_d"] == content["network_d"]
    content["network_d"]["fusion"] = 3
    assert len(findings(content)) == 1 and findings(content)[0].startswith("network_d (Fuser): fusion: ")


def test_parts_of_a_network_derived_from_ours_are_checked(content, register):
    class Derived(VQCNIR):
        pass

    register(ARCH_REGISTRY, Derived)
    content["network_x"] = {"type": "Derived", "fusion": {"type": "DCBA"}}
    assert findings(content) == ["network_x: fusion: unknown fusion type 'DCBA' (did you mean 'DBCA'?)"]


def test_build_hands_any_option_to_a_class_that_takes_any(register):
    register(ARCH_REGISTRY, Anything)
    net = build(ARCH_REGISTRY, {"type": "Anything", "width": 3, "others": 1, "depth": 2})
    assert net.width == 3 and net.others == {"others": 1, "depth": 2}
    register(FUSION_REGISTRY, Anything)
    with pytest.raises(UserError, match="fusion Anything has no option 'channels'"):  # that one the network decides
        build(FUSION_REGISTRY, {"type": "Anything", "channels": 3}, channels=8)
    register(ARCH_REGISTRY, Fuser)
    with pytest.raises(UserError, match="Fuser has no option 'fusoin'"):
        build(ARCH_REGISTRY, {"type": "Fuser", "fusoin": "late"})


def test_what_takes_anything_is_said(content, register):
    register(ARCH_REGISTRY, Anything)
    content["network_d"] = {"type": "Anything", "widht": 8}
    content["datasets"]["val"] = {"name": "v", "type": "PairedImageDataset", "whatever": 1}
    notes = unchecked_blocks(check_options(content, is_train=True))
    assert "network_d: Anything takes any option: misspelt ones are not found" in notes
    assert "datasets: val: PairedImageDataset takes any dictionary: its options are not checked" in notes
    assert not any(note.startswith(("network_g", "datasets: train", "train: ")) for note in notes)


# models


class TheirModel(SRModel):
    """A third project's model with keys of its own."""


def add_own_keys(content):
    content["queue_size"] = 180
    content["train"].update(fix_flow=5000, cycle_opt={"weight": 3}, edge_opt={"type": "EdgeLoss"}, amp="bf16")
    content["val"]["center_frame_only"] = False
    content["path"]["flow_weights"] = "x.pth"


def test_own_keys_of_a_foreign_model_are_said(content, register):
    register(MODEL_REGISTRY, TheirModel)
    add_own_keys(sr_options(content, "TheirModel"))
    before = copy.deepcopy(content)
    checked = check_options(content, is_train=True)
    assert checked["train"]["cycle_opt"] == {"weight": 3} and content == before
    notes = [note for note in unchecked_blocks(checked) if "TheirModel" in note]
    for place in ("queue_size", "train: fix_flow", "train: cycle_opt", "train: edge_opt", "val: center_frame_only",
                  "path: flow_weights"):  # fmt: skip
        assert [note for note in notes if note.startswith(f"{place}: is not checked, only TheirModel can know it")]
    assert [note for note in notes if note.startswith("train: amp: BasicSR does not have it")]
    content["train"]["total_itr"] = 3
    assert any("total_itr" in n and "did you mean 'total_iter'" in n for n in unchecked_blocks(content))


def test_what_we_know_is_checked_for_a_foreign_model_too(content, register):
    register(MODEL_REGISTRY, TheirModel)
    add_own_keys(sr_options(content, "TheirModel"))
    content["train"]["total_iter"] = "many"
    content["train"]["pixel_opt"]["type"] = "L1Los"
    assert len(findings(content)) == 2


def test_a_model_derived_from_ours_has_keys_of_its_own(content, register):
    class Derived(VQRestorationModel):
        own_losses = (*VQRestorationModel.own_losses, "edge_opt")

    register(MODEL_REGISTRY, Derived)
    content.update(model_type="Derived")
    content["train"].update(edge_opt={"type": "L1Loss"}, edge_width=3)
    notes = unchecked_blocks(check_options(content, is_train=True))
    assert "train: edge_width: is not checked, only Derived can know it" in notes
    assert not any("edge_opt" in note for note in notes)  # its type is registered: it is checked


def test_basicsrs_models(content):
    """Those that read what the schema knows are checked like ours, the others are not."""
    content = sr_options(content, "SRModel")
    content["train"]["fix_flow"] = 5000
    assert findings(content)[0].startswith("train: unknown option 'fix_flow'")
    content["model_type"] = "VideoRecurrentModel"
    notes = unchecked_blocks(check_options(content, is_train=True))
    assert "train: fix_flow: is not checked, only VideoRecurrentModel can know it" in notes
    for switch in ({"compile": True}, {"restart_unused_codes": 5}):
        switched = {**content, "train": {**content["train"], **switch}}
        assert findings(switched) == [
            f"train: {next(iter(switch))}: VideoRecurrentModel does not have it, only the models of this library do"
        ]
