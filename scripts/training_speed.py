"""Training steps of two checkouts by turns: is one faster on this CPU?

    git worktree add ../before 8135afc
    python scripts/training_speed.py ../before .                      # the demo's and two other small networks
    python scripts/training_speed.py ../before . --subjects published --rounds 3
    python scripts/training_speed.py . . --amp none bf16              # one checkout in two precisions

Both take the same steps (data to the device, losses, gradients, guard, optimiser) of the library's models on the same
pixels from the same first weights, by the option files of the first, each in a process of its own that waits while the
other has its turn: other load hits both. Every time is printed, by the clock and in processor seconds (which other load
disturbs less); the ratio is the median over rounds. The losses of the first step show that both compute the same.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SMALL: dict[str, Any] = {
    "codebook_size": 512,
    "code_dim": 64,
    "res_blocks": 1,
    "norm_groups": 8,
    "enhancer": {"type": "AIEM", "depth": 4},
    "fusion": {"type": "SKFF"},
}
PRIOR_KEYS = ("channels", "codebook_size", "code_dim", "res_blocks", "norm_groups")
SUBJECTS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "demo": ("vqcnir", 4, 64, {}),
    "demo_prior": ("prior", 8, 64, {}),
    "f4_24": ("vqcnir", 4, 128, {**SMALL, "channels": [24, 48, 96]}),
    "f4_16": ("vqcnir", 4, 128, {**SMALL, "channels": [16, 32, 64], "norm_groups": 8}),
    "published": ("vqcnir", 1, 256, {"network": "published"}),
}
"""By name: the demo's option file of which stage, batch, size, and what of `network_g` is other than there."""
WARM_UP = 2


def stage_model(subject: str, folder: Path, amp: str, options_of: Path) -> Any:
    """Build the model of a subject; whoever comes first writes the first weights that all start from."""
    import torch

    from vqcnir_arch.archs import VQGANPrior
    from vqcnir_arch.options import read_options
    from vqcnir_arch.registry import MODEL_REGISTRY

    stage, _, _, network = SUBJECTS[subject]
    options = read_options(options_of / f"options/demo/train_{stage}.yml")
    options |= {"is_train": True, "dist": False, "rank": 0, "world_size": 1, "num_gpu": 0}
    options["train"]["amp"] = amp
    block = options["network_g"]
    if network.get("network") == "published":
        block = options["network_g"] = {"type": block["type"], "freeze_prior": True}
    else:
        block |= network
    torch.manual_seed(0)
    if stage == "vqcnir":
        prior = folder / f"{subject}_prior.pth"
        if not prior.exists():
            sizes = {name: block[name] for name in PRIOR_KEYS if name in block}
            torch.save({"params": VQGANPrior(**sizes).state_dict()}, prior)
        block["prior"] = str(prior)
    model = MODEL_REGISTRY.get(options["model_type"])(options)
    first = folder / f"{subject}_first.pth"
    if not first.exists():
        torch.save(model.net_g.state_dict(), first)
    model.net_g.load_state_dict(torch.load(first))
    return model


def work(subject: str, folder: Path, amp: str, options_of: Path) -> None:
    """Take a step per line of the standard input; answer with its seconds, first with the losses of the first step."""
    import torch

    from vqcnir_arch.devices import seconds

    with contextlib.suppress(ImportError):  # as the checkout's launcher does, if it has this
        importlib.import_module("vqcnir_arch.memory").keep_freed_memory()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed is no answer
    _, batch, size, _ = SUBJECTS[subject]
    model = stage_model(subject, folder, amp, options_of)
    images = torch.rand(2, batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    data = {"lq": images[0] * 0.1, "gt": images[1]}

    def step(number: int) -> None:
        model.feed_data(data)
        model.optimize_parameters(number)

    step(1)
    answer: Any = {name: float(loss) for name, loss in model.log_dict.items()}
    for number in range(2, WARM_UP + 1):
        step(number)
    print(json.dumps(answer), file=answers, flush=True)
    for number, _ in enumerate(sys.stdin, WARM_UP + 1):
        began = time.process_time()
        taken = seconds(lambda number=number: step(number))
        print(json.dumps([taken, time.process_time() - began]), file=answers, flush=True)


def start(checkout: Path, subject: str, folder: Path, amp: str, options_of: Path) -> subprocess.Popen[str]:
    """Start a process that trains with the package of a checkout."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--work",
        subject,
        str(folder),
        amp,
        str(options_of.resolve()),
    ]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, cwd=checkout, env=environment, **pipes)


def answer_of(process: subprocess.Popen[str]) -> Any:
    """Return the next answer of a process; end the script if it died."""
    line = process.stdout.readline()
    if not line:
        sys.exit(f"{process.args[1:]} ended with status {process.wait()}")
    return json.loads(line)


def compare(subject: str, checkouts: Sequence[Path], amps: Sequence[str], rounds: int) -> None:
    """Print every time of one subject, the medians and the median ratio."""
    with tempfile.TemporaryDirectory() as name:
        processes, losses = [], []
        for checkout, amp in zip(checkouts, amps, strict=True):
            processes.append(start(checkout, subject, Path(name), amp, checkouts[0]))
            losses.append(answer_of(processes[-1]))
        taken: list[list[list[float]]] = [[], []]
        for turn in range(rounds):
            for i in ((0, 1), (1, 0))[turn % 2]:
                print("step", file=processes[i].stdin, flush=True)
                taken[i].append(answer_of(processes[i]))
        for process in processes:
            process.stdin.close()
            process.wait()
    _, batch, size, _ = SUBJECTS[subject]
    print(f"\n{subject}: batch {batch} of {size}x{size}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads")
    for label, of_first in zip(("before", "after"), losses, strict=True):
        print(f"  first step, {label}:", " ".join(f"{loss} {value:.8g}" for loss, value in of_first.items()))
    for clock, unit in enumerate(("seconds", "processor seconds")):
        before, after = ([times[clock] for times in of_one] for of_one in taken)
        for label, values in (("before", before), ("after", after)):
            median = statistics.median(values)
            rate = f"median {median:.3f}, {batch / median:.2f} samples a second"
            print(f"  {unit}, {label}: {rate};", " ".join(f"{value:.3f}" for value in values))
        ratios = [old / new for old, new in zip(before, after, strict=True)]
        print(f"  times as fast by {unit}: median {statistics.median(ratios):.2f};",
              " ".join(f"{ratio:.2f}" for ratio in ratios), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", type=Path, nargs=2, metavar="CHECKOUT", help="before and after")
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS)[:-1], choices=list(SUBJECTS))
    parser.add_argument("--amp", nargs=2, default=("none", "none"), choices=("none", "bf16"), help="before and after")
    parser.add_argument("--rounds", type=int, default=15)
    known = parser.parse_args()
    for subject in known.subjects:
        compare(subject, known.checkouts, known.amp, known.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], Path(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
    else:
        main()
