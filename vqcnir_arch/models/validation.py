"""Validation and test over named images, shared by all processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from vqcnir_arch.errors import UserError
from vqcnir_arch.metrics.pyiqa_metric import needs_ground_truth
from vqcnir_arch.models.kept_results import KeptResults
from vqcnir_arch.training.distributed import from_all


class Validation:
    """Restores, measures and saves every image under its data set's own name, `<video>/<frame>` where it has one.

    Args:
        options: of the experiment.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def share(self, loader: DataLoader) -> tuple[DataLoader, range]:
        """Return this process's share of a data set, and its images' numbers: process r of n takes r, r + n, ..."""
        if not self.options["dist"]:
            return loader, range(len(loader))
        mine = range(self.options["rank"], len(loader.dataset), self.options["world_size"])
        return DataLoader(Subset(loader.dataset, mine), batch_size=1), mine

    def run(
        self,
        restore: Callable[[dict[str, Any]], Tensor],
        loader: DataLoader,
        current_iter: int | str,
        save_images: bool,
    ) -> dict[str, float]:
        """Validate on a data set.

        Args:
            restore: gives a sample's image, [1, 3, H, W], RGB in [0, 1].
            loader: one image per batch.
            current_iter: stands in the names of images that are saved in training.
            save_images: whether any is.

        Returns:
            Each metric's mean over all images in all processes; empty without metrics.

        Raises:
            UserError: a metric needs a ground truth where there is none.
        """
        dataset_name, val = loader.dataset.opt["name"], self.options["val"]
        metrics = val.get("metrics") or {}
        measured: dict[int, dict[str, float]] = {}
        share, indices = self.share(loader)
        progress = tqdm(share, desc=dataset_name, unit="image", disable=not val.get("pbar", False))
        kept = None if self.options["is_train"] or not save_images else KeptResults.of(self.options)
        found = 0
        for index, sample in zip(indices, progress, strict=True):
            name = sample["name"][0] if "name" in sample else Path(sample["lq_path"][0]).stem
            files = [self.result_path(dataset_name, name, current_iter)]
            if val.get("save_float"):
                files.append(files[0].with_suffix(".npy"))
            image = kept.read(files, sample["lq_path"][0]) if kept else None
            if image is None:
                image = written(restore(sample), files if save_images else [])
                if kept:
                    kept.add(files, sample["lq_path"][0])
            else:
                found += 1
            images = {"img": image}
            if "gt" in sample:
                images["img2"] = tensor2img([sample["gt"]])
            measured[index] = {m: float(self.measure(images, o, dataset_name)) for m, o in metrics.items()}
        if kept:
            kept.close()
            found, total = (sum(numbers) for numbers in zip(*from_all((found, len(indices))), strict=True))
            if found:
                get_root_logger().info(
                    f"{dataset_name}: {found} of {total} images were there, of the same checkpoint and options: read, "
                    "not computed"
                )
        if not metrics:
            return {}

        everywhere = {index: values for part in from_all(measured) for index, values in part.items()}
        # in the order of the images, whoever restored them: the sum is the same bit for bit for any number of processes
        ordered = [everywhere[index] for index in sorted(everywhere)]
        return {m: sum(values[m] for values in ordered) / len(ordered) for m in metrics}

    @staticmethod
    def measure(images: dict[str, Any], options: dict[str, Any], dataset_name: str) -> float:
        """Compute one metric of BasicSR's registry; a missing ground truth is a clear error."""
        if "img2" not in images and needs_ground_truth(options):
            raise UserError(f"{options['type']} needs a ground truth, but data set '{dataset_name}' has none")
        return calculate_metric(images, options)

    def result_path(self, dataset_name: str, name: str, current_iter: int | str) -> Path:
        """Where a validation image goes; BasicSR's layout with the data set and the video added."""
        folder = Path(self.options["path"]["visualization"]) / dataset_name
        if self.options["is_train"]:
            return folder / name / f"{Path(name).name}_{current_iter}.png"
        suffix = self.options["val"].get("suffix")
        return folder / (f"{name}_{suffix}.png" if suffix else f"{name}.png")


def written(restored: Tensor, files: Sequence[Path]) -> np.ndarray:
    """Write an image, [1, 3, H, W], to `files`, a PNG and maybe a .npy; return it as [H, W, 3] BGR uint8."""
    image = tensor2img([restored.detach().cpu()])
    for path in files:
        if path.suffix == ".npy":
            np.save(path, restored[0].permute(1, 2, 0).float().cpu().numpy())
        else:
            imwrite(image, str(path))
    return image
