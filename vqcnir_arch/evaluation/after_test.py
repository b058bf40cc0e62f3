"""`vqcnir test --protocol`: evaluate what a test run wrote."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqcnir_arch.data.files import existing_folder, find_images
from vqcnir_arch.data.storage import LmdbImages
from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.papers import FolderPair, sets_of
from vqcnir_arch.evaluation.protocols import PIXELS_FLOAT, find_protocol
from vqcnir_arch.evaluation.run import check_reference, evaluate
from vqcnir_arch.evaluation.sets import find_pair, find_row, sets_of_blocks
from vqcnir_arch.registry import DATASET_REGISTRY, MODEL_REGISTRY, lookup


@dataclass(frozen=True)
class Tested:
    """A data set of the run: its name, its ground truths by name, and what it is of the papers'."""

    name: str
    truths: dict[str, Path] | None
    test_set: str | None
    pair: FolderPair | None


class AfterTest:
    """The evaluation that follows a test run; made before it, so that what cannot be evaluated is not run.

    Args:
        protocol: its name.
        options: the checked option file.
        sets: the papers' test set of each data set, in their order; empty: as their names and folders say.
        reference: folder of the images that FID compares with.
        row: label or method of the papers' row to show alone, where a data set's test set has it.

    Attributes:
        wanted: options of `val:` that make the run write what the protocol measures.

    Raises:
        UserError: there is no such protocol, test set, row or reference, or the model or the data sets cannot give
            what the protocol needs.
    """

    def __init__(
        self,
        protocol: str,
        options: dict[str, Any],
        sets: Sequence[str] = (),
        reference: Path | None = None,
        row: str | None = None,
    ) -> None:
        from vqcnir_arch.models import VQModel

        self.options, self.protocol, self.reference = options, find_protocol(protocol), reference
        check_reference(self.protocol, reference)
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
        # in BasicSR's order
        blocks = [block for name, block in sorted(options["datasets"].items()) if name.split("_")[0] == "test"]
        named = sets_of_blocks(sets, blocks, options.get("scale", 1), self.protocol)
        self.row = None if row is None else find_row(row, self.protocol, named)
        self.tests = [self.tested(block, test_set) for block, test_set in zip(blocks, named, strict=True)]

    def tested(self, block: dict[str, Any], test_set: str | None) -> Tested:
        """Find out what the evaluation needs to know of a data set."""
        name = block["name"]
        truths, pair = None, (None, None)
        if self.protocol.truths != "none":
            truths, pair = _truths(block)
        if self.protocol.truths == "required" and truths is None:
            raise UserError(f"protocol {self.protocol.name} compares with ground truths, data set '{name}' has none")
        known = sets_of(self.protocol)
        if test_set is None and len(known) > 1:
            print(
                f"vqcnir: note: by name, folders and scale, data set '{name}' is no test set of protocol "
                f"{self.protocol.name}: its table has the rows of all (--set: {', '.join(known)})",
                file=sys.stderr,
            )
        return Tested(name, truths, test_set, find_pair(None, self.protocol, *pair))

    def evaluate(self, root: Path) -> int:
        """Evaluate the results of each data set; return the exit status.

        The files go beside the results, `results/<name>/visualization/<data set>_<protocol>/`.
        """
        from vqcnir_arch.evaluation.command import INCOMPLETE_STATUS, report

        incomplete = False
        device = "cpu" if self.options["num_gpu"] == 0 else None
        for test in self.tests:
            evaluation = evaluate(
                root / "results" / self.options["name"] / "visualization" / test.name,
                self.protocol.name,
                test.truths,
                reference=self.reference,
                test_set=test.test_set,
                pair=test.pair,
                row=self.row,
                suffix=self.suffix,
                device=device,
            )
            incomplete |= report(evaluation)
        return INCOMPLETE_STATUS if incomplete else 0


def _truths(block: dict[str, Any]) -> tuple[dict[str, Path] | None, tuple[Path | None, Path | None]]:
    """Return the ground truths of a data set's images by name, of ours exactly those that it takes, and both folders.

    Raises:
        UserError: they are not files of a folder.
    """
    if "dataroot_gt" in block:  # BasicSR's PairedImageDataset
        folders = tuple(Path(block[key]).expanduser() for key in ("dataroot_lq", "dataroot_gt"))
        return find_images(existing_folder(folders[1], "dataroot_gt")), folders
    dataset = lookup(DATASET_REGISTRY, block["type"])({**copy.deepcopy(block), "phase": "test"})
    truths = getattr(dataset, "gt", None)
    if isinstance(truths, LmdbImages):
        raise UserError(f"data set '{block['name']}' reads '{truths.folder}', an evaluation needs a folder of images")
    if not truths:
        return None, (None, None)
    options = getattr(dataset, "options", None)
    names = (getattr(options, side, None) for side in ("lq_folder", "gt_folder"))
    folders = tuple(None if name is None else Path(name) for name in names)
    return {name: truths.paths[name] for name in dataset.names}, folders
