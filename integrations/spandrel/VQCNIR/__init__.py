from __future__ import annotations

from typing import Any

from typing_extensions import override

from ...__helpers.model_descriptor import Architecture, ImageModelDescriptor, ModelTiling, StateDict
from .__arch.archs.extra_state import EXTRA_STATE, decode_options
from .__arch.archs.published.f8 import vqcnir_options
from .__arch.archs.vqcnir_arch import VQCNIR as Network


class VQCNIR(Network):
    """The network, whose options spandrel's tests compare as `hyperparameters`."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return self.options


def options_of(state_dict: StateDict) -> dict[str, Any] | None:
    """Return the options that a file carries, or that the shapes of a published one show; None for another network."""
    try:
        if EXTRA_STATE in state_dict:
            arch, options = decode_options(state_dict[EXTRA_STATE])
            return options if arch == "VQCNIR" else None
        return vqcnir_options({key: tensor.shape for key, tensor in state_dict.items()})
    except (AttributeError, LookupError, TypeError, ValueError):  # of files that are of something else
        return None


class VQCNIRArch(Architecture[VQCNIR]):
    def __init__(self) -> None:
        super().__init__(id="VQCNIR", detect=lambda state_dict: options_of(state_dict) is not None)

    @override
    def load(self, state_dict: StateDict) -> ImageModelDescriptor[VQCNIR]:
        model = VQCNIR(**(options_of(state_dict) or {}))
        return ImageModelDescriptor(
            model,
            state_dict,
            architecture=self,
            purpose="Restoration",
            tags=[f"{model.options['channels'][0]}c", f"{model.options['codebook_size']} codes"],
            supports_half=True,
            supports_bfloat16=True,  # the code search stays in float32
            scale=1,
            input_channels=3,
            output_channels=3,
            # no size requirements: it pads and crops inside
            tiling=ModelTiling.DISCOURAGED,  # it sees the whole image: tiles differ in brightness
        )


__all__ = ["VQCNIR", "VQCNIRArch"]
