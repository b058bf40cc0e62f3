"""`python -m vqcnir_arch.small PHOTOS ... --out DIR`: the small network from folders of photographs, start to end."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from vqcnir_arch import convert
from vqcnir_arch.arguments import not_negative, positive
from vqcnir_arch.atomic_files import make_folder
from vqcnir_arch.cli import exit_with_one_line
from vqcnir_arch.data.commands import synth
from vqcnir_arch.data.files import existing_folder
from vqcnir_arch.demo.stages import option_folder, run_stage
from vqcnir_arch.errors import UserError
from vqcnir_arch.losses.vgg import find_weights
from vqcnir_arch.small.frames import write_frames, write_thumbnails

NIGHT = ["--exposure", "0.02", "0.3"]
DAY = [
    "--exposure", "1", "1", "--no-motion", "1", "--moving-layer", "0", "--defocus", "0", "--lights", "0", "0",
    "--brightness", "1", "1", "--shot", "5e-6", "1e-5",
]  # fmt: skip
"""Pairs that need nothing, so that an ordinary photograph stays as it is."""


def main(arguments: Sequence[str]) -> None:
    """Make frames and pairs of photographs, train the prior, then VQCNIR in two parts; started work is continued.

    Raises:
        UserError: no usable photograph, VGG16's weights are missing, or a stage failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m vqcnir_arch.small", description=main.__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("photos", nargs="+", type=Path, help="folders of sharp photographs by day, nested to any depth")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="NAME", help="photographs that are not taken")
    parser.add_argument("--frames", type=positive, default=14, help="frames cut of each photograph (default: 14)")
    parser.add_argument("--seed", type=not_negative, default=0, help="of frames, pairs and trainings (default: 0)")
    known = parser.parse_args(arguments)
    folders = [existing_folder(folder.expanduser(), "PHOTOS") for folder in known.photos]
    out = known.out.expanduser().resolve()
    if inside := next((f for f in folders if out.is_relative_to(f.resolve())), None):
        raise UserError(f"--out '{out}' is inside PHOTOS '{inside}': the next run would take it for photographs")
    find_weights(None, "VGG16")  # hours later is too late to say that they are missing
    make_folder(out)
    make_data(folders, out, known.frames, known.seed, known.leave_out)
    print(f"written: {train(out, known.seed)}")


def make_data(folders: Sequence[Path], out: Path, frames: int, seed: int, left_out: Sequence[str]) -> None:
    """Write frames, pairs of them by night and by day (which need nothing), and thumbnails of the pairs."""
    taken = write_frames(folders, out, frames, seed, left_out)
    print(f"{taken} photographs, {taken * frames} frames")
    bright = out / "day_frames"
    bright.mkdir(exist_ok=True)
    for frame in (out / "frames").glob("*_0[0-4].png"):
        shutil.copyfile(frame, bright / frame.name)
    for source, pairs, settings in (("frames", "night", NIGHT), ("day_frames", "day", DAY)):
        common = ["--recipe", "lolblur", "--split", "train", "--seed", str(seed + 1)]
        synth.main([str(out / source), str(out / pairs), *common, *settings])
        write_thumbnails(out / pairs, out / f"{pairs}_thumbnails")


def train(out: Path, seed: int) -> Path:
    """Train all stages on what `make_data` wrote and return the network's file."""
    options = option_folder("small")
    models = {
        name: out / f"experiments/{name}/models/net_g_latest.pth"
        for name in ("small_prior", "small_curve", "small_vqcnir")
    }
    pairs, thumbnails = (
        f"datasets:train:dataroot=['{out / f'night{kind}'}','{out / f'day{kind}'}']" for kind in ("", "_thumbnails")
    )
    start = [pairs, f"network_g:prior={models['small_prior']}", f"network_g:curve={models['small_curve']}"]
    stages = {
        "train_prior": [f"datasets:train:dataroot={out / 'frames'}"],
        "train_curve": [thumbnails],
        "train_vqcnir": start,
        "train_refine": [*start, f"path:pretrain_network_g={models['small_vqcnir']}"],
    }
    for name, force in stages.items():
        run_stage("train", options / f"{name}.yml", out, [f"manual_seed={seed}", *force], resume=True)
    target = out / "vqcnir-s.safetensors"
    convert.main([str(out / "experiments/small_refine/models/net_g_latest.pth"), str(target), "--overwrite"])
    return target


if __name__ == "__main__":
    exit_with_one_line(lambda: main(sys.argv[1:]))
