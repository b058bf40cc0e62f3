"""FeMaSR and AdaCode through the commands: inspecting, codebooks, restoring, and the protocol of the papers."""

from __future__ import annotations

import copy
import json

import cv2
import numpy as np
import pytest
import torch
import yaml
from conftest import TINY_OPTIONS, scene

from vqcnir_arch.analysis.fusion_off import fusion_variants
from vqcnir_arch.analysis.probe import Probe
from vqcnir_arch.analysis.weight_maps import WeightMaps
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.tiling import map_bytes

HOSTS = ["FeMaSR", "AdaCode"]
pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two photographs and what is left of them at half the size, as `vqcnir data synth` writes them."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("coffee", "astronaut")):
        image = scene(name, 62, 46)
        for folder, picture in (("gt", image), ("lq", cv2.resize(image, (31, 23), interpolation=cv2.INTER_AREA))):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(f"{folder}/{number}.png", picture[..., ::-1])
    return tmp_path


@pytest.fixture
def checkpoint(photos, make_tiny):
    """A function that saves a prior and a tiny host started from it; returns the host."""

    def save(host, **options):
        prior = make_tiny("VQGANPrior") if host == "FeMaSR" else make_tiny("AdaCode", stage=2)
        torch.save({"params": prior.state_dict()}, "prior.pth")
        net = make_tiny(host, randomize=False, prior="prior.pth", **options).eval()
        torch.save({"params": net.state_dict()}, "net.pth")
        return net

    return save


@pytest.mark.parametrize("host", HOSTS)
def test_inspect(checkpoint, capsys, host):
    checkpoint(host)
    dispatch(["inspect", "net.pth", "prior.pth"])
    text = capsys.readouterr().out
    assert f"net.pth: {host} (restoration network" in text and "scale: 2" in text
    prior = "AdaCode (prior, stage 2)" if host == "AdaCode" else "VQGANPrior (prior, stage I)"
    assert f"prior.pth: {prior}" in text


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("quantizer", ["NearestCode", "VectorRegression"])
def test_codebook_analysis(checkpoint, photos, host, quantizer):
    checkpoint(host, quantizer={"type": quantizer})
    arguments = ["--data", "lq", "--gt", "gt", "--prior", "prior.pth", "--out", "out", "--embedding", "none"]
    dispatch(["inspect", "net.pth", "--codebook", *arguments])
    found = json.loads((photos / "out/analysis.json").read_text(encoding="utf-8"))
    names = ["0", "1"] if host == "AdaCode" else ["quantizer"]
    assert [row["codebook"] for row in found["usage"] if row["source"] == "input"][: len(names)] == names
    scores = found["choice"]["codes"]["input"]["scores"]
    assert set(scores) == {"full network", "without features"}
    assert scores["full network"] != scores["without features"]
    assert set(found["choice"]["codes"]["input"]["accuracy"]) == {*names, *(["all"] if host == "AdaCode" else [])}
    assert ("weights" in found) == (host == "AdaCode")
    assert (photos / "out/weight_maps.png").is_file() == (host == "AdaCode")


def test_mean_of_the_weight_maps(checkpoint):
    """The mean over the positions that the images touch, by hand; figure 4's network without features."""
    from vqcnir_arch.analysis.views import View

    net = checkpoint("AdaCode")
    probe = Probe(net, "net")
    images = [scene(name, 31, 23)[..., ::-1] for name in ("coffee", "astronaut")]
    part, expected = WeightMaps(probe, None), []
    for image in images:
        part.add(View("x", image, None, probe, None))
        x = torch.from_numpy(image[..., ::-1].transpose(2, 0, 1).copy()).float().div(255)[None]
        padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (0, 1), (0, 1)), mode="symmetric"))
        with torch.no_grad():
            expected.append(net.weight_predictor(net.encoder(padded)[0])[0, :, :6, :8].flatten(1))
            plain = probe.run(x, edits=fusion_variants(net)["without features"]).image
            net.feature_fusion = False
            torch.testing.assert_close(plain, net(x))
            net.feature_fusion = True
    pooled = torch.cat(expected, dim=1)
    rows = part.result()["weights"]
    assert [row["codebook"] for row in rows] == ["0", "1"]
    np.testing.assert_allclose([row["mean"] for row in rows], pooled.mean(1), rtol=1e-5)
    np.testing.assert_allclose([row["mean_size"] for row in rows], pooled.abs().mean(1), rtol=1e-5)
    most = [(pooled.abs().argmax(0) == k).double().mean() for k in range(2)]
    np.testing.assert_allclose([row["weighs_most"] for row in rows], most)


