"""Night-blur pairs like LOL-Blur's from sharp photographs: darken, blur by camera motion in linear light, add noise."""

from vqcnir_arch.data.night_blur.drawing import draw
from vqcnir_arch.data.night_blur.recipe import Crop, prepare, render
from vqcnir_arch.data.night_blur.settings import NightBlurDraws, NightBlurRecipe, RealNightRecipe
from vqcnir_arch.data.night_blur.simple import NightBlurPair, NightBlurSettings, night_blur_pair, write_lolblur

__all__ = [
    "Crop",
    "NightBlurDraws",
    "NightBlurPair",
    "NightBlurRecipe",
    "NightBlurSettings",
    "RealNightRecipe",
    "draw",
    "night_blur_pair",
    "prepare",
    "render",
    "write_lolblur",
]
