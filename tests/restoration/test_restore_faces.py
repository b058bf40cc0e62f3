"""`vqcnir restore` with the face networks: aligned faces, fidelity weight, whole photographs."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.faces import WEIGHTS

LANDMARKS = ((198, 105), (248, 107), (221, 135), (205, 165), (240, 167))
"""Eyes, nose and corners of the mouth of scikit-image's astronaut, read off the photograph."""


@pytest.fixture
def save(make_tiny, tmp_path):
    """Return a function that saves a tiny network and returns network and path."""

    def make(name, **options):
        net = make_tiny(name, **options).eval()
        torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
        return net, tmp_path / "net.pth"

    return make


def restore(weights, out, *arguments):
    dispatch(["restore", *map(str, arguments), "-w", str(weights), "-o", str(out), "--quiet", "--device", "cpu"])


def write_noise(path, height=16, width=16):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("fidelity", [None, 0, 0.7])
def test_fidelity(save, tmp_path, fidelity):
    net, weights = save("CodeFormer", w=0.4)
    image = write_noise(tmp_path / "face.png")
    restore(weights, tmp_path / "out", tmp_path / "face.png", *([] if fidelity is None else ["--fidelity", fidelity]))
    with torch.no_grad():
        expected = net(image, w=0.4 if fidelity is None else fidelity)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    result = np.asarray(Image.open(tmp_path / "out/face.png")).astype(int)
    assert abs(result - expected).max() < 0.51


def test_wrong_fidelity(save, tmp_path):
    write_noise(tmp_path / "face.png")
    _, weights = save("CodeFormer")
    with pytest.raises(UserError, match=r"expected a number from 0 to 1, got 1\.5"):
        restore(weights, tmp_path / "out", tmp_path / "face.png", "--fidelity", 1.5)
    _, weights = save("DAEFR")
    with pytest.raises(UserError, match="DAEFR has no fidelity weight, only CodeFormer has"):
        restore(weights, tmp_path / "out", tmp_path / "face.png", "--fidelity", 0.5)


def test_other_sizes_are_refused_one_by_one(save, tmp_path, capsys):
    _, weights = save("DAEFR")
    write_noise(tmp_path / "a.png", 16, 24)
    write_noise(tmp_path / "b.png")
    with pytest.raises(SystemExit) as caught:
        restore(weights, tmp_path / "out", tmp_path / "a.png", tmp_path / "b.png")
    assert caught.value.code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]
    message = capsys.readouterr().err
    assert "a.png' is 24 x 16, DAEFR takes aligned faces of 16 x 16: align and resize it, or use" in message


def test_whole_photograph_needs_weights(save, tmp_path):
    pytest.importorskip("facexlib", reason="facexlib is not installed")
    write_noise(tmp_path / "photo.png")
    _, weights = save("CodeFormer")
    with pytest.raises(UserError, match=r"put 'detection_Resnet50_Final\.pth' \(https://.*\) at '.*', or name their"):
        restore(weights, tmp_path / "out", tmp_path / "photo.png", "--faces", "whole", "--face-weights", tmp_path)
    _, weights = save("VQCNIR")
    with pytest.raises(UserError, match="VQCNIR restores whole photographs by itself"):
        restore(weights, tmp_path / "out", tmp_path / "photo.png", "--faces", "whole")


@pytest.fixture
def facexlib_files(tmp_path):
    """facexlib's two files in their layout, all zeros: no face is found, and every pixel of one is of class 1, skin."""
    pytest.importorskip("facexlib", reason="facexlib is not installed")
    from facexlib.detection.retinaface import RetinaFace
    from facexlib.parsing.parsenet import ParseNet

    nets = RetinaFace(network_name="resnet50"), ParseNet(in_size=512, out_size=512, parsing_ch=19)
    for name, net in zip(WEIGHTS, nets, strict=True):
        state = {key: torch.zeros((), dtype=t.dtype).expand(t.shape) for key, t in net.state_dict().items()}
        if "out_mask_conv.conv2d.bias" in state:
            state["out_mask_conv.conv2d.bias"] = torch.eye(19)[1]
        torch.save(state, tmp_path / name)
    return tmp_path


def test_whole_photograph(save, facexlib_files, tmp_path, monkeypatch, capsys):
    """Only the face changes. The detector's weights are none, so its answer is given."""
    from facexlib.detection.retinaface import RetinaFace

    _, weights = save("CodeFormer")
    photo = skimage.data.astronaut()[:256, 100:356]
    Image.fromarray(photo).save(tmp_path / "photo.png")
    arguments = (
        weights,
        tmp_path / "out",
        tmp_path / "photo.png",
        "--faces",
        "whole",
        "--face-weights",
        facexlib_files,
    )
    with pytest.raises(SystemExit):
        restore(*arguments)
    assert "photo.png' has no face that is found" in capsys.readouterr().err

    points = [(x - 100, y) for x, y in LANDMARKS]
    box = np.array([[70, 50, 170, 200, 0.99, *np.ravel(points)]])
    monkeypatch.setattr(RetinaFace, "detect_faces", lambda self, image, threshold: box)
    restore(*arguments)
    result = np.asarray(Image.open(tmp_path / "out/photo.png")).astype(int)
    changed = abs(result - photo).max(axis=2) > 2
    assert result.shape == photo.shape
    assert changed[110:160, 100:140].mean() > 0.9
    # the aligned square is 203 pixels wide, and a pixel of the tiny network 13
    assert not changed[:, 243:].any() and not changed[232:].any()
