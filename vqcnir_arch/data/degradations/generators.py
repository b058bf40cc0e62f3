"""Where the one generator of a sample comes from."""

from __future__ import annotations

import numpy as np


def fresh_generator() -> np.random.Generator:
    """Return a generator seeded by numpy's global one, which is itself seeded for each training sample."""
    return np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint64))


def fixed_generator(seed: int, name: str) -> np.random.Generator:
    """Return the generator that belongs to an image's name: the same whatever other images there are."""
    return np.random.default_rng([seed, *name.encode()])
