"""`vqcnir test --protocol`: evaluate what a test run wrote."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from vqcnir_arch.data.files import existing_folder, find_images
from vqcnir_arch.data.storage import LmdbImages
from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.evaluate import evaluate
from vqcnir_arch.evaluation.protocols import PIXELS_FLOAT, find_protocol
from vqcnir_arch.registry import DATASET_REGISTRY, MODEL_REGISTRY, lookup


def needs_options(protocol: str, options: dict[str, Any]) -> list[str]:
    """Return the `--force_yml` entries that make a test run write what a protocol measures.

    Raises:
        UserError: there is no such protocol, or the model or the data sets cannot give what it needs.
    """
    from vqcnir_arch.models.validation import Validation

    chosen = find_protocol(protocol)
    entries = ["val:save_img=true"]
    if chosen.pixels == PIXELS_FLOAT:
        if not issubclass(lookup(MODEL_REGISTRY, options["model_type"]), Validation):
            raise UserError(f"protocol {protocol} needs float outputs, which {options['model_type']} does not write")
        entries.append("val:save_float=true")
    for block in _tests(options):
        if chosen.truths == "required" and _truths(block) is None:
            raise UserError(f"protocol {protocol} compares with ground truths, data set '{block['name']}' has none")
    return entries


def evaluate_test(protocol: str, options: dict[str, Any], root: Path) -> int:
    """Evaluate the results of each data set of a test run; return the exit status.

    The files go beside the results, `results/<name>/visualization/<data set>_<protocol>/`.
    """
    from vqcnir_arch.evaluation import INCOMPLETE_STATUS, report

    incomplete = False
    for block in _tests(options):
        results = root / "results" / options["name"] / "visualization" / block["name"]
        truths = None if find_protocol(protocol).truths == "none" else _truths(block)
        device = "cpu" if options["num_gpu"] == 0 else None
        incomplete |= report(evaluate(results, protocol, truths, suffix=_suffix(options), device=device))
    return INCOMPLETE_STATUS if incomplete else 0


def _tests(options: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for name, block in options["datasets"].items() if name.split("_")[0] == "test"]


def _truths(block: dict[str, Any]) -> dict[str, Path] | None:
    """Return the ground truths of a data set's images by name; of ours exactly those that it takes.

    Raises:
        UserError: they are not files of a folder.
    """
    if "dataroot_gt" in block:  # BasicSR's PairedImageDataset
        return find_images(existing_folder(Path(block["dataroot_gt"]).expanduser(), "dataroot_gt"))
    dataset = lookup(DATASET_REGISTRY, block["type"])({**copy.deepcopy(block), "phase": "test"})
    truths = getattr(dataset, "gt", None)
    if isinstance(truths, LmdbImages):
        raise UserError(f"data set '{block['name']}' reads '{truths.folder}', an evaluation needs a folder of images")
    return {name: truths.paths[name] for name in dataset.names} if truths else None


def _suffix(options: dict[str, Any]) -> str:
    """What the model adds to names: BasicSR's own adds the experiment's name where there is no suffix."""
    from vqcnir_arch.models.validation import Validation

    suffix = options["val"].get("suffix")
    if suffix is None and not issubclass(lookup(MODEL_REGISTRY, options["model_type"]), Validation):
        suffix = options["name"]
    return f"_{suffix}" if suffix else ""
