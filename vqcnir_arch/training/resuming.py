"""Which checkpoint a run goes on from, and whether it can."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqcnir_arch.atomic_files import make_folder, remove_leftovers
from vqcnir_arch.errors import UserError
from vqcnir_arch.safetensors_files import network_file
from vqcnir_arch.tensor_files import read_training_state
from vqcnir_arch.training.distributed import from_first
from vqcnir_arch.training.resumed_options import refuse_other_types
from vqcnir_arch.training.saved_runs import below, iterations, newest_checkpoint, read_checkpoint


class ResumePoint:
    """The checkpoint that `--auto_resume` finds, or that `path: resume_state` names; nothing is written.

    Args:
        options: the run's, as BasicSR's `parse_options` gives them.

    Attributes:
        path: of the training state, None where there is none to go on from.
        state: its content.
        models: folder of its networks.
        notes: lines for the log.

    Raises:
        UserError: a file of the checkpoint is missing or broken, or the run cannot go on from it.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        paths = options["path"]
        own = Path(paths["training_states"])
        labels = [key.replace("network_", "net_") for key in options if key.startswith("network_") and options[key]]
        self.path: Path | None = None
        self.state: dict[str, Any] | None = None
        self.models = Path(paths["models"])
        self.notes: list[str] = []
        if options["auto_resume"]:
            if options["rank"] == 0:
                self.path, self.state, self.notes = newest_checkpoint(own, self.models, labels)
            self.path = from_first(self.path)
        elif paths.get("resume_state"):
            self.path = below(Path(options["root_path"]), paths["resume_state"])
            self.models = self.path.resolve().parents[1] / "models"
            self.state = read_checkpoint(self.path, self.models, labels)
        if self.path is None:
            return
        if self.state is None:
            self.state = read_training_state(self.path)
        self._check_folder(own)
        self._check_options(options)

    def prepare(self, options: Mapping[str, Any]) -> None:
        """Make the folders that a resumed run needs, as BasicSR does not."""
        remove_leftovers(Path(options["path"]["training_states"]), Path(options["path"]["models"]))
        for name in ("training_states", "models", "visualization"):
            make_folder(Path(options["path"][name]))

    def use_networks(self, options: Mapping[str, Any]) -> None:
        """Let the networks start from the checkpoint's files, as BasicSR's `check_resume` does for `.pth` alone."""
        paths = options["path"]
        for key in [key for key in options if key.startswith("network_")]:
            if key not in (paths.get("ignore_resume_networks") or ()):
                file = network_file(self.models, key.replace("network_", "net_"), self.state["iter"])
                paths[f"pretrain_{key}"] = str(file)
        for key in [key for key in paths if key.startswith("param_key") and paths[key] == "params_ema"]:
            paths[key] = "params"

    def _check_folder(self, own: Path) -> None:
        """Refuse to mix the checkpoints of two runs, and name those that `--auto_resume` would prefer."""
        there = iterations(own)
        if self.path.resolve().parent != own.resolve():
            if there:
                raise UserError(
                    f"path: resume_state: '{self.path}' is of another run, but '{own.parent}' has checkpoints of its "
                    "own: choose another name"
                )
            return
        newer = [iteration for iteration in there if iteration > self.state["iter"]]
        if newer and not self.notes:
            self.notes.append(
                f"'{own}' has newer states ({', '.join(map(str, reversed(newer)))}): --auto_resume would take those"
            )

    def _check_options(self, options: Mapping[str, Any]) -> None:
        train = options["train"]
        blocks = {key.removeprefix("optim_"): block for key, block in train.items() if key.startswith("optim_")}
        kinds = {label: block["type"] for label, block in blocks.items() if isinstance(block, dict)}
        try:
            refuse_other_types(self.state, options["model_type"], kinds)
        except UserError as error:
            raise UserError(f"'{self.path}': {error}") from error
        done, total = self.state["iter"], train["total_iter"]
        if done > total:
            raise UserError(
                f"train: total_iter: {total}, but the training state '{self.path}' is of iteration {done}: raise it, "
                "or name an earlier state as path: resume_state"
            )
        if done == total:
            self.notes.append(f"There is nothing left to train: '{self.path}' is of iteration {done}, as total_iter")
