"""Validation and test over named images, shared by all processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from vqcnir_arch.errors import UserError
from vqcnir_arch.metrics.pyiqa_metric import needs_ground_truth
from vqcnir_arch.models.kept_results import KeptResults
from vqcnir_arch.training.distributed import from_all


class Validation:
    """Mixin over BasicSR's SRModel that replaces its validation."""

    def test(self) -> None:
        net = getattr(self, "net_g_ema", None) or self.get_bare_model(self.net_g)
        net.eval()
        with torch.no_grad():
            self.output = net(self.lq)
        self.get_bare_model(self.net_g).train(self.is_train)

    def dist_validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Process r of n takes the images r, r + n, ...; the metrics are means over all images in all processes."""
        mine = range(self.opt["rank"], len(dataloader.dataset), self.opt["world_size"])
        share = DataLoader(Subset(dataloader.dataset, mine), batch_size=1)
        self.validate(dataloader.dataset.opt["name"], share, mine, current_iter, tb_logger, save_img)

    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore, measure and save every image under its data set's own name, `<video>/<frame>` where it has one."""
        indices = range(len(dataloader))
        self.validate(dataloader.dataset.opt["name"], dataloader, indices, current_iter, tb_logger, save_img)

    def validate(
        self,
        dataset_name: str,
        dataloader: DataLoader,
        indices: range,
        current_iter: int | str,
        tb_logger: Any,
        save_img: bool,
    ) -> None:
        """Validate on this process's share of a data set, `indices`; the results come from all shares."""
        metrics = self.opt["val"].get("metrics") or {}
        measured: dict[int, dict[str, float]] = {}
        progress = tqdm(dataloader, desc=dataset_name, unit="image", disable=not self.opt["val"].get("pbar", False))
        kept = None if self.is_train or not save_img else KeptResults.of(self.opt)
        found = 0
        for index, sample in zip(indices, progress, strict=True):
            name = sample["name"][0] if "name" in sample else Path(sample["lq_path"][0]).stem
            files = [self.result_path(dataset_name, name, current_iter)]
            if self.opt["val"].get("save_float"):
                files.append(files[0].with_suffix(".npy"))
            image = kept.read(files, sample["lq_path"][0]) if kept else None
            if image is None:
                image = self.restored(sample, files if save_img else [])
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
            return

        everywhere = {index: values for share in from_all(measured) for index, values in share.items()}
        # in the order of the images, whoever restored them: the sum is the same bit for bit for any number of processes
        ordered = [everywhere[index] for index in sorted(everywhere)]
        self.metric_results = {m: sum(values[m] for values in ordered) / len(ordered) for m in metrics}
        self._initialize_best_metric_results(dataset_name)
        for metric, value in self.metric_results.items():
            self._update_best_metric_result(dataset_name, metric, value, current_iter)
        self._log_validation_metric_values(current_iter, dataset_name, tb_logger)

    def restored(self, sample: dict[str, Any], files: Sequence[Path]) -> np.ndarray:
        """Restore a sample of one image and write `files`, a PNG and maybe a .npy; return it, [H, W, 3] BGR uint8."""
        self.feed_data(sample)
        self.test()
        image = tensor2img([self.output.detach().cpu()])
        for path in files:
            if path.suffix == ".npy":
                np.save(path, self.output[0].permute(1, 2, 0).float().cpu().numpy())
            else:
                imwrite(image, str(path))
        del self.lq, self.output
        if hasattr(self, "gt"):
            del self.gt
        return image

    @staticmethod
    def measure(images: dict[str, Any], options: dict[str, Any], dataset_name: str) -> float:
        """Compute one metric of BasicSR's registry; a missing ground truth is a clear error."""
        if "img2" not in images and needs_ground_truth(options):
            raise UserError(f"{options['type']} needs a ground truth, but data set '{dataset_name}' has none")
        return calculate_metric(images, options)

    def result_path(self, dataset_name: str, name: str, current_iter: int | str) -> Path:
        """Where a validation image goes; BasicSR's layout with the data set and the video added."""
        folder = Path(self.opt["path"]["visualization"]) / dataset_name
        if self.is_train:
            return folder / name / f"{Path(name).name}_{current_iter}.png"
        suffix = self.opt["val"].get("suffix")
        return folder / (f"{name}_{suffix}.png" if suffix else f"{name}.png")