@pytest.mark.parametrize("host", HOSTS)
def test_restore(checkpoint, photos, host):
    """Twice the size, and the very pixels of the network."""
    net = checkpoint(host)
    dispatch(["restore", "lq", "-w", "net.pth", "-o", "out", "--quiet", "--device", "cpu"])
    for number in range(2):
        x = torch.from_numpy(cv2.imread(f"lq/{number}.png")[..., ::-1].transpose(2, 0, 1).copy()).float().div(255)[None]
        with torch.no_grad():
            expected = net(x)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
        written = cv2.imread(f"out/{number}.png")
        assert written.shape == (46, 62, 3)
        assert np.abs(written.astype(int) - expected.astype(int)).max() <= 1


def test_transparency_and_comparison_grow_with_the_image(checkpoint, photos):
    checkpoint("FeMaSR")
    photo = cv2.imread("lq/0.png")
    alpha = np.full(photo.shape[:2], 200, np.uint8)
    alpha[:, :10] = 0
    cv2.imwrite("cut.png", np.dstack((photo, alpha)))
    dispatch(["restore", "cut.png", "-w", "net.pth", "-o", "out", "--compare", "--quiet", "--device", "cpu"])
    dispatch(["restore", "lq/0.png", "-w", "net.pth", "-o", "opaque", "--quiet", "--device", "cpu"])
    result, pair = cv2.imread("out/cut.png", cv2.IMREAD_UNCHANGED), cv2.imread("out/cut_compare.png")
    np.testing.assert_array_equal(result[..., :3], cv2.imread("opaque/0.png"))
    assert (result[:, 24:, 3] == 200).all() and (result[:, :16, 3] == 0).all()
    assert pair.shape == (46, 124, 3)
    shrunk = cv2.resize(pair[:, :62], (31, 23), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - photo).mean() < 4  # the photograph itself, enlarged
    np.testing.assert_array_equal(pair[:, 62:], result[..., :3])


def test_strips_are_refused_before_anything_is_read(checkpoint, photos):
    checkpoint("FeMaSR")
    with pytest.raises(UserError, match=r"strips do not know attention in windows .*SwinBlock"):
        dispatch(["restore", "lq", "-w", "net.pth", "-o", "out", "--tile", "64", "--device", "cpu"])
    assert not (photos / "out").exists()


def test_protocol_bsr(checkpoint, photos, use_hub, lpips_files):
    """`vqcnir test --protocol bsr` on pairs as `vqcnir data synth` writes them."""
    use_hub(lpips_files)
    checkpoint("FeMaSR")
    test = {"name": "Set", "type": "PairedImageDataset", "dataroot_gt": "gt", "dataroot_lq": "lq",
            "io_backend": {"type": "disk"}}  # fmt: skip
    options = {
        "name": "bsr",
        "model_type": "VQRestorationModel",
        "scale": 2,
        "num_gpu": 0,
        "manual_seed": 0,
        "datasets": {"test_1": test},
        "network_g": {"type": "FeMaSR", **copy.deepcopy(TINY_OPTIONS["FeMaSR"])},
        "path": {"pretrain_network_g": "net.pth"},
        "val": {"save_img": True},
    }
    (photos / "bsr.yml").write_text(yaml.safe_dump(options), encoding="utf-8")
    dispatch(["test", "-opt", "bsr.yml", "--root", str(photos), "--protocol", "bsr"])
    folder = photos / "results/bsr/visualization"
    assert sorted(path.name for path in (folder / "Set").glob("*.png")) == ["0.png", "1.png"]
    assert cv2.imread(str(folder / "Set/0.png")).shape == (46, 62, 3)
    (report,) = folder.glob("Set_bsr/*.md")
    text = report.read_text(encoding="utf-8")
    assert "PSNR (Y)" in text and "LPIPS" in text


@pytest.mark.parametrize("host", HOSTS)
def test_memory_is_reckoned_at_the_size_of_the_result(make_tiny, host):
    image = torch.rand(1, 3, 32, 48)
    assert map_bytes(make_tiny(host), image) == 4 * TINY_OPTIONS[host]["channels"][0] * 64 * 96
