"""What CodeFormer's option files say of the degraded faces, as settings of `FaceDegradationDataset`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vqcnir_arch.data.degradations import FACE_SETTINGS
from vqcnir_arch.data.face_degradation_dataset import SETTINGS, FacePairs
from vqcnir_arch.errors import UserError
from vqcnir_arch.options.published.rules import PartOf, Place, Source, known_values, shown

DATA = "datasets: train"
RANGES = {"blur_sigma": "sigma", "downsample_range": "shrink", "noise_range": "noise_levels", "jpeg_range": "qualities"}
COLORS = {"color_jitter_prob": "shift_colors", "color_jitter_pt_prob": "jitter_colors"}
ENDINGS = {"lq": "", "lq_large": "_large"}
"""Published names, and their endings by side of the pairs, of what a setting of `FaceDegradationDataset` draws from."""


def published_draws(source: Source, sides: Iterable[str]) -> dict[str, Any]:
    """Return what a file draws from, by its own names."""
    ranges = {
        f"{name}{ENDINGS[side]}": source.at(f"{DATA}: {name}{ENDINGS[side]}") for side in sides for name in RANGES
    }
    return ranges | {name: source.at(f"{DATA}: {name}") or 0 for name in COLORS}


def draws_of(pairs: FacePairs, sides: Iterable[str]) -> dict[str, Any]:
    """Return what a setting of ours draws from, by the published names."""
    settings = {side: FACE_SETTINGS.get(getattr(pairs, side) or "") for side in sides}
    ranges = {
        f"{name}{ENDINGS[side]}": listed(getattr(settings[side], ours, None))
        for side in sides
        for name, ours in RANGES.items()
    }
    return ranges | {name: getattr(settings["lq"], ours, None) for name, ours in COLORS.items()}


def setting(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """Find the setting that draws as the file says; without corruption it is the clean face, or one with strokes."""
    if not value:
        kind = "inpainting" if source.at(f"{DATA}: gen_inpaint_mask") else "stage1"
        return {f"{DATA}: setting": f"codeformer_{kind}"}
    sides = tuple(ENDINGS) if source.at(f"{DATA}: type") == "FFHQBlindJointDataset" else ("lq",)
    theirs = published_draws(source, sides)
    wrong = {}
    for name, pairs in SETTINGS.items():
        if name.startswith("codeformer") and (pairs.lq_large is not None) == (len(sides) > 1):
            wrong[name] = {key: ours for key, ours in draws_of(pairs, sides).items() if ours != theirs[key]}
    best = min(wrong, key=lambda name: len(wrong[name]))
    if wrong[best]:
        raise UserError(f"no setting of FaceDegradationDataset draws so: {best} has {shown(wrong[best])}")
    return {f"{DATA}: setting": best}


def listed(value: Any) -> Any:
    """Return a range as YAML has it."""
    return list(value) if isinstance(value, tuple) else value


def exactly(*values: Any) -> PartOf:
    """Return the rule of a key that the setting holds with one of these values."""

    def check(value: Any, source: Source, here: Place) -> None:
        if value not in values:
            raise UserError(f"{shown(value)}: FaceDegradationDataset has {known_values(values)}")

    return PartOf(f"{DATA}: setting", check)


def no_codes(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """Refuse precomputed codes, whose layout is not known here."""
    raise UserError(
        f"'{value}' is laid out otherwise than ours: set it to ~, and after the translation {DATA}: codes to a file of "
        "`vqcnir data codes FACES -w PRIOR -o FILE`"
    )
