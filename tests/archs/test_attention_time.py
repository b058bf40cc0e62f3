"""What `vqcnir restore` says of the time before a network with attention over all features starts."""

from __future__ import annotations

import copy

import cv2
import pytest
import torch
from conftest import TINY_OPTIONS, scene

from vqcnir_arch import devices
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.cli import dispatch
from vqcnir_arch.restoration.attention_time import announcement, estimated_seconds, quadratic


def small(quantizer):
    options = {**copy.deepcopy(TINY_OPTIONS["VQCNIR"]), "quantizer": quantizer}
    return VQCNIR(**options).eval()


SHALLOW = {"depth": 1, "num_heads": 4}


def test_quadratic():
    a, b = quadratic(10, 3 * 10 + 0.5 * 100, 3 * 40 + 0.5 * 1600)
    assert (a, b) == (pytest.approx(3), pytest.approx(0.5))
    assert quadratic(10, 1.0, 3.0)[1] == 0  # faster than linear: no square


def test_estimate_follows_the_square(monkeypatch):
    """With a clock that counts one second per feature and one per 100 pairs of features, 10 for all else."""
    net = small({"type": "SinCA", **SHALLOW})
    count = {"now": 0.0}

    def forward(features, codebook):
        n = features.shape[-2] * features.shape[-1]
        count["now"] += n + n**2 / 100
        return features

    monkeypatch.setattr(net.quantizer.transformer, "forward", forward)
    net.register_forward_hook(lambda *_: count.update(now=count["now"] + 10))
    monkeypatch.setattr(devices.time, "perf_counter", lambda: count["now"])
    n = 512 * 384 // net.size_multiple**2
    assert estimated_seconds(net, 512, 384) == pytest.approx(10 * 12 + n + n**2 / 100)


@pytest.mark.parametrize("name", ["NearestCode", "CrossAttention", "VectorRegression"])
def test_nothing_is_said_where_time_is_linear(name):
    net = small({"type": name, **(SHALLOW if name == "CrossAttention" else {})})
    assert estimated_seconds(net, 512, 512) is None and announcement(net, 512, 512) is None


def test_command_says_it_once_for_a_size(tmp_path, capsys):
    net = small({"type": "SinCA", **SHALLOW})
    torch.save({"params": net.state_dict()}, tmp_path / "sinca.pth")
    (tmp_path / "in").mkdir()
    for i, (width, height) in enumerate([(280, 250), (280, 250), (64, 64)]):
        cv2.imwrite(str(tmp_path / f"in/{i}.png"), scene("astronaut", width, height))
    with pytest.raises(SystemExit) as ended:
        dispatch(["restore", str(tmp_path / "in"), "-w", str(tmp_path / "sinca.pth"), "-o", str(tmp_path / "out")])
        raise SystemExit(0)
    assert not ended.value.code
    said = [line for line in capsys.readouterr().err.splitlines() if "per megapixel for" in line]
    assert len(said) == 1 and "280 x 250" in said[0]
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
