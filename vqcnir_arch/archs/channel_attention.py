"""Attention between the channels of two feature maps, as DBCA and the CrossAttention fusion use it."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.maps import local, total
from vqcnir_arch.archs.precision import at_least_float32, without_autocast
from vqcnir_arch.errors import UserError

VARIANTS = ("published", "paper")
EPS = 1e-12  # that of torch's normalize


def attention_scale(channels: int, heads: int, variant: str) -> nn.Parameter | None:
    """Return the learned scale per head of the published attention, [heads, 1, 1]; None for the paper's.

    Raises:
        UserError: an unknown variant, or heads that do not fit it.
    """
    if variant not in VARIANTS:
        raise UserError(f"fusion: attention '{variant}' is unknown (known: {', '.join(VARIANTS)})")
    if heads < 1 or channels % heads:
        raise UserError(f"fusion: heads {heads} does not divide {channels} channels")
    if variant == "published":
        return nn.Parameter(torch.ones(heads, 1, 1))
    if heads != 1:
        raise UserError(f"fusion: attention 'paper' has one head (VQCNIR eq. 8-9), got heads {heads}")
    return None


def channel_attention(query: Tensor, key: Tensor, scale: Tensor | None) -> Tensor:
    """Return the attention map of the channels, [B, heads, C/heads, C/heads], rows summing to one.

    With a `scale` per head as in the published network: queries and keys have unit length over the pixels and the
    scale is learned. Without as in the paper: softmax(Q Kᵀ/√C), one head (VQCNIR eq. 8-9).

    Args:
        query: [B, C, H, W].
        key: [B, C, H, W].
        scale: [heads, 1, 1] or None.
    """
    if scale is None:
        (products,) = total(channel_products, query, key)
        return (products * products.shape[-1] ** -0.5).softmax(dim=-1)
    products, *squares = total(partial(channel_products_and_squares, heads=scale.shape[0]), query, key)
    of_query, of_key = (s.clamp_min(EPS**2).sqrt().unflatten(1, (scale.shape[0], -1)) for s in squares)
    return (products / (of_query[..., None] * of_key[..., None, :]) * scale).softmax(dim=-1)


def channel_products(query: Tensor, key: Tensor) -> tuple[Tensor]:
    """Return Q Kᵀ over all pixels, [B, 1, C, C]."""
    query, key = (x.unflatten(1, (1, -1)).flatten(3) for x in (query, key))
    # sums over all pixels: in bfloat16 they would be wrong by more than the differences that softmax tells apart
    with without_autocast(query):
        return (at_least_float32(query) @ at_least_float32(key).transpose(-2, -1),)


def channel_products_and_squares(query: Tensor, key: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return Q Kᵀ of each head over all pixels, [B, heads, C/heads, C/heads], and the squared lengths, [B, C] each."""
    if query.dtype == torch.float16:  # has no room for sums over all pixels
        query, key = query.float(), key.float()
    of_query, of_key = (x.square().sum((2, 3), dtype=at_least_float32(x).dtype) for x in (query, key))
    query, key = (x.unflatten(1, (heads, -1)).flatten(3) for x in (query, key))
    with without_autocast(query):  # which would undo it
        return query @ key.transpose(-2, -1), of_query, of_key


def mix_channels(weights: Tensor, value: Tensor) -> Tensor:
    """Mix the channels of [B, C, H, W] values by the map of `channel_attention`."""
    return local(partial(mixed, weights), value)


def mixed(weights: Tensor, value: Tensor) -> Tensor:
    """Mix channels, in the memory format of the values."""
    rows = value.unflatten(1, (weights.shape[1], -1)).flatten(3)
    weights = weights.to(value.dtype)
    if value.is_contiguous():
        return (weights @ rows).reshape(value.shape)
    rows = rows.transpose(-2, -1) @ weights.transpose(-2, -1)  # the same, transposed: channels_last as the values
    return rows.transpose(1, 2).reshape(*value.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
