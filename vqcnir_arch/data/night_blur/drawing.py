"""What decides a night-blur pair, drawn before any photograph is seen."""

from __future__ import annotations

import numpy as np

from vqcnir_arch.data.night_blur.darkening import CURVE_ITERATIONS
from vqcnir_arch.data.night_blur.lights import PointLight
from vqcnir_arch.data.night_blur.sensor import log_uniform, read_noise
from vqcnir_arch.data.night_blur.settings import DefocusDraws, LayerDraws, NightBlurDraws, NightBlurRecipe


def draw(rng: np.random.Generator, settings: NightBlurRecipe, jpeg_source: bool = False) -> NightBlurDraws:
    """Draw everything that decides a pair, whatever the photograph.

    Args:
        rng: source of every draw.
        settings: the ranges.
        jpeg_source: whether the photograph was a JPEG file, whose blocks are to be shrunk away.
    """

    def seed() -> int:
        return int(rng.integers(2**63))

    def uniform(bounds: tuple[float, float]) -> float:
        return float(rng.uniform(*bounds))

    def count(bounds: tuple[int, int]) -> int:
        return int(rng.integers(bounds[0], bounds[1] + 1))

    shrink = uniform(settings.jpeg_shrink)
    moves = rng.random() >= settings.no_motion
    lights = tuple(
        PointLight(
            x=rng.random(),
            y=rng.random(),
            radius=uniform(settings.light_radius),
            temperature=uniform(settings.light_temperature),
            power=uniform(settings.light_power),
        )
        for _ in range(count(settings.lights))
    )
    layer = None
    if rng.random() < settings.moving_layer and moves:
        layer = LayerDraws(
            centre=(uniform((0.2, 0.8)), uniform((0.2, 0.8))),
            radii=(uniform((0.1, 0.3)), uniform((0.1, 0.3))),
            max_length=uniform(settings.max_length),
            anxiety=log_uniform(rng, settings.anxiety),
            path_seed=seed(),
        )
    defocus = None
    if rng.random() < settings.defocus:
        defocus = DefocusDraws(
            size=2 * count((1, 4)) + 1,
            sigma=(uniform(settings.defocus_sigma), uniform(settings.defocus_sigma)),
            angle=uniform((-np.pi, np.pi)),
            beta=uniform(settings.defocus_beta),
        )
    shot = log_uniform(rng, settings.shot)
    quality = count(settings.jpeg_quality)
    return NightBlurDraws(
        max_side=settings.max_side,
        shrink=shrink if jpeg_source else 1.0,
        brightness=uniform(settings.brightness),
        exposure=log_uniform(rng, settings.exposure),
        variation=settings.variation,
        variation_grid=settings.variation_grid,
        variation_seed=seed(),
        jitter=tuple(1 + settings.jitter * rng.uniform(-1, 1, CURVE_ITERATIONS)),
        unclip=uniform(settings.unclip),
        lamp_share=settings.lamp_share,
        lights=lights,
        max_length=uniform(settings.max_length) * moves,
        anxiety=log_uniform(rng, settings.anxiety),
        roll=uniform((-settings.roll, settings.roll)) * moves,
        path_seed=seed(),
        control_psfs=count(settings.control_psfs),
        control_turn=uniform((0, 2 * np.pi)),
        layer=layer,
        defocus=defocus,
        shot=shot,
        read=read_noise(rng, shot),
        demosaic=uniform(settings.demosaic),
        noise_seed=seed(),
        jpeg_quality=quality if rng.random() < settings.jpeg else None,
    )
