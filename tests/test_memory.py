"""Memory that a command's process gives back and takes again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from vqcnir_arch.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
torch.set_num_threads(1)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(4):
    before = faults()
    tensors = [torch.ones(2**22) for _ in range(8)]
    del tensors
print(faults() - before)
"""


def faults(word: str) -> int:
    """Return how many pages the system had to give for tensors that were there before, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, word], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is meant")
def test_freed_memory_is_kept():
    assert faults("keep") < faults("as it is") / 2 or faults("as it is") < 1000  # huge pages: nothing to gain
