"""`vqcnir inspect --codebook` on the face networks."""

from __future__ import annotations

import json

import cv2
import pytest
import skimage.data
import torch

from vqcnir_arch.cli import dispatch

QUANTIZERS = {
    "CodePrediction": {"type": "CodePrediction", "depth": 1, "num_heads": 2},
    "SinCA": {"type": "SinCA", "depth": 1, "num_heads": 2},
}


@pytest.fixture
def pairs(tmp_path):
    """Two photographs of the tiny networks' size and their blurred versions."""
    for folder in ("lq", "gt"):
        (tmp_path / folder).mkdir()
    for name in ("astronaut", "chelsea"):
        photo = cv2.resize(getattr(skimage.data, name)()[:300, :300], (16, 16), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(tmp_path / f"gt/{name}.png"), photo)
        cv2.imwrite(str(tmp_path / f"lq/{name}.png"), cv2.GaussianBlur(photo, (0, 0), 2))
    return tmp_path


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("name", ["CodeFormer", "DAEFR"])
def test_analysis(make_tiny, pairs, name, quantizer):
    """What the report says of the codes is what network and prior choose."""
    pytest.importorskip("sklearn", reason="the extra [analysis] is not installed")
    prior = make_tiny("FaceVQGANPrior", flavour=name.lower()).eval()
    torch.save({"params": prior.state_dict()}, pairs / "prior.pth")
    net = make_tiny(name, quantizer=QUANTIZERS[quantizer], prior=str(pairs / "prior.pth")).eval()
    net.quantizer.codebook.data.copy_(prior.quantizer.codebook)
    torch.save({"params": net.state_dict()}, pairs / "net.pth")
    paths = [f"--{key}={pairs / value}" for key, value in (("data", "lq"), ("gt", "gt"), ("prior", "prior.pth"))]
    dispatch(["inspect", str(pairs / "net.pth"), "--codebook", *paths, "--embedding=none", f"--out={pairs / 'out'}"])
    report = json.loads((pairs / "out/analysis.json").read_text())
    used = {entry["source"]: entry["counts"] for entry in report["usage"]}

    def tensor(path):
        return torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1)[None] / 255

    images = [(tensor(pairs / f"lq/{n}.png"), tensor(pairs / f"gt/{n}.png")) for n in ("astronaut", "chelsea")]
    with torch.no_grad():
        truth = torch.cat([prior(gt, decode=False)[1].indices for _, gt in images])
        assert used["truth"] == truth.flatten().bincount(minlength=32).tolist()
        if quantizer == "CodePrediction":
            chosen = torch.cat([net(lq, return_codes=True)[1].indices for lq, _ in images])
            assert used["input"] == chosen.flatten().bincount(minlength=32).tolist()
    table = (pairs / "out/analysis.md").read_text()
    assert ("w = 0, PSNR" in table) == (name == "CodeFormer")
    usage = {"CodeFormer": "98.73", "DAEFR": "100"}[name]
    accuracy = {"CodeFormer": "5.63", "DAEFR": "3.42"}[name]
    for printed in (
        f"{usage} % on CelebA-Test (SinCA, figure 2)",
        f"{accuracy} % on a set that is not named (SinCA, figure 2)",
    ):
        assert (printed in table) == (quantizer == "CodePrediction")  # printed of the released network alone
    assert ("24.02 % on" in table) == (name == "CodeFormer" and quantizer == "CodePrediction")
