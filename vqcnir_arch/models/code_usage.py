"""How much of a codebook is in use."""

from __future__ import annotations

import torch
from torch import Tensor


class CodeUsage:
    """Counts chosen codes and tells usage and perplexity.

    Args:
        codebook_size: number of codes.
    """

    def __init__(self, codebook_size: int) -> None:
        self.codebook_size = codebook_size
        self.counts: Tensor | None = None

    def add(self, indices: Tensor) -> None:
        """Count a batch of indices of any shape; stays on their device, so it never waits for a GPU."""
        counts = torch.bincount(indices.detach().flatten(), minlength=self.codebook_size)
        self.counts = counts if self.counts is None else self.counts.to(counts.device) + counts

    def read(self) -> dict[str, float]:
        """Return and forget what was counted: the share of codes used at all, and exp(entropy) of their use."""
        if self.counts is None:
            return {}
        share = self.counts.double() / self.counts.sum()
        entropy = -(share * share.clamp_min(1e-12).log()).sum()
        usage = (self.counts > 0).double().mean()
        self.counts = None
        return {"codebook_usage": usage.item(), "perplexity": entropy.exp().item()}

    def state(self) -> Tensor | None:
        """Return the counts, for the training state."""
        return self.counts

    def load_state(self, counts: Tensor | None) -> None:
        """Undo `state`."""
        self.counts = counts
