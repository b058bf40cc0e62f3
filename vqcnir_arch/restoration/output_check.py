"""Whether what a network gives is a picture, asked once for whole images, strips, videos and the page."""

from __future__ import annotations

from torch import Tensor

from vqcnir_arch.errors import UserError

STEP = 1 / 255
"""An image whose values deviate by less than a step of 8 bit may come out as one colour, as a black frame does."""


def check_restored(images: Tensor, restored: Tensor, precision: str = "fp32") -> None:
    """Refuse what is no picture: half precision that overflows and broken weights give black images.

    Args:
        images: [B, 3, H, W], in [0, 1].
        restored: what the network made of them, [B, 3, H·s, W·s], before it is clamped.
        precision: the network's, as of `restore_tensor`.

    Raises:
        UserError: values are not finite, or an image that is none has become one colour.
    """
    finite = restored.isfinite()
    if not finite.all():
        share = 1 - finite.float().mean().item()
        raise UserError(f"the result holds NaN or infinite values ({max(share, 0.01):.0%} of it): {remedy(precision)}")
    if images.shape[-2:].numel() == 1:
        return
    lowest, highest = (extreme.clamp(0, 1) for extreme in (restored.amin((2, 3)), restored.amax((2, 3))))
    is_flat = (highest - lowest < STEP / 2).all(1)
    has_content = images.float().std((2, 3)).amax(1) > STEP
    if (is_flat & has_content.to(is_flat.device)).any():
        raise UserError(f"the result is one colour, which the image is not: {remedy(precision)}")


def remedy(precision: str) -> str:
    """Say what to try in the place of a precision that failed."""
    if precision.startswith("fp16"):
        return f"float16 has no room for its numbers: instead of --precision {precision} take bf16 or fp32"
    if precision != "fp32":
        return f"instead of --precision {precision} take fp32"
    return "the checkpoint is broken or not made for such images: try another one"
