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


class AfterTest:
    """The evaluation that follows a test run; made before it, so that what cannot be evaluated is not run.

    Attributes:
        wanted: options of `val:` that make the run write what the protocol measures.

    Raises:
        UserError: there is no such protocol, or the model or the data sets cannot give what it needs.
    """

    def __init__(self, protocol: str, options: dict[str, Any]) -> None:
        from vqcnir_arch.models import VQModel

        self.options, self.protocol = options, find_protocol(protocol)
        self.wanted = {"save_img": True}
        model = options["model_type"]
        is_ours = issubclass(lookup(MODEL_REGISTRY, model), VQModel)
        if self.protocol.pixels == PIXELS_FLOAT:
            if not is_ours:
                raise UserError(f"protocol {protocol} needs float outputs, which {model} does not write")
            self.wanted["save_float"] = True
        suffix = options["val"].get("suffix")
        if suffix is None and not is_ours:
            suffix = options["name"]  # which BasicSR's own models add
        self.suffix = f"_{suffix}" if suffix else ""
        tests = [block for name, block in options["datasets"].items() if name.split("_")[0] == "test"]
        has_truths = self.protocol.truths != "none"
        self.tests = [(block["name"], _truths(block) if has_truths else None) for block in tests]
        for name, truths in self.tests:
            if self.protocol.truths == "required" and truths is None:
                raise UserError(f"protocol {protocol} compares with ground truths, data set '{name}' has none")

    def evaluate(self, root: Path) -> int:
        """Evaluate the results of each data set; return the exit status.

        The files go beside the results, `results/<name>/visualization/<data set>_<protocol>/`.
        """
        from vqcnir_arch.evaluation import INCOMPLETE_STATUS, report

        incomplete = False
        device = "cpu" if self.options["num_gpu"] == 0 else None
        for name, truths in self.tests:
            results = root / "results" / self.options["name"] / "visualization" / name
            incomplete |= report(evaluate(results, self.protocol.name, truths, suffix=self.suffix, device=device))
        return INCOMPLETE_STATUS if incomplete else 0


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
