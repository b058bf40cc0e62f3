"""Which of several processes this is; what they tell each other stands in `training/distributed.py`."""

from __future__ import annotations

import os
import sys


def is_first() -> bool:
    """Tell whether this is the first of the processes that a launcher started, or the only one."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def reports_errors() -> bool:
    """Tell whether this process reports its error: before they have met, all of a machine have the same one."""
    distributed = sys.modules.get("torch.distributed")  # without it they have not met
    is_first_here = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"
    return is_first_here or (distributed is not None and distributed.is_initialized())
