"""Which project an option file is of, and what of a published one stands in a file that is ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vqcnir_arch.errors import UserError
from vqcnir_arch.options.published import daefr
from vqcnir_arch.options.published.projects import PROJECTS
from vqcnir_arch.options.published.rules import Source
from vqcnir_arch.options.sections import mapping
from vqcnir_arch.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY, Registry, lookup, names

TYPES = {name: (project.name, ours) for project in PROJECTS for name, ours in project.types.items()}
KEYS = {
    # what BasicSR or we would read past without a word, or with a misleading one
    r"path: pretrain_network_hq": "network_g: prior",
    r"path: pretrain_codebook": "network_g: prior, a list",
    r"datasets: \w+: use_resize_crop": "random_resize of StoredPairsDataset, SharpImageDataset and BSRGANDataset",
    r"datasets: \w+: use_flip": "use_hflip",
    r"datasets: \w+: datafile_(gt|lq)": "dataroot_gt and dataroot_lq of StoredPairsDataset, which take lists, too",
    r"datasets: \w+: latent_gt_path": "codes of FaceDegradationDataset, a file of `vqcnir data codes`",
}
"""Keys of published files that are not options here, with ours."""


def is_foreign(registry: Registry, name: Any) -> bool:
    """Tell whether a third project has brought a class of this name."""
    if name not in names(registry):
        return False
    return not lookup(registry, name).__module__.startswith(("basicsr.", "vqcnir_arch."))


def origin(options: Source) -> str | None:
    """Return the project that a file is a published option file of; None if it is ours, or a class of it is here."""
    if daefr.counterpart(options) is not None:
        return "DAEFR"
    model = options.at("model_type")
    if model in names(MODEL_REGISTRY):
        return None
    kind = options.at("network_g: type")
    known = [project for project in PROJECTS if model in project.models]
    return next((project.name for project in known if kind in [*project.types]), known[0].name if known else None)


def refuse_published(options: dict[str, Any], path: Path) -> None:
    """Refuse a published option file, or one of which a part still is.

    Raises:
        UserError: one line that says what to do; for a part, one line each.
    """
    source = Source(options)
    project = origin(source)
    if project == "DAEFR":
        raise UserError(not_translated(source, path))
    if project is not None:
        raise UserError(
            f"option file '{path}' is {project}'s (model_type {source.at('model_type')}): translate it with "
            f"vqcnir convert {path} ours.yml"
        )
    left = leftovers(source)
    if left:
        raise UserError("\n".join(left))


def not_translated(source: Source, path: Path) -> str:
    """Return what to do with a file of DAEFR."""
    return (
        f"option file '{path}' is DAEFR's, for PyTorch Lightning, and is not translated: take "
        f"{daefr.counterpart(source)} and put your folders and numbers in"
    )


def leftovers(source: Source) -> list[str]:
    """Return a line for each type and key of a published project in a file that is otherwise ours."""
    if is_foreign(MODEL_REGISTRY, source.at("model_type")):
        return []  # it may read what it likes
    datasets = {phase: block for phase, block in mapping(source.at("datasets")).items() if isinstance(block, dict)}
    typed = [("model_type", MODEL_REGISTRY, source.at("model_type"))]
    typed += [(f"{key}: type", ARCH_REGISTRY, mapping(source[key]).get("type")) for key in source if is_network(key)]
    typed += [(f"datasets: {phase}: type", DATASET_REGISTRY, block.get("type")) for phase, block in datasets.items()]
    found = [
        f"{place}: {name} is {TYPES[name][0]}'s; here: {TYPES[name][1]} (`vqcnir convert` translates whole files)"
        for place, registry, name in typed
        if isinstance(name, str) and name in TYPES and name not in names(registry)
    ]
    places = [f"path: {key}" for key in mapping(source.at("path"))]
    places += [
        f"datasets: {phase}: {key}"
        for phase, block in datasets.items()
        if not is_foreign(DATASET_REGISTRY, block.get("type"))
        for key in block
    ]
    for place in places:
        ours = next((ours for pattern, ours in KEYS.items() if re.fullmatch(pattern, place)), None)
        if ours is not None:
            found.append(f"{place} is a published project's; here: {ours}")
    return found


def is_network(key: Any) -> bool:
    """Tell whether a key of an option file names a network."""
    return str(key).startswith("network_")
