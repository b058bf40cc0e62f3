"""Saving and resuming of a model of BasicSR, as a mixin over it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn
from torch.optim import Optimizer

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.errors import UserError
from vqcnir_arch.file_kinds import is_safetensors
from vqcnir_arch.names import SAFETENSORS
from vqcnir_arch.safetensors_files import network_files, packed
from vqcnir_arch.state_dicts import strip_prefixes
from vqcnir_arch.tensor_files import checkpoint_file, read_state_dict
from vqcnir_arch.training.distributed import from_all, from_first
from vqcnir_arch.training.random_state import random_state
from vqcnir_arch.training.resumed_options import ResumedOptions, made_with, refuse_other_types
from vqcnir_arch.training.run import TrainingRun
from vqcnir_arch.training.saved_runs import remove_old, write_whole
from vqcnir_arch.training.step_guard import StepGuard


class Resumable(Protocol):
    """A part of a model that has a state, of what `torch.load(weights_only=True)` reads."""

    def state(self) -> Any: ...

    def load_state(self, state: Any) -> None: ...


class SafeSaving:
    """The part of `SafeTraining` that writes checkpoints and takes them over."""

    resumable: Mapping[str, Resumable] = MappingProxyType({})
    """Parts that an exact resume needs beside networks and optimisers; each process saves its own."""
    run: TrainingRun | None = None
    step_guard: StepGuard
    labelled_optimizers: dict[str, Optimizer]
    last_checkpoint: Path | None = None
    resumed_random_state: dict[str, Any] | None = None
    _save_error: str | None = None

    def last_good(self) -> str:
        """Name the newest whole checkpoint in words."""
        path = self.last_checkpoint
        return f"the last good checkpoint is '{path}'" if path else "there is no checkpoint yet"

    def save_checkpoint(self) -> None:
        """Save the present iteration, unless that has been done."""
        if self.run.saved_iteration != self.run.iteration:
            self.save(self.run.epoch, self.run.iteration)

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the networks, then the training state. All processes call it; the first one writes.

        Raises:
            UserError: a file could not be written; nothing of this checkpoint is left, the older ones are untouched.
        """
        if self.run is None:
            self._save(epoch, current_iter)
            return
        with self.run.paused():
            if current_iter == -1:  # the end: without a state --auto_resume would not know that the run is finished
                self.save_checkpoint()
            self._save(self.run.epoch, current_iter)
        if current_iter != -1:
            self.run.saved_iteration = current_iter

    def _save(self, epoch: int, current_iter: int) -> None:
        self._postponed_state = None
        super().save(epoch, current_iter)
        states = Path(self.opt["path"]["training_states"])
        if self._postponed_state is not None:
            path = states / f"{current_iter}.state"
            self._write(path, self._postponed_state)
            self._raise_if_unsaved(current_iter)
            self.last_checkpoint = path
            keep = self.opt.get("logger", {}).get("keep_last")
            if keep and self.opt.get("rank", 0) == 0:
                remove_old(states, Path(self.opt["path"]["models"]), keep, current_iter)
        self._raise_if_unsaved(current_iter)

    @master_only
    def save_network(
        self, net: nn.Module | list, net_label: str, current_iter: int | str, param_key: str | list[str] = "params"
    ) -> None:
        """Write `models/<label>_<iteration>.pth`; a failure is raised at the end of `save`, in all processes.

        With `logger: checkpoint_format: safetensors` it is `.safetensors`. A file of the other format, of before a
        resume, goes: two that differ under one name would be no checkpoint.
        """
        nets, keys = (value if isinstance(value, list) else [value] for value in (net, param_key))
        content = {
            key: {strip_prefixes(name): tensor.cpu() for name, tensor in self.get_bare_model(n).state_dict().items()}
            for n, key in zip(nets, keys, strict=True)
        }
        iteration = "latest" if current_iter == -1 else current_iter
        path = Path(self.opt["path"]["models"]) / f"{net_label}_{iteration}"
        if self.opt.get("logger", {}).get("checkpoint_format") == "safetensors":
            bare = self.get_bare_model(nets[0])
            metadata = bare.metadata() if isinstance(bare, VQNetwork) else {"format": "pt"}
            self._write(path.with_name(f"{path.name}{SAFETENSORS}"), content, metadata)
            superseded = path.with_name(f"{path.name}.pth")
        else:
            self._write(path.with_name(f"{path.name}.pth"), content)
            superseded = path.with_name(f"{path.name}{SAFETENSORS}")
        if self._save_error is None:
            superseded.unlink(missing_ok=True)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = "params") -> None:
        """BasicSR's reads files of torch.save alone."""
        if not is_safetensors(checkpoint_file(load_path)):
            super().load_network(net, load_path, strict, param_key)
            return
        get_root_logger().info(f"Loading {type(self.get_bare_model(net)).__name__} from {load_path}")
        self.get_bare_model(net).load_state_dict(read_state_dict(load_path, param_key), strict=strict)

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Collect the state from all processes; `save` writes it, after the last network."""
        if current_iter == -1:
            return
        own = {
            "made_with": made_with(self.labelled_optimizers, self.opt),
            "random": from_all(random_state()),
            "best_metric_results": getattr(self, "best_metric_results", {}),
            "validated": getattr(self, "validated", {}),
            "step_guard": self.step_guard.state(),
            "model": from_all({name: part.state() for name, part in self.resumable.items()}),
        }
        if self.run is not None:
            own.update(position=self.run.position, seed=self.run.sampler.seed)
        self._postponed_state = {
            "epoch": epoch,
            "iter": current_iter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "vqcnir": own,
        }

    @master_only
    def _write(self, path: Path, content: dict[str, Any], metadata: dict[str, str] | None = None) -> None:
        if self._save_error is not None:
            return
        if "vqcnir" in content:
            files = network_files(Path(self.opt["path"]["models"]), content["iter"])
            content["vqcnir"]["networks"] = [path.stem.removesuffix(f"_{content['iter']}") for path in files]
        try:
            if metadata is None:
                write_whole(path, content)
            else:
                write_file(path, packed(content, metadata))
        except UserError as error:
            self._save_error = str(error)

    def _raise_if_unsaved(self, current_iter: int | str) -> None:
        error = from_first(self._save_error)
        if error is None:
            return
        if current_iter not in (-1, "best") and self.opt.get("rank", 0) == 0:
            for path in network_files(Path(self.opt["path"]["models"]), current_iter):
                path.unlink(missing_ok=True)
        raise UserError(f"{error}; {self.last_good()}")

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Take over what a checkpoint holds beside the networks, which are loaded already."""
        self._resume_optimizers(resume_state)
        self.last_checkpoint = Path(self.opt["path"]["resume_state"])
        own = resume_state.get("vqcnir")
        if own is None:
            get_root_logger().warning("The training state is BasicSR's own: it has no position, random state or bests")
            return
        rank = self.opt.get("rank", 0)
        if rank < len(own["random"]):
            self.resumed_random_state = own["random"][rank]
            for name, state in own["model"][rank].items():
                if name in self.resumable:
                    self.resumable[name].load_state(state)
        if own["best_metric_results"]:
            self.best_metric_results = own["best_metric_results"]
        self.validated = own["validated"]
        self.step_guard.load_state(own["step_guard"])

    def _resume_optimizers(self, state: dict[str, Any]) -> None:
        """Load optimisers and schedules; options that differ from the state's hold, and are said."""
        kinds = {label: type(optimizer).__name__ for label, optimizer in self.labelled_optimizers.items()}
        refuse_other_types(state, self.opt["model_type"], kinds)
        warmup = self.opt["train"].get("warmup_iter", -1)
        resumed = ResumedOptions(self.labelled_optimizers, self.schedulers, state, warmup)
        if resumed.schedule_changed:  # the new schedulers stand at their beginning
            state = {**state, "schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}
        super().resume_training(state)
        resumed.apply()
        for change in resumed.changes:
            get_root_logger().warning(f"Resumed with another option: {change}")
        if resumed.schedule_changed:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, that the optimiser has taken no step yet
                for iteration in range(1, state["iter"] + 1):
                    super().update_learning_rate(iteration, warmup)
            rates = ", ".join(f"{rate:.3g}" for rate in self.get_current_learning_rate())
            get_root_logger().warning(
                f"Rates go on as if they had been so from the start: {rates} in iteration {state['iter']}"
            )
