"""What a night-blur pair is drawn from, and what was drawn."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from vqcnir_arch.data.night_blur.lights import PointLight


def ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range whose first number is the larger one."""
    if bounds[0] > bounds[1]:
        raise ValueError(f"the first of the two numbers is the larger one: {bounds[0]} > {bounds[1]}")
    return bounds


Share = Annotated[float, Field(ge=0, le=1)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(ordered)]
Level = Annotated[float, Field(gt=0, le=1)]
LevelRange = Annotated[tuple[Level, Level], AfterValidator(ordered)]
Positive = Annotated[float, Field(gt=0)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(ordered)]
Range = Annotated[tuple[NonNegativeFloat, NonNegativeFloat], AfterValidator(ordered)]
CountRange = Annotated[tuple[NonNegativeInt, NonNegativeInt], AfterValidator(ordered)]
QualityRange = Annotated[tuple[PositiveInt, Annotated[int, Field(le=100)]], AfterValidator(ordered)]


class NightBlurRecipe(BaseModel):
    """Settings of the recipe `lolblur`. Two numbers are the ends of a range. Pixels are those of a frame 1120 wide."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_side: PositiveInt | None = Field(
        1120, description="larger photographs are first shrunk to this longer side (LOL-Blur's width); ~ for none"
    )
    jpeg_shrink: LevelRange = Field((0.5, 1.0), description="factor by which JPEG sources are shrunk first; uniform")
    brightness: ShareRange = Field(
        (0.8, 1.0), description="factor from high_sharp_original to high_sharp_scaled; uniform"
    )
    exposure: LevelRange = Field(
        (0.02, 0.15), description="mean lightness L / 100 after the curve, outside saturated regions; log-uniform"
    )
    variation: Share = Field(0.05, description="how much the darkening curve's amount varies smoothly over the frame")
    variation_grid: Positive = Field(320.0, description="pixels between the random values of that variation")
    jitter: Share = Field(0.15, description="how much the amount varies between the curve's ten iterations")
    unclip: Range = Field((20.0, 100.0), description="8-bit levels that saturated lamps get added; uniform")
    lamp_share: Share = Field(0.01, description="largest share of the pixels that lamps may cover; more is sky")
    lights: CountRange = Field((0, 6), description="number of point lights that are added")
    light_radius: Range = Field((1.0, 5.0), description="radius of a point light in pixels; uniform")
    light_temperature: PositiveRange = Field((2500.0, 6500.0), description="colour of a point light in kelvin; uniform")
    light_power: Range = Field((2.0, 20.0), description="a point light's linear light, 1 is saturated; uniform")
    max_length: Range = Field((5.0, 60.0), description="length of the camera's path in pixels; uniform")
    anxiety: PositiveRange = Field(
        (0.001, 0.1), description="how much that path bends: 0 is straight, 0.1 a scribble; log-uniform"
    )
    roll: NonNegativeFloat = Field(0.5, description="largest turn of the camera to either side in degrees; uniform")
    control_psfs: Annotated[CountRange, AfterValidator(lambda n: ordered((max(n[0], 1), n[1])))] = Field(
        (3, 5), description="number of point spread functions that are blended over the frame"
    )
    no_motion: Share = Field(0.1, description="probability that nothing moves")
    moving_layer: Share = Field(0.3, description="probability of an object that moves on its own")
    defocus: Share = Field(0.5, description="probability of defocus, a generalised Gaussian")
    defocus_sigma: PositiveRange = Field((0.2, 1.5), description="σ of the defocus along each axis in pixels; uniform")
    defocus_beta: PositiveRange = Field((0.5, 4.0), description="shape of the defocus, 1 is Gaussian; uniform")
    shot: PositiveRange = Field(
        (5e-6, 1e-4), description="variance of the shot noise per linear light, decides the read noise; log-uniform"
    )
    demosaic: Range = Field((0.0, 0.7), description="σ of the 3 × 3 Gaussian that correlates the noise; uniform")
    jpeg: Share = Field(0.0, description="probability that the input was a JPEG file")
    jpeg_quality: QualityRange = Field((70, 100), description="quality of that file; uniform")


class RealNightRecipe(NightBlurRecipe):
    """Settings of the recipe `real-night`: stronger noise, and JPEG."""

    shot: PositiveRange = Field(
        (2e-5, 3e-4), description="variance of the shot noise per linear light, decides the read noise; log-uniform"
    )
    jpeg: Share = Field(0.2, description="probability that the input was a JPEG file")


class LayerDraws(BaseModel):
    """An object that moves on its own. Places are shares of the frame's sides, x before y."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    centre: tuple[float, float]
    radii: tuple[float, float]
    max_length: float
    anxiety: float
    path_seed: int


class DefocusDraws(BaseModel):
    """A generalised Gaussian, see BasicSR's `bivariate_generalized_Gaussian`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int
    sigma: tuple[float, float]
    angle: float
    beta: float


class NightBlurDraws(BaseModel):
    """Everything that `render` needs beside the photograph. Paths and random fields are drawn from the seeds in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_side: int | None
    shrink: float
    brightness: float
    exposure: float
    variation: float
    variation_grid: float
    variation_seed: int
    jitter: tuple[float, ...]
    unclip: float
    lamp_share: float
    lights: tuple[PointLight, ...]
    max_length: float
    anxiety: float
    roll: float
    """In degrees."""
    path_seed: int
    control_psfs: int
    control_turn: float
    """Angle of the first control PSF seen from the middle of the frame, in radians."""
    layer: LayerDraws | None
    defocus: DefocusDraws | None
    shot: float
    read: float
    demosaic: float
    noise_seed: int
    jpeg_quality: int | None
