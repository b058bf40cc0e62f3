"""What the face degradation draws, against the table of the hosts' options."""

from dataclasses import replace

import numpy as np
import pytest
from draw_statistics import SIDE, assert_equally_likely, assert_share, assert_uniform

from vqcnir_arch.data.degradations import FACE_SETTINGS, FaceSettings
from vqcnir_arch.data.degradations.faces import StrokeSettings, draw_face, draw_strokes
from vqcnir_arch.data.face_degradation_dataset import SETTINGS

TABLE = {
    # kernel sizes, sigma, downsampling, noise, JPEG
    "codeformer_large": ([41], (1, 15), (4, 30), (0, 20), (30, 80)),
    "codeformer_colors": ([41], (1, 15), (4, 30), (0, 20), (30, 80)),
    "codeformer_small": ([41], (0.1, 10), (1, 12), (0, 15), (60, 100)),
    "daefr": ([39, 41], (0.1, 15), (0.8, 30), (0, 20), (30, 100)),
    "daefr_light": ([39, 41], (0.1, 10), (0.8, 8), (0, 20), (60, 100)),
    "vqfr_light": ([41], (0.1, 10), (0.8, 8), (0, 20), (60, 100)),
    "vqfr_heavy": ([41], (1, 15), (1, 30), (0, 20), (30, 90)),
}


def test_the_table_is_complete():
    assert {*TABLE, "codeformer_strokes"} == set(FACE_SETTINGS)
    used = {name for pairs in SETTINGS.values() for name in (pairs.lq, pairs.lq_large) if name}
    assert used == set(FACE_SETTINGS)


@pytest.mark.parametrize("name", TABLE)
def test_ranges(name):
    sizes, sigma, downsampling, noise, (low, high) = TABLE[name]
    rng = np.random.default_rng(0)
    settings = replace(FACE_SETTINGS[name], gray=0, shift_colors=0, jitter_colors=0)
    drawn = [draw_face(rng, (SIDE, SIDE), settings).steps for _ in range(3000)]
    order = ["blur", "resize", "gaussian_noise", "jpeg", "resize", "quantize"]
    assert all([step.op for step in steps] == order for steps in drawn)
    blurs, shrinks, noises, jpegs, enlargements, _ = zip(*drawn, strict=True)

    assert_equally_likely([blur.size for blur in blurs], sizes)
    turned = [blur for blur in blurs if blur.sigma[0] != blur.sigma[1]]
    assert_share([blur.sigma[0] != blur.sigma[1] for blur in blurs], 0.5)
    assert_uniform([blur.sigma[0] for blur in blurs if blur.sigma[0] == blur.sigma[1]], *sigma)
    for axis in range(2):
        assert_uniform([blur.sigma[axis] for blur in turned], *sigma)
    assert abs(np.corrcoef([blur.sigma for blur in turned], rowvar=False)[0, 1]) < 0.1
    assert_uniform([blur.angle for blur in turned], -np.pi, np.pi)

    assert_uniform([SIDE / step.size[0] for step in shrinks], downsampling[0], downsampling[1] + 1e-2)
    assert {step.mode for step in (*shrinks, *enlargements)} == {"linear"}
    assert {step.size for step in enlargements} == {(SIDE, SIDE)}
    assert {step.kind for step in noises} == {"color"}
    assert_uniform([step.level for step in noises], *noise)
    # drawn as a real number and cut: the upper bound has no share
    assert_equally_likely([step.quality for step in jpegs], range(low, high))


@pytest.mark.parametrize("side", [512, 511])
def test_small_size_is_the_floor(side):
    class Fixed(np.random.Generator):
        """Every uniform draw is the mean of its bounds."""

        def uniform(self, low, high):
            return (low + high) / 2

    settings = FaceSettings((1, 1), (6.4, 7.4), (0, 0), (90, 90))
    steps = draw_face(Fixed(np.random.PCG64(0)), (side, side), settings).steps
    assert steps[1].size == (int(side // 6.9),) * 2


def test_gray():
    rng = np.random.default_rng(0)
    settings = FaceSettings((1, 15), (4, 30), (0, 20), (30, 80), gray=0.3)
    drawn = [[step.op for step in draw_face(rng, (512, 512), settings).steps] for _ in range(1000)]
    assert_share(["gray" in ops for ops in drawn], 0.3)
    assert {tuple(ops[-2:]) for ops in drawn} == {("gray", "quantize"), ("resize", "quantize")}


def test_colors_of_colourisation():
    """CodeFormer's option file: a cast of up to 20 levels and a jitter with 0.3 each, grey with 0.01."""
    rng = np.random.default_rng(0)
    drawn = [draw_face(rng, (512, 512), FACE_SETTINGS["codeformer_colors"]).steps for _ in range(4000)]
    found = {
        op: [step for steps in drawn for step in steps if step.op == op]
        for op in ("shift_colors", "gray", "jitter_colors")
    }
    for op, share in (("shift_colors", 0.3), ("gray", 0.01), ("jitter_colors", 0.3)):
        assert_share([any(step.op == op for step in steps) for steps in drawn], share)
    assert_uniform([level for step in found["shift_colors"] for level in step.levels], -20, 20)
    ranges = {"brightness": (0.5, 1.5), "contrast": (0.5, 1.5), "saturation": (0, 1.5), "hue": (-0.1, 0.1)}
    for name, bounds in ranges.items():
        assert_uniform([dict(step.changes)[name] for step in found["jitter_colors"]], *bounds)
    firsts = [step.changes[0][0] for step in found["jitter_colors"]]
    assert_equally_likely(firsts, list(ranges))


def test_strokes():
    rng = np.random.default_rng(0)
    settings = StrokeSettings()
    drawn = [draw_strokes(rng, (512, 512), settings).steps[0] for _ in range(2000)]
    assert_equally_likely([len(step.strokes) for step in drawn], range(1, 6))
    strokes = [stroke for step in drawn for stroke in step.strokes]
    assert_equally_likely([len(stroke) for stroke in strokes], range(3, 11))
    assert_uniform([width for step in drawn for width in step.widths], *settings.width)
    corners = np.array([corner for stroke in strokes for corner in stroke])
    assert corners.min() >= 0 and corners.max() <= 1
    black = np.zeros((512, 512, 3), np.float32)
    covered = [(step(black) == 1).mean() for step in drawn[:200]]
    assert min(covered) > 0.001 and max(covered) < 0.7 and 0.1 < np.mean(covered) < 0.3
