"""What a module does with feature maps beside torch's own operators: a class of maps may do it in its own way.

On tensors these functions do nothing but call another one. They are torch's override protocol (`torch.overrides`) for
what it does not know; `restoration/strips/` computes maps that are nowhere whole with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function


def local(function: Callable[..., Any], *maps: Tensor) -> Any:
    """Return `function(*maps)`, each pixel of which depends on the pixels near it alone."""
    if has_torch_function(maps):
        return handle_torch_function(local, maps, function, *maps)
    return function(*maps)


def total(function: Callable[..., tuple[Tensor, ...]], *maps: Tensor) -> tuple[Tensor, ...]:
    """Return `function(*maps)`, sums over all pixels: over parts of the maps it gives parts of the sums."""
    if has_torch_function(maps):
        return handle_torch_function(total, maps, function, *maps)
    return function(*maps)
