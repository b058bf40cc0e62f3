"""What the BSRGAN degradations draw, against the published numbers; nothing is applied to an image here."""

import functools

import numpy as np
import pytest
from draw_statistics import SIDE, assert_equally_likely, assert_frequencies, assert_share, assert_uniform, of

from vqcnir_arch.data.degradations import BSRGANPlusSettings, BSRGANSettings
from vqcnir_arch.data.degradations.bsrgan import draw_bsrgan
from vqcnir_arch.data.degradations.bsrgan_plus import draw_bsrgan_plus

N = 3000
MODES = ("linear", "cubic", "area")


def drawn(draw, settings, count):
    """Steps and orders of many images, from one generator."""
    rng = np.random.default_rng(settings.scale)
    drawings = [draw(rng, (SIDE, SIDE), settings) for _ in range(count)]
    return [drawing.steps for drawing, _ in drawings], [order for _, order in drawings]


@functools.cache
def bsrgan_draws(scale):
    return drawn(draw_bsrgan, BSRGANSettings(scale), N if scale == 2 else 2 * N)


@functools.cache
def plus_draws(scale):
    return drawn(draw_bsrgan_plus, BSRGANPlusSettings(scale), N)


def is_halving(step):
    return step.op == "halve_bicubic" or (step.op == "resize" and step.size == (SIDE // 2, SIDE // 2))


def check_blurs(blurs, scale):
    """Half anisotropic with eigenvalues U(0, 4 + scale), half isotropic with sigma U(0, 2 + 0.2 scale)."""
    assert_equally_likely([blur.size for blur in blurs], range(7, 26, 2))
    isotropic = [blur.sigma[0] == blur.sigma[1] for blur in blurs]
    assert_share(isotropic, 0.5)
    assert_uniform([blur.sigma[0] for blur in blurs if blur.sigma[0] == blur.sigma[1]], 0, 2 + 0.2 * scale)
    turned = [blur for blur in blurs if blur.sigma[0] != blur.sigma[1]]
    for axis in range(2):
        assert_uniform([blur.sigma[axis] ** 2 for blur in turned], 0, 4 + scale)
    assert abs(np.corrcoef([blur.sigma for blur in turned], rowvar=False)[0, 1]) < 0.06
    assert_uniform([blur.angle for blur in turned], 0, np.pi)


def check_noises(noises):
    """40 % colour, 40 % grey, of 2 to 25 levels; 20 % correlated between the channels."""
    assert_frequencies([noise.kind for noise in noises], {"color": 0.4, "gray": 0.4, "correlated": 0.2})
    assert_equally_likely([noise.level for noise in noises if noise.kind != "correlated"], range(2, 26))
    covariances = np.array([noise.covariance for noise in noises if noise.kind == "correlated"]) * (255 / 25) ** 2
    np.testing.assert_allclose(covariances, covariances.swapaxes(1, 2), atol=1e-12)
    assert covariances.min() >= 0
    # the trace of Uᵀ D U is that of D, three uniform numbers
    traces = np.trace(covariances, axis1=1, axis2=2)
    assert traces.min() > 0
    assert traces.max() < 3
    assert traces.mean() == pytest.approx(1.5, abs=4 * 0.5 / np.sqrt(len(traces)))
    assert traces.var() == pytest.approx(0.25, rel=0.25)
    eigenvalues = np.linalg.eigvalsh(covariances)
    assert eigenvalues.min() > -1e-9
    assert len({noise.seed for noise in noises}) == len(noises)


# the published training pairs


@pytest.mark.parametrize("scale", [2, 4])
def test_halving(scale):
    first = [steps[0] for steps in bsrgan_draws(scale)[0]]
    if scale == 2:
        assert not any(map(is_halving, first))
        return
    assert_share(map(is_halving, first), 0.25)
    halvings = [step for step in first if is_halving(step)]
    assert_share([step.op == "resize" for step in halvings], 0.5)
    assert_equally_likely([step.mode for step in of(halvings, "resize")], MODES)


def test_order():
    _, orders = bsrgan_draws(2)
    for order in orders:
        assert sorted(order) == list(range(7))
        assert order.index(2) < order.index(3)
    assert len(set(map(tuple, orders))) > 1500  # of 2520
    for operation in (0, 1, 4, 5, 6):
        assert_equally_likely([order.index(operation) for order in orders], range(7))
    assert_frequencies([order.index(2) for order in orders], {place: 6 - place for place in range(6)})
    assert_frequencies([order.index(3) for order in orders], {place: place for place in range(1, 7)})


def test_the_steps_are_in_that_order():
    kinds = {0: "blur", 1: "blur", 2: "shrink", 3: "fit", 4: "gaussian_noise", 5: "jpeg"}
    for steps, order in zip(*bsrgan_draws(2), strict=True):
        resizes = iter(("shrink", "fit"))
        named = [next(resizes) if step.op in ("resize", "decimate") else step.op for step in steps]
        assert named.pop() == "jpeg"
        expected = [kinds[operation] for operation in order if operation != 6]
        assert named in (expected, [kind for kind in expected if kind != "jpeg"])


@pytest.mark.parametrize("scale", [2, 4])
def test_jpeg(scale):
    all_steps, _ = bsrgan_draws(scale)
    assert all(steps[-1].op == "jpeg" for steps in all_steps)
    assert_frequencies([len(of(steps, "jpeg")) for steps in all_steps], {1: 0.1, 2: 0.9})
    assert_equally_likely([step.quality for steps in all_steps for step in of(steps, "jpeg")], range(30, 96))


@pytest.mark.parametrize(("given", "halved"), [(2, False), (4, False), (4, True)])
def test_blur_and_downsampling(given, halved):
    """After the halving all goes on as for scale 2."""
    all_steps = [steps for steps in bsrgan_draws(given)[0] if is_halving(steps[0]) == halved]
    if halved:
        all_steps = [steps[1:] for steps in all_steps]
    scale, side = (given, SIDE) if not halved else (2, SIDE // 2)
    assert all(len(of(steps, "blur")) == 2 for steps in all_steps)
    check_blurs([step for steps in all_steps for step in of(steps, "blur")], scale)

    assert_share([bool(of(steps, "decimate")) for steps in all_steps], 0.25)
    decimations = [step for steps in all_steps for step in of(steps, "decimate")]
    assert {step.factor for step in decimations} == {scale}
    assert_uniform([step.sigma for step in decimations], 0.1, 0.6 * scale)
    shrinks = [of(steps, "resize")[0] for steps in all_steps if not of(steps, "decimate")]
    assert_uniform([side / step.size[0] for step in shrinks], 1, 2 * scale + 1e-3)
    assert_equally_likely([step.mode for step in shrinks], MODES)
    fits = [of(steps, "resize")[-1] for steps in all_steps]
    assert {step.size for step in fits} == {(SIDE // given, SIDE // given)}
    assert_equally_likely([step.mode for step in fits], MODES)


def test_noise():
    all_steps, _ = bsrgan_draws(2)
    assert all(len(of(steps, "gaussian_noise")) == 1 for steps in all_steps)
    check_noises([of(steps, "gaussian_noise")[0] for steps in all_steps])


# the published test sets


@pytest.mark.parametrize("scale", [2, 4])
def test_plus_shuffles(scale):
    """Half of the orders are any, half only move 2-5 and 9-12."""
    _, orders = plus_draws(scale)
    assert all(sorted(order) == list(range(13)) for order in orders)
    local = [
        [order[i] for i in (0, 1, 6, 7, 8)] == [0, 1, 6, 7, 8] and {*order[2:6]} == {2, 3, 4, 5} for order in orders
    ]
    assert_share(local, 0.5)
    for place in range(13):
        anywhere = [order[place] for order, is_local in zip(orders, local, strict=True) if not is_local]
        assert_equally_likely(anywhere, range(13))
    for place in (*range(2, 6), *range(9, 13)):
        within = [order[place] for order, is_local in zip(orders, local, strict=True) if is_local]
        assert_equally_likely(within, range(2, 6) if place < 6 else range(9, 13))


def test_plus_has_every_operation():
    for steps, order in zip(*plus_draws(4), strict=True):
        assert (steps[0].op, steps[-2].op, steps[-1].op) == ("sharpen", "resize", "jpeg")
        assert steps[-2].size == (SIDE // 4, SIDE // 4)
        assert len(of(steps, "blur")) == len(of(steps, "jpeg")) == 2
        assert len([noise for noise in of(steps, "gaussian_noise") if not noise.speckle]) == 2
        always = [{0: "blur", 2: "gaussian", 6: "jpeg", 7: "blur", 9: "gaussian"}.get(operation) for operation in order]
        named = [step.op.removesuffix("_noise") for step in steps[1:-2] if not getattr(step, "speckle", False)]
        named = [name for name in named if name in ("blur", "gaussian", "jpeg")]
        assert named == [name for name in always if name]


@pytest.mark.parametrize("scale", [2, 4])
def test_plus_resizes(scale):
    factors, modes = [], []
    for steps in plus_draws(scale)[0]:
        side = SIDE
        resizes = of(steps, "resize")[:-1]
        for step in resizes:
            factors.append(step.size[0] / side)
            modes.append(step.mode)
            side = step.size[0]
        factors += [1] * (2 - len(resizes))
    enlarged, shrunk = [f for f in factors if f > 1], [f for f in factors if f < 1]
    assert_frequencies(np.sign(np.array(factors) - 1), {1: 0.2, -1: 0.7, 0: 0.1})
    assert_uniform(enlarged, 1, 2)
    assert_uniform(shrunk, 0.5 / scale - 1e-4, 1)
    assert_equally_likely(modes, MODES)
    assert_equally_likely([steps[-2].mode for steps in plus_draws(scale)[0]], MODES)


@pytest.mark.parametrize("scale", [2, 4])
def test_plus_noises(scale):
    all_steps, _ = plus_draws(scale)
    gaussian = [step for steps in all_steps for step in of(steps, "gaussian_noise")]
    check_noises([noise for noise in gaussian if not noise.speckle])
    speckle = [noise for noise in gaussian if noise.speckle]
    poisson = [step for steps in all_steps for step in of(steps, "poisson_noise")]
    for noises in (speckle, poisson):
        assert_share([True] * len(noises) + [False] * (2 * N - len(noises)), 0.1)
    assert_frequencies([noise.kind for noise in speckle], {"color": 0.4, "gray": 0.4, "correlated": 0.2})
    assert_equally_likely([noise.level for noise in speckle if noise.kind != "correlated"], range(2, 26))
    assert_uniform(np.log10([noise.peak for noise in poisson]), 2, 4)
    assert_share([noise.gray for noise in poisson], 0.5)


@pytest.mark.parametrize("scale", [2, 4])
def test_plus_blurs_and_jpeg(scale):
    all_steps, _ = plus_draws(scale)
    check_blurs([step for steps in all_steps for step in of(steps, "blur")], scale)
    assert_equally_likely([step.quality for steps in all_steps for step in of(steps, "jpeg")], range(30, 96))


def test_plus_without_sharpening():
    drawing, _ = draw_bsrgan_plus(np.random.default_rng(0), (64, 64), BSRGANPlusSettings(2, sharpen=False))
    assert not of(drawing.steps, "sharpen")
