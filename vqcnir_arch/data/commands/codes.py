"""`vqcnir data codes`: the prior's codes of clean faces, for `codes:` of FaceDegradationDataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from vqcnir_arch.archs.loading import load_prior_network
from vqcnir_arch.arguments import not_negative, positive
from vqcnir_arch.data.codes import write_codes
from vqcnir_arch.data.face_degradation_dataset import FaceDegradationDataset
from vqcnir_arch.devices import choose_device


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="vqcnir data codes", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", help="folder of aligned faces")
    parser.add_argument("-w", "--weights", required=True, help="checkpoint of the FaceVQGANPrior, ours or published")
    parser.add_argument("-o", "--out", required=True, type=Path, help="file to write, e.g. codes.pth")
    parser.add_argument("--size", type=positive, default=512, help="side of the faces, gt_size of the training (512)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument("--workers", type=not_negative, default=2, help="processes that read images (2)")
    given = parser.parse_args(arguments)

    device = choose_device(given.device)
    prior = load_prior_network(given.weights, "FaceVQGANPrior").to(device)
    options = {"name": "faces", "phase": "val", "dataroot": given.folder, "setting": "codeformer_stage1"}
    faces = FaceDegradationDataset({**options, "gt_size": given.size})
    codes = {}
    with torch.inference_mode():
        for sample in tqdm(DataLoader(faces, num_workers=given.workers), unit="face"):
            face = sample["gt"].to(device)
            _, found = prior(torch.cat((face, face.flip(-1))), decode=False)
            codes[sample["name"][0]] = found.indices.cpu().short()
    write_codes(given.out.expanduser(), codes)
    print(f"codes of {len(codes):,} faces and of their mirror images in {given.out}")
