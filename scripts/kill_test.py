"""Kill a small real training run at random moments, resume it each time, and compare it with one that was never killed.

    python scripts/kill_test.py --kills 50 --out kill_test_out

The run is stage I on photographs, with discriminator, EMA and validation. SIGKILL and SIGTERM take turns, and each
third kill waits for a moment in which a file is being written. Exit status 0 means that all weights, optimiser states,
random states and best metrics of the last checkpoint are the same bit for bit, and so are the lines of `metrics.jsonl`
but for times and for the codes counted since the line before.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from training_runs import (  # noqa: E402
    ENVIRONMENT,
    checkpoint,
    command,
    differences,
    make_images,
    measured,
    options,
    train,
    write,
)

START = 60.0  # seconds until a run must have started


def kill_once(line: list[str], states: Path, dice: random.Random, number: int, while_saving: bool) -> str | None:
    """Start or resume, and kill; return how it ended: a word for the table, or None if it came to its own end.

    Args:
        line: command of the run.
        states: folder of its training states.
        dice: decides the moment.
        number: the signal.
        while_saving: wait for a half-written file instead of for a random time.
    """
    log = open(states.parents[2] / "output.txt", "a")  # noqa: SIM115
    process = subprocess.Popen(line, stdout=log, stderr=log, env=ENVIRONMENT)
    folders = (states, states.parent / "models")
    # a run that is killed before its first new iteration gets nowhere: half of the kills wait for one
    before = log.tell()
    end = time.monotonic() + START
    if dice.random() < 0.7 or while_saving:
        while process.poll() is None and time.monotonic() < end:
            with open(log.name) as text:
                text.seek(before)
                if "Start training" in text.read():
                    break
            time.sleep(0.05)
    if while_saving:
        while process.poll() is None and not any(list(folder.glob(".*.saving")) for folder in folders):
            time.sleep(0.0005)
    else:
        time.sleep(dice.uniform(0, 2.5))
    if process.poll() is None:
        process.send_signal(number)
    code = process.wait(timeout=START)
    log.close()
    if code == 0:
        return None
    half = sum(len(list(folder.glob(".*.saving"))) for folder in folders if folder.is_dir())
    if number == signal.SIGTERM and code not in (143, -signal.SIGTERM):
        raise SystemExit(f"SIGTERM ended the run with status {code}, see {log.name}")
    return f"{signal.Signals(number).name}{' while saving' if half else ''}"


def kill_test(out: Path, kills: int, seed: int = 0, iterations: int | None = None) -> dict[str, int]:
    """Run the test; return how often a run was ended in which way.

    Raises:
        SystemExit: the killed run is not the same as the undisturbed one.
    """
    dice = random.Random(seed)
    shutil.rmtree(out, ignore_errors=True)
    make_images(out / "images")
    length = iterations or 30 * kills
    made = options(out, train__total_iter=length, val__val_freq=20, logger__save_checkpoint_freq=5)
    made["logger"].update(keep_last=3, print_freq=10)
    made["train"]["scheduler"]["milestones"] = [length // 2]
    for name in ("undisturbed", "killed"):
        (out / name).mkdir()
    train(made, out / "undisturbed")
    option_file = write(out / "killed/run.yml", made)
    line = command(option_file, out / "killed", "--auto_resume")
    states = out / "killed/experiments/run/training_states"

    counts: dict[str, int] = {}
    for i in range(kills):
        number = (signal.SIGKILL, signal.SIGTERM)[i % 2]
        how = kill_once(line, states, dice, number, while_saving=i % 3 == 2) or "came to its end"
        counts[how] = counts.get(how, 0) + 1
        newest = max((int(path.stem) for path in states.glob("*.state")), default=0)
        print(f"{i + 1:3d}/{kills} {how:<24} newest checkpoint {newest}", flush=True)
        if how == "came to its end":
            break
    subprocess.run(line, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = differences(checkpoint(out / "undisturbed", length), checkpoint(out / "killed", length))
    if found:
        raise SystemExit("the killed run differs in " + ", ".join(found[:10]))
    records = [measured(out / name, also=("codebook_usage", "perplexity")) for name in ("undisturbed", "killed")]
    if records[0] != records[1]:
        raise SystemExit(
            f"the killed run measured {len(records[1])} lines, the undisturbed one others ({len(records[0])})"
        )
    leftovers = [str(path) for path in (out / "killed").rglob(".*.saving")]
    if leftovers:
        raise SystemExit(f"unfinished files are left: {', '.join(leftovers)}")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, help="length of the run (default: 30 per kill)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs; what is in it goes")
    given = parser.parse_args()
    began = time.monotonic()
    counts = kill_test(given.out, given.kills, given.seed, given.iterations)
    table = ", ".join(f"{count} x {how}" for how, count in sorted(counts.items()))
    print(f"same bit for bit after {sum(counts.values())} kills ({table}), {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
