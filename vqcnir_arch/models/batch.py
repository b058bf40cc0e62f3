"""The tensors of a training step."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """A batch or a micro-batch on the model's device; every tensor has the images along its first axis.

    A model that needs more returns a `NamedTuple` of its own from `batch`; what is None stays None in micro-batches.
    """

    lq: Tensor
    """What goes into the network, [B, 3, h, w], RGB in [0, 1]."""
    gt: Tensor
    """Ground truth, [B, 3, H, W], RGB in [0, 1]."""
    lq_small: Tensor | None = None
    """Thumbnails of the whole inputs, of which `lq` has crops, [B, 3, s, s]."""
    gt_codes: Tensor | None = None
    """The prior's codes of `gt`, [B, 1, h, w] int64, where the data set knows them."""
