"""What a model of BasicSR needs for a long run, as a mixin over it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import MethodType
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.registry import optimizers
from vqcnir_arch.signals import Stopped
from vqcnir_arch.training.distributed import from_first
from vqcnir_arch.training.random_state import preserved_random_state, set_random_state
from vqcnir_arch.training.run import TrainingRun
from vqcnir_arch.training.safe_saving import SafeSaving
from vqcnir_arch.training.step_guard import MAX_SKIPPED_STEPS, StepGuard


class SafeTraining(SafeSaving):
    """Put before a model class of BasicSR (`class Mine(SafeTraining, SRModel)`), it gives that model

    * checkpoints that are written whole or not at all, hold all that an exact resume needs, and are thinned out by
      `logger: keep_last`; the best one, by `val: key_metric`, is kept as `net_*_best.pth`;
    * steps that are skipped when a loss or gradient is not finite (`train: max_skipped_steps`, `train: grad_clip`),
      where it asks `may_step` before it steps;
    * DistributedDataParallel on GPUs and on the CPU. BatchNorm stays what the network has, per process: none of our
      networks has one, so there is nothing for SyncBN to do;
    * a clean end on SIGTERM and SIGINT, under our launchers, which set `run`.

    Outside our launchers `run` is None and the loop is the host's.
    """

    metric_means: dict[str, float]
    """What the last validation measured."""

    # --- building ----------------------------------------------------------------------------------------------------

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network to the model's device; in training with many processes, wrap it (BasicSR needs a GPU)."""
        if not self.opt["dist"]:
            return super().model_to_device(net)
        net = net.to(self.device)
        if not self.is_train or not any(p.requires_grad for p in net.parameters()):
            return net
        devices = [torch.cuda.current_device()] if self.device.type == "cuda" else None
        unused = self.opt.get("find_unused_parameters", False)
        return DistributedDataParallel(net, device_ids=devices, find_unused_parameters=unused)

    def get_optimizer(self, optim_type: str, params: list[nn.Parameter], lr: float, **kwargs: Any) -> Optimizer:
        """Build any of torch's optimisers (BasicSR 1.4.2 knows Adam alone)."""
        if optim_type not in optimizers():
            raise UserError(f"unknown optimizer type '{optim_type}'{nearest(optim_type, optimizers())}")
        return optimizers()[optim_type](params, lr=lr, **kwargs)

    def setup_schedulers(self) -> None:
        super().setup_schedulers()
        named = {id(value): name for name, value in vars(self).items() if isinstance(value, Optimizer)}
        self.labelled_optimizers = {
            named.get(id(optimizer), f"optimizer_{i}").removeprefix("optimizer_"): optimizer
            for i, optimizer in enumerate(self.optimizers)
        }
        train = self.opt["train"]
        max_skipped = train.get("max_skipped_steps", MAX_SKIPPED_STEPS)
        self.step_guard = StepGuard(self.labelled_optimizers, train.get("grad_clip"), max_skipped)

    def join(self, run: TrainingRun) -> None:
        """Take part in a run of our launchers."""
        self.run = run
        if self.is_train:
            self.step_guard.stop = run.stop

    # --- iterations --------------------------------------------------------------------------------------------------

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """The first thing that BasicSR's loop calls in an iteration: the one before it is complete."""
        if self.run is not None:
            if not self.run.started:
                self._begin()
            self.stop_if_asked()
            self.run.advance(current_iter)
        super().update_learning_rate(current_iter, warmup_iter)

    def _begin(self) -> None:
        """Before the first iteration: catch up on the validation that BasicSR does after it saves; then the RNG."""
        run, val = self.run, self.opt.get("val")
        if val and run.iteration and run.iteration % val["val_freq"] == 0:
            for loader in run.val_loaders:
                self.validation(loader, run.iteration, run.tb_logger, val["save_img"])
        if self.resumed_random_state is not None:
            set_random_state(self.resumed_random_state)
        run.stop.listen()

    def may_step(self, losses: Mapping[str, Tensor], *stepping: Optimizer) -> bool:
        """Ask `step_guard` about the optimisers that have fresh gradients."""
        iteration = self.run.iteration if self.run else 0
        return self.step_guard.allows(losses, *stepping, iteration=iteration, checkpoint=self.last_good())

    def stop_if_asked(self, save: bool = True) -> None:
        """End the run with a checkpoint if a signal asks for it, in all processes at the same iteration."""
        number = self.step_guard.agreed_stop if self.opt["dist"] else self.run.stop.signal
        if number:
            stopped = Stopped(number)
            if save:
                self.save_checkpoint()
                get_root_logger().warning(f"Run {stopped} after iteration {self.run.iteration}; {self.last_good()}")
            raise stopped

    def reduce_loss_dict(self, loss_dict: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        """Keep the losses as they are: averaging them and waiting for them can wait until they are logged."""
        return OrderedDict((name, value.detach()) for name, value in loss_dict.items())

    def get_current_log(self) -> dict[str, float]:
        """Losses (mean over processes), gradient norms, learning rates, speed and GPU memory."""
        log = dict(super().get_current_log())
        losses = {name: value for name, value in log.items() if isinstance(value, Tensor)}
        log.update(super().reduce_loss_dict(losses) if losses else {})
        log.update(self.step_guard.norms)
        log.update({f"lr_{label}": o.param_groups[0]["lr"] for label, o in self.labelled_optimizers.items()})
        if self.step_guard.skipped:
            log["skipped_steps"] = self.step_guard.skipped
        if self.run is not None:
            log["images_per_s"] = self.run.images_per_second()
        if self.device.type == "cuda":
            log["gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return log

    # --- validating --------------------------------------------------------------------------------------------------

    def validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        """Validate without moving the random generators, once per iteration, and keep the best network.

        BasicSR's loop validates again when it ends, under the number of an iteration that never was.
        """
        name = dataloader.dataset.opt["name"]
        self.metric_means = {}
        if self.run is None or not self.is_train:
            with preserved_random_state():
                super().validation(dataloader, current_iter, tb_logger, save_img)
            self._record(kind="test", dataset=name, metrics=self.metric_means)
            return
        iteration = self.run.iteration
        self.validated = getattr(self, "validated", {})
        if self.validated.get(name) == iteration:
            return
        if self.run.started:
            self.stop_if_asked()
        try:
            with self.run.paused(), preserved_random_state():
                super().validation(dataloader, iteration, tb_logger, save_img)
        except Stopped:
            self.save_checkpoint()
            raise
        found = getattr(self, "best_metric_results", {}).get(name, {})
        best = {metric: {"value": found[metric]["val"], "iter": found[metric]["iter"]} for metric in found}
        self._record(kind="validation", iter=iteration, dataset=name, metrics=self.metric_means, best=best)
        self.validated[name] = iteration
        if dataloader is self.run.val_loaders[0]:
            self._save_best(name, iteration)

    def _save_best(self, name: str, iteration: int) -> None:
        metrics = self.opt["val"].get("metrics")
        if not metrics or not hasattr(self, "net_g"):
            return
        key = self.opt["val"].get("key_metric") or next(iter(metrics))
        if self.best_metric_results[name][key]["iter"] == iteration:
            nets, keys = [self.net_g], ["params"]
            if hasattr(self, "net_g_ema"):
                nets, keys = [self.net_g, self.net_g_ema], ["params", "params_ema"]
            self.save_network(nets, "net_g", "best", keys)
            self._raise_if_unsaved("best")

    def _update_best_metric_result(self, dataset_name: str, metric: str, val: float, current_iter: int) -> None:
        # a plain float: the weights-only reader refuses numpy's scalars in a training state
        super()._update_best_metric_result(dataset_name, metric, float(val), current_iter)
        self.metric_means = {**getattr(self, "metric_means", {}), metric: float(val)}

    def _record(self, **line: Any) -> None:
        """Write to the run's `metrics.jsonl` what a validation measured, if it did."""
        if line["metrics"] and self.run is not None and self.run.metrics is not None:
            self.run.metrics.append(line)

    def test(self) -> None:
        """Restore the batch with the bare network: DDP would wait for the other processes to broadcast buffers."""
        if self.run is not None and self.is_train and self.run.started and not self.opt["dist"]:
            self.stop_if_asked(save=False)
        wrapped = getattr(self, "net_g", None)
        if wrapped is not None:
            self.net_g = self.get_bare_model(wrapped)
        try:
            super().test()
        finally:
            if wrapped is not None:
                self.net_g = wrapped


class SafeForeignTraining(SafeTraining):
    """`SafeTraining` for a model that knows nothing of it: it calls `optimizer.step()` and validates by itself."""

    def get_optimizer(self, optim_type: str, params: list[nn.Parameter], lr: float, **kwargs: Any) -> Optimizer:
        optimizer = super().get_optimizer(optim_type, params, lr, **kwargs)

        def guarded_step(optimizer: Optimizer, *arguments: Any, **keywords: Any) -> Any:
            if self.may_step({}, optimizer):
                return type(optimizer).step(optimizer, *arguments, **keywords)
            return None

        optimizer.step = MethodType(guarded_step, optimizer)  # a method: torch's schedulers bind it again
        return optimizer

    def dist_validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """A model that cannot share the work validates in the first process; the others wait for its results."""
        if self.opt["rank"] == 0:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)
        self.best_metric_results = from_first(getattr(self, "best_metric_results", {}))
