"""How the network that ships is made: frames of photographs, pairs, three short trainings, one file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
import yaml
from PIL import Image

from vqcnir_arch import UserError, load_network
from vqcnir_arch.demo.stages import option_folder
from vqcnir_arch.small import __main__ as small
from vqcnir_arch.small.frames import write_frames


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(skimage.data.astronaut()).save(folder / "astronaut.png")
    Image.fromarray(skimage.data.coffee()).save(folder / "coffee.png")
    Image.fromarray(skimage.data.chelsea() // 8).save(folder / "dark.png")
    return folder


def test_frames_are_parts_of_bright_photographs(photos, tmp_path):
    assert write_frames([photos], tmp_path / "out", 3, 0) == 2
    taken = json.loads((tmp_path / "out/photographs.json").read_text())
    assert sorted(taken) == ["astronaut", "coffee"]
    frames = sorted((tmp_path / "out/frames").iterdir())
    assert [frame.name for frame in frames] == [f"{n}_0{i}.png" for n in ("astronaut", "coffee") for i in range(3)]
    sizes = [Image.open(frame).size for frame in frames]
    assert all(min(size) >= 256 and max(size) <= 800 for size in sizes)
    assert len(set(sizes)) > 3
    means = [np.asarray(Image.open(frame)).mean((0, 1)) for frame in frames[:3]]
    assert np.abs(np.mean(means, 0) - skimage.data.astronaut().mean((0, 1))).max() < 15


def test_a_photographs_frames_depend_on_it_alone(photos, tmp_path):
    write_frames([photos], tmp_path / "both", 2, 5)
    write_frames([photos], tmp_path / "one", 2, 5, left_out=["coffee"])
    frames = sorted((tmp_path / "one/frames").iterdir())
    assert len(frames) == 2
    assert all(frame.read_bytes() == (tmp_path / "both/frames" / frame.name).read_bytes() for frame in frames)


def test_wrong_photographs_are_named(photos, tmp_path):
    with pytest.raises(UserError, match=r"'cofee' is to be left out but is not there .did you mean 'coffee'"):
        write_frames([photos], tmp_path / "out", 1, 0, left_out=["cofee"])
    with pytest.raises(UserError, match="no photograph of 3 is bright enough"):
        write_frames([photos], tmp_path / "out", 1, 0, left_out=["coffee", "astronaut"])
    with pytest.raises(UserError, match="is inside PHOTOS"):
        small.main([str(photos), "--out", str(photos / "out")])
    with pytest.raises(UserError, match=r"PHOTOS .*nothing' does not exist"):
        small.main([str(tmp_path / "nothing"), "--out", str(tmp_path / "out")])


def test_no_hours_without_vgg16(photos, tmp_path, use_hub, monkeypatch):
    use_hub(tmp_path / "hub")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth"):
        small.main([str(photos), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_from_photographs_to_the_file(photos, tmp_path, use_hub, monkeypatch):
    """The real option files, shortened to a few small steps."""
    use_hub(tmp_path / "hub")
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(torchvision.models.vgg16(weights=None).state_dict(), tmp_path / "hub/checkpoints/vgg16-397923af.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub_home"))
    (tmp_path / "hub_home").mkdir()
    (tmp_path / "hub_home/hub").symlink_to(tmp_path / "hub")
    short = tmp_path / "options"
    short.mkdir()
    for path in option_folder("small").glob("train_*.yml"):
        options = yaml.safe_load(path.read_text())
        options["datasets"]["train"] |= {"gt_size": 32, "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 1}
        options["train"]["total_iter"] = 2
        options["train"]["scheduler"]["periods"] = [2]
        (short / path.name).write_text(yaml.safe_dump(options))
    monkeypatch.setattr(small, "option_folder", lambda name: short)
    small.main([str(photos), "--out", str(tmp_path / "out"), "--frames", "1"])
    net = load_network(tmp_path / "out/vqcnir-s.safetensors")
    assert net.options["fusion"]["type"] == ["SKFF", "SKFF", "none"]
    assert net.residual_conv.weight.abs().sum() > 0
    with torch.no_grad():
        assert net(torch.rand(1, 3, 33, 50)).shape == (1, 3, 33, 50)
