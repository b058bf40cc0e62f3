"""What FeMaSR and AdaCode share: a Swin encoder in the place of the prior's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from vqcnir_arch.archs.autoencoder import VQAutoencoder
from vqcnir_arch.archs.swin import SwinEncoder, SwinStack
from vqcnir_arch.errors import UserError

PRIOR_ENCODERS = ("none", "published")


class SwinAutoencoder(VQAutoencoder):
    """Base of the super-resolution hosts: encoder with a Swin stack, codes, the prior's G with feature fusion."""

    runtime_options = (*VQAutoencoder.runtime_options, "prior_encoder")
    feature_fusion: bool

    def build_swin_encoder(self, channels: list[int], options: Mapping[str, Any]) -> SwinEncoder:
        """Build the encoder from a constructor's options, and remember those that say how it is used."""
        if options["prior_encoder"] not in PRIOR_ENCODERS:
            raise UserError(f"prior_encoder '{options['prior_encoder']}' is unknown (known: none, published)")
        self.scale, self.feature_fusion = options["scale"], options["feature_fusion"]
        stack = build_stack(channels[-1], options)
        return SwinEncoder(
            channels, self.scale, stack, options["res_blocks"], options["norm_groups"], self.feature_fusion
        )

    def prior_parts(self) -> dict[str, str]:
        parts = super().prior_parts()
        if self.scale > 1 and self.options["prior_encoder"] == "none":
            del parts["encoder"]
        return parts

    def loose_parts(self) -> tuple[str, ...]:
        """Return the parts of which those tensors alone start from the prior whose sizes happen to be the same."""
        return ("encoder",) if self.scale > 1 else ()

    def checkpointed_modules(self) -> list[nn.Module]:
        stages = [*self.encoder.stages, *self.generator]
        return [part for s in stages for part in (s if isinstance(s, SwinStack) else [s])]


def build_stack(channels: int, options: Mapping[str, Any]) -> SwinStack:
    """Build a Swin stack from a constructor's options."""
    names = ("swin_groups", "swin_depth", "swin_heads", "window")
    return SwinStack(channels, *(options[name] for name in names))
