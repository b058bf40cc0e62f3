"""The cache of the prior's codes: `vqcnir data codes`, the data set, and training with them."""

from __future__ import annotations

import copy

import cv2
import pytest
import skimage.data
import torch
from basicsr.data import build_dataset
from conftest import TINY_OPTIONS
from model_experiments import built, experiment

from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in ("astronaut", "chelsea"):
        photo = cv2.resize(getattr(skimage.data, name)()[:300, :300], (16, 16), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{name}.png"), photo[..., ::-1])
    return folder


@pytest.fixture
def prior(make_tiny, tmp_path):
    net = make_tiny("FaceVQGANPrior").eval()
    torch.save({"params": net.state_dict()}, tmp_path / "prior.pth")
    return net


@pytest.fixture
def codes(faces, prior, tmp_path):
    path = tmp_path / "made/codes.pth"
    arguments = [
        "-w",
        str(tmp_path / "prior.pth"),
        "-o",
        str(path),
        "--size",
        "16",
        "--device",
        "cpu",
        "--workers",
        "0",
    ]
    dispatch(["data", "codes", str(faces), *arguments])
    return path


def dataset(faces, codes, **more):
    options = {"name": "faces", "type": "FaceDegradationDataset", "phase": "train", "dataroot": str(faces), "scale": 1}
    return build_dataset({**options, "setting": "codeformer_stage2", "gt_size": 16, "codes": str(codes), **more})


def test_codes_are_the_priors(faces, codes, prior):
    """Of every face as it comes, mirrored or not."""
    found = dataset(faces, codes)
    seen = set()
    for _ in range(20):
        for i in range(2):
            sample = found[i]
            _, expected = prior(sample["gt"][None], decode=False)
            assert torch.equal(sample["gt_codes"], expected.indices)
            seen.add((i, tuple(sample["gt"].flatten()[:9].tolist())))
    assert len(seen) == 4
    assert "gt_codes" not in dataset(faces, codes, phase="val")[0]


def test_wrong_files(faces, codes, tmp_path):
    (faces / "chelsea.png").rename(faces / "cat.png")
    with pytest.raises(UserError, match=r"codes\.pth' lack 1 of 2 images, first 'cat' .known: astronaut, chelsea"):
        dataset(faces, codes)
    with pytest.raises(UserError, match="is not a file of `vqcnir data codes`"):
        dataset(faces, tmp_path / "prior.pth")
    with pytest.raises(UserError, match=r"code\.pth' does not exist .did you mean 'codes\.pth'"):
        dataset(faces, codes.with_name("code.pth"))


def test_training_is_the_same(prior, tmp_path):
    """Losses with cached codes are those with the prior's encoder, also in micro-batches."""
    network = {"type": "CodeFormer", **copy.deepcopy(TINY_OPTIONS["CodeFormer"]), "prior": str(tmp_path / "prior.pth")}
    losses = {"alignment_opt": {"type": "CodeAlignmentLoss"}, "token_opt": {"type": "TokenCrossEntropyLoss"}}
    batch = {"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 16, 16)}
    with torch.no_grad():
        indices = prior(batch["gt"], decode=False)[1].indices
    logs = []
    for more, parts in (({}, 1), ({"gt_codes": indices[:, None]}, 1), ({"gt_codes": indices[:, None]}, 2)):
        torch.manual_seed(0)
        model = built(experiment("VQRestorationModel", network, losses, grad_accumulation=parts, channels_last=True))
        model.feed_data({**batch, **more})
        model.optimize_parameters(1)
        logs.append({name: float(value) for name, value in model.log_dict.items()})
    assert logs[1] == pytest.approx(logs[0], rel=1e-4)
    assert logs[2] == pytest.approx(logs[0], rel=1e-4)


def test_vr_needs_features(tmp_path, prior):
    network = {"type": "CodeFormer", **copy.deepcopy(TINY_OPTIONS["CodeFormer"]), "prior": str(tmp_path / "prior.pth")}
    network["quantizer"] = {"type": "VectorRegression"}
    matching = {"matching_opt": {"type": "FeatureMatchingLoss", "target": "hq_feature"}}
    options = experiment("VQRestorationModel", network, matching)
    options["datasets"]["train"]["codes"] = "codes.pth"
    with pytest.raises(UserError, match="hq_feature needs the prior's features"):
        built(options)
