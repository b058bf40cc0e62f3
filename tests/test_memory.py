"""Memory that a command's process gives back and takes again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import psutil, resource, sys, torch
from vqcnir_arch.memory import give_back_freed_memory, keep_freed_memory
if sys.argv[1] != "as it is":
    keep_freed_memory()
torch.set_num_threads(1)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(4):
    before = faults()
    tensors = [torch.ones(2**22) for _ in range(8)]
    del tensors
print(faults() - before)
if sys.argv[1] == "give back":
    tensors = [torch.ones(2**22) for _ in range(8)]
    del tensors
    before = psutil.Process().memory_info().rss
    give_back_freed_memory()
    print(before - psutil.Process().memory_info().rss)
"""


def faults(word: str) -> list[int]:
    """Return how many pages the system had to give for tensors that were there before, in a process of its own.

    With "give back" also the bytes that the process has then handed back.
    """
    done = subprocess.run([sys.executable, "-c", SCRIPT, word], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is meant")
def test_freed_memory_is_kept():
    (kept,), (without,) = faults("keep"), faults("as it is")
    assert kept < without / 2 or without < 1000  # huge pages: nothing to gain


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is meant")
def test_freed_memory_is_given_back():
    assert faults("give back")[1] > 100_000_000  # of 134
