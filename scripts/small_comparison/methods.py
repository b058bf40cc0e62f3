"""What is compared: curves, CLAHE, networks, networks with a part switched off, results of other programs."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

import vqcnir_arch
from small_comparison.sets import ImageSet
from vqcnir_arch.analysis.fusion_off import fusion_variants
from vqcnir_arch.analysis.probe import Edits
from vqcnir_arch.archs import VQCNIR, Codes, NearestCode
from vqcnir_arch.data.files import existing_folder, read_image
from vqcnir_arch.demo.baselines import apply_gamma, fit_gamma
from vqcnir_arch.errors import UserError

CLIP, TILES = 2.0, (8, 8)
"""CLAHE's clip limit and tiles, OpenCV's usual ones."""
SHUFFLE_SEED = 0
INPUT, ONE_GAMMA, BEST_GAMMA, CLAHE = "input", "one gamma", "best gamma of each image", "CLAHE"


@dataclass(frozen=True)
class Item:
    """One image of a set: its name there, the input and, where there is one, the truth, [H, W, 3] BGR uint8."""

    set: ImageSet
    name: str
    image: np.ndarray
    truth: np.ndarray | None


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: title of the row.
        run: from an image to the result, [H, W, 3] BGR uint8.
        takes: whether a set is one for this method.
        about: what there is to say of it.
        is_network: whether floor and goal are asked of it.
    """

    name: str
    run: Callable[[Item], np.ndarray]
    takes: Callable[[ImageSet], bool]
    about: Mapping[str, Any] = field(default_factory=dict)
    is_network: bool = False


def is_dark(images: ImageSet) -> bool:
    """Whether a set needs anything: curves have nothing to do on ordinary photographs."""
    return images.kind != "ordinary"


def clahe(image: np.ndarray) -> np.ndarray:
    """Equalise the lightness L of [H, W, 3] BGR uint8 tile by tile, with limited contrast."""
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
    lab[..., 0] = cv2.createCLAHE(CLIP, TILES).apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)


def simple_methods(gamma: float | None) -> list[Method]:
    """Return what needs no network; `gamma` is that of the training pairs, None without them."""
    methods = [Method(INPUT, lambda item: item.image, is_dark)]
    if gamma is not None:
        methods.append(
            Method(ONE_GAMMA, lambda item: apply_gamma(item.image, gamma), is_dark, {"gamma": round(gamma, 3)})
        )
    return [
        *methods,
        Method(
            BEST_GAMMA,
            lambda item: apply_gamma(item.image, fit_gamma([item.image], [item.truth])),
            lambda images: is_dark(images) and bool(images.truths),
        ),
        Method(CLAHE, lambda item: clahe(item.image), is_dark, {"clip_limit": CLIP, "tiles": TILES}),
    ]


@contextmanager
def edited(edits: Edits) -> Iterator[None]:
    """Replace what modules give by a function of their inputs and their output."""

    def hook(replace: Callable[[tuple[Any, ...], Any], Any]) -> Callable[..., Any]:
        return lambda module, inputs, output: replace(inputs, output)

    with ExitStack() as hooks:
        for module, replace in edits.items():
            hooks.enter_context(module.register_forward_hook(hook(replace)))
        yield


def codebook_variants(net: nn.Module) -> dict[str, Edits]:
    """Return what shows whether a VQCNIR's codebook helps; nothing for a network whose image does not depend on it."""
    if not (isinstance(net, VQCNIR) and isinstance(net.quantizer, NearestCode) and len(net.decoder.fusions)):
        return {}
    quantizer = net.quantizer
    order = torch.randperm(len(quantizer.codebook), generator=torch.Generator().manual_seed(SHUFFLE_SEED))

    def shuffled(inputs: tuple[Any, ...], codes: Codes) -> Codes:
        return codes._replace(output=quantizer.lookup(order[codes.indices]))

    return {"G's features zero": fusion_variants(net)["without G"], "codes shuffled": {quantizer: shuffled}}


def own_methods(name: str, path: Path, with_variants: bool) -> list[Method]:
    """Return a checkpoint of ours as a method and, if asked for, what it does without the codebook's help.

    Raises:
        UserError: it cannot be read, or is a prior.
    """
    net = vqcnir_arch.load_network(path)
    if net.is_prior:
        raise UserError(f"--network '{path}' is a prior (stage I): it restores nothing, expected stage II")

    def run(item: Item) -> np.ndarray:
        return vqcnir_arch.restore(net, item.image[..., ::-1])[..., ::-1]

    def variant(title: str, edits: Edits) -> Method:
        def run_edited(item: Item) -> np.ndarray:
            with edited(edits):
                return run(item)

        return Method(f"{name}, {title}", run_edited, lambda images: is_dark(images) and not images.more)

    variants = codebook_variants(net) if with_variants else {}
    about = {**of_file(path), "parameters": sum(p.numel() for p in net.parameters())}
    network = Method(name, run, lambda images: True, about, is_network=True)
    return [network, *(variant(title, edits) for title, edits in variants.items())]


def rival_method(name: str, path: Path) -> Method:
    """Return a checkpoint that spandrel reads, of a network that keeps the size, as a method.

    Raises:
        UserError: spandrel does not read it, or it is no such network.
    """
    import spandrel

    try:
        model = spandrel.ModelLoader("cpu").load_from_file(path).eval()
    except Exception as error:  # each architecture has its own
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"--rival '{path}' cannot be read by spandrel: {first}") from error
    kind = model.architecture.name
    if not isinstance(model, spandrel.ImageModelDescriptor) or (model.scale, model.input_channels) != (1, 3):
        raise UserError(f"--rival '{path}' is a {kind}, which does not restore RGB at its own size")

    @torch.inference_mode()
    def run(item: Item) -> np.ndarray:
        x = torch.from_numpy(item.image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
        restored = model(x).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        return np.round(restored * 255).astype(np.uint8)[..., ::-1]

    about = {**of_file(path), "architecture": kind, "parameters": sum(p.numel() for p in model.model.parameters())}
    return Method(name, run, lambda images: True, about, is_network=True)


def foreign_results(name: str, folder: Path) -> Method:
    """Return what another program wrote as a method: `<folder>/<set>/<image>`, any ending, a set may be missing.

    Raises:
        UserError: the folder is missing.
    """
    existing_folder(folder, "--results")

    def run(item: Item) -> np.ndarray:
        found = sorted((folder / item.set.name).glob(f"{glob.escape(item.name)}.*"))
        if len(found) != 1:
            raise UserError(f"--results '{folder / item.set.name}' has {len(found)} images '{item.name}', expected one")
        return read_image(found[0])

    return Method(name, run, lambda images: (folder / images.name).is_dir(), is_network=True)


def of_file(path: Path) -> dict[str, str]:
    """Return a file's name and SHA-256."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
