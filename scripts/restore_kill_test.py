"""Kill `vqcnir restore` at random moments, start it again with --skip-existing, and compare with an undisturbed run.

    python scripts/restore_kill_test.py --kills 300 --out restore_kill_out

Photographs and a film with sound. SIGKILL, SIGTERM and SIGINT take turns; each second kill waits for a moment in which
a file is being written. After every kill each result must be that of the undisturbed run byte for byte, or not be
there; at the end all are there, and nothing else.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from conftest import TINY_OPTIONS  # noqa: E402
from restore_kills import kill_restore  # noqa: E402

from vqcnir_arch.archs import VQCNIR  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for all files; what is in it goes")
    given = parser.parse_args()
    began = time.monotonic()
    shutil.rmtree(given.out, ignore_errors=True)
    for name, more in {"whole": (), "strips": ("--tile", "16")}.items():
        (given.out / name).mkdir(parents=True)
        torch.manual_seed(given.seed)
        torch.save({"params": VQCNIR(**TINY_OPTIONS["VQCNIR"]).state_dict()}, given.out / name / "net.pth")
        place = given.out / name
        counts = kill_restore(place, place / "net.pth", given.kills // 2, 10, given.seed, *more, frames=60)
        table = ", ".join(f"{count} x {how}" for how, count in sorted(counts.items()))
        print(f"{name}: same byte for byte after {sum(counts.values())} runs ({table})", flush=True)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
