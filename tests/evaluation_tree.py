"""A made-up LOL-Blur tree of real photographs, in which two videos share their frame names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import basicsr.metrics
import cv2
import numpy as np
import scipy.io
from conftest import scene

PHOTOS = {"0000/0030": "chelsea", "0000/0031": "coffee", "0001/0030": "rocket", "0001/0031": "astronaut"}


def noisy(image, sigma, seed):
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def write_tree(root, width=200, height=104):
    """Write truths to `root/gt` and noisier and noisier results to `root/results`; return both as BGR arrays."""
    tree = SimpleNamespace(root=root, gt=root / "gt", results=root / "results", truths={}, images={})
    for seed, (name, photo) in enumerate(PHOTOS.items()):
        tree.truths[name] = np.ascontiguousarray(scene(photo, width, height)[..., ::-1])
        tree.images[name] = noisy(tree.truths[name], 6 + 2 * seed, seed)
        for folder, image in ((tree.gt, tree.truths[name]), (tree.results, tree.images[name])):
            path = folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    return tree


def write_niqe_parameters(hub):
    """Write NIQE's parameters as pyiqa reads them, from the file inside BasicSR."""
    bundled = np.load(Path(basicsr.metrics.__file__).parent / "niqe_pris_params.npz")
    (hub / "pyiqa").mkdir(exist_ok=True)
    parameters = {f"{name}_prisparam": bundled[f"{name}_pris_param"] for name in ("mu", "cov")}
    scipy.io.savemat(hub / "pyiqa/niqe_modelparameters.mat", parameters)
