"""What BasicSR 1.4.2's pipelines get wrong, each fix with its reason; only our launchers apply it.

The pipelines are called as they are: for the time of a run, names are replaced that they look up in their modules.

`train_pipeline` does the following in this order, and the fixes rely on it:

1. `parse_options`: calls `ordered_yaml`, then `init_dist`. All later steps know rank, folders and seed from it. The
   run's folder is locked here.
2. `load_resume_state`: before `make_exp_dirs`, which is then left out; so this one makes the folders that a resume
   needs, and leaves its notes for step 5, as there is no log yet.
3. `make_exp_dirs`: moves the folder of an earlier run away, and `mkdir_and_rename` that of its TensorBoard files: all
   that can be wrong is found before. `copy_opt_file` writes the option file and `sys.argv` into the new one.
4. The log file is opened by the first `get_root_logger`; whoever calls that earlier gets a log without a file.
   `init_tb_loggers` comes next.
5. `create_train_val_dataloader`: before `build_model`; here the run gets its data, and its place in them from step 2.
6. `build_model`, then the model's `resume_training`: the model joins a run that stands where it is to go on.
7. `MessageLogger` is made: what was measured after the checkpoint goes only now, as the model has taken it over. Each
   iteration: `update_learning_rate`, `feed_data`, `optimize_parameters`, and every so many the message logger, `save`,
   `validation`: the checkpoint of an iteration is written after its line in the log and before its validation.
8. At the end `save` as the latest, then `validation` once more.

`test_pipeline` has the steps 1, 3, 4, then the data, `build_model` and one `validation` for each data set.
"""

from __future__ import annotations

import contextlib
import copy
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import basicsr.test
import basicsr.train
import torch
import torch.distributed as dist
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger, misc, set_random_seed
from basicsr.utils import options as basicsr_options

from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.errors import UserError
from vqcnir_arch.models import VQModel, kept_results
from vqcnir_arch.options.kept_copy import as_run
from vqcnir_arch.registry import MODEL_REGISTRY, lookup
from vqcnir_arch.training.basicsr_parts import CheckedOptions, LazyPrefetcher, replaced, versions
from vqcnir_arch.training.distributed import from_first, in_first, init_processes
from vqcnir_arch.training.metrics_log import MetricsLog, RecordingLogger
from vqcnir_arch.training.resuming import ResumePoint
from vqcnir_arch.training.run import TrainingRun
from vqcnir_arch.training.run_folder import make_anew, refuse_foreign, refuse_inner, refuse_own_files
from vqcnir_arch.training.run_lock import RunLock
from vqcnir_arch.training.safe_model import SafeForeignTraining, SafeTraining
from vqcnir_arch.training.sampling import ResumableSampler, SeededSamples, keep_worker_alive


@contextlib.contextmanager
def launcher_fixes(checked: dict[str, Any], flags: Sequence[str], notes: Sequence[str] = ()) -> Iterator[TrainingRun]:
    """Fix BasicSR's pipelines for the duration of a run.

    Args:
        checked: the run's options, after `--force_yml` and `check_options`.
        flags: BasicSR's command line: `-opt FILE`, `--launcher`, `--auto_resume`, `--debug`.
        notes: lines for the log on how the options came about.
    """
    fixes = PipelineFixes(checked, flags)
    fixes.run.notes += notes
    with contextlib.ExitStack() as stack:
        for module in (basicsr.train, basicsr.test):
            for name in ("parse_options", "make_exp_dirs", "get_root_logger", "build_model"):
                stack.enter_context(replaced(module, name, getattr(fixes, name)))
        training = "load_resume_state copy_opt_file init_tb_loggers create_train_val_dataloader MessageLogger"
        for name in training.split():
            stack.enter_context(replaced(basicsr.train, name, getattr(fixes, name)))
        stack.enter_context(replaced(basicsr.train, "CPUPrefetcher", LazyPrefetcher))
        for module in (basicsr.train, misc):
            stack.enter_context(replaced(module, "mkdir_and_rename", make_anew))
        for name in ("init_dist", "ordered_yaml"):
            stack.enter_context(replaced(basicsr_options, name, getattr(fixes, name)))
        stack.callback(fixes.run.stop.restore)
        stack.callback(fixes.release)
        yield fixes.run


class PipelineFixes:
    """The replacements; each calls the original where that does part of the work."""

    def __init__(self, checked: dict[str, Any], flags: Sequence[str]) -> None:
        self.checked = checked
        self.flags = flags
        self.option_file = Path(flags[flags.index("-opt") + 1])
        self.option_text = self.option_file.read_text(encoding="utf-8-sig")  # it may lie in a folder that is moved away
        self.lock: RunLock | None = None
        self.run = TrainingRun()
        self.resumed: dict[str, Any] | None = None
        self.original = {
            name: getattr(basicsr.train, name)
            for name in ("parse_options", "make_exp_dirs", "init_tb_loggers", "create_train_val_dataloader")
        }

    def init_dist(self, launcher: str, **options: Any) -> None:
        """BasicSR's divides by the number of GPUs, and takes the GPU by global rank instead of LOCAL_RANK."""
        use_gpu = torch.cuda.is_available() and self.checked["num_gpu"] != 0
        init_processes(launcher, use_gpu, options.get("port"), options.get("backend"))

    def ordered_yaml(self) -> tuple[Callable[[Any], CheckedOptions], None]:
        """BasicSR asks here for the YAML loader that it reads the option file with."""
        return lambda file: CheckedOptions(self.checked), None

    def parse_options(self, root_path: str, is_train: bool = True) -> tuple[dict[str, Any], Any]:
        """BasicSR gets the checked options, in which --force_yml has been applied, and one seed for all processes.

        It would read numbers such as `1e-4` as strings, seed before it applies --force_yml, and without a manual_seed
        draw another seed in each process, so that they would not agree on the order of the data.
        """
        with replaced(sys, "argv", ["vqcnir", *self.flags]):
            options, args = self.original["parse_options"](root_path, is_train)
        options["manual_seed"] = from_first(options["manual_seed"])
        set_random_seed(options["manual_seed"] + options["rank"])
        train = options["datasets"].get("train", {})
        if train.get("prefetch_mode") == "cpu":
            # a thread that draws beside the training, swallows the loader's errors and then waits for ever
            self.run.notes.append("prefetch_mode: cpu is left out: loader workers (num_worker_per_gpu) load ahead")
            train["prefetch_mode"] = None
        self.folder = Path(options["path"]["experiments_root" if is_train else "results_root"])
        in_first(partial(self.claim, options["name"]))
        return options, args

    def claim(self, name: str) -> None:
        """Take the run's folder for this run alone."""
        refuse_inner(self.folder, name)
        lock = RunLock(self.folder)
        lock.acquire()
        self.lock = lock

    def release(self) -> None:
        if self.lock is not None:
            self.lock.release()

    def load_resume_state(self, options: dict[str, Any]) -> dict[str, Any] | None:
        """BasicSR's needs a GPU, looks for --auto_resume below the current folder, and takes broken files."""
        point, path = ResumePoint(options), options["path"]
        self.run.notes += point.notes
        self.resumed = point.state
        path["resume_state"] = None if point.path is None else str(point.path)
        if self.resumed is None:
            return None
        seed, kept = self.checked.get("manual_seed"), self.resumed.get("vqcnir", {}).get("seed")
        if None not in (seed, kept) and seed != kept:
            self.run.notes.append(f"manual_seed: {seed} is not used: the run goes on with that of its state, {kept}")
        in_first(partial(point.prepare, options))
        point.use_networks(options)
        return self.resumed

    def make_exp_dirs(self, options: dict[str, Any]) -> None:
        """A test that was stopped keeps its images; else the old folder is put aside, while the others wait."""
        in_first(partial(self.make_folders, options))
        if dist.is_initialized():
            dist.barrier()

    def make_folders(self, options: dict[str, Any]) -> None:
        make, is_train = self.original["make_exp_dirs"], options["is_train"]
        has_events = is_train and options["logger"].get("use_tb_logger") and "debug" not in options["name"]
        events = Path(options["root_path"], "tb_logger", options["name"]) if has_events else None
        refuse_own_files(self.checked, self.folder)
        refuse_foreign(self.folder, events)
        if not is_train and self.keeps_results(options):
            self.run.notes += kept_results.begin(options, make)
        else:
            make(options)

    def copy_opt_file(self, option_file: str, folder: str) -> None:
        """BasicSR's copies the file, which may lie in the folder that was moved away, and reads it by the locale.

        What `--force_yml` and `from` made of the file stands below it.
        """
        head = f"# GENERATE TIME: {time.asctime()}\n# CMD:\n# {' '.join(sys.argv)}\n\n"
        text = self.option_text + as_run(self.option_text, self.checked)
        target = Path(folder, self.option_file.name)
        in_first(lambda: write_file(target, (head + text).encode("utf-8", "backslashreplace")))

    def get_root_logger(self, logger_name: str, log_level: int, log_file: str) -> Any:
        """The log of `night/first run` is `train_first run_TIME.log` in its folder: BasicSR repeats `night/`."""
        first, *more = Path(log_file).relative_to(self.folder).parts
        name = f"{first.partition('_')[0]}_{more[-1]}" if more else first
        return get_root_logger(logger_name, log_level, str(self.folder / name))

    @staticmethod
    def keeps_results(options: dict[str, Any]) -> bool:
        """Say whether a test writes images, by a model that looks for those that are there already."""
        return options["val"]["save_img"] and issubclass(lookup(MODEL_REGISTRY, options["model_type"]), VQModel)

    def init_tb_loggers(self, options: dict[str, Any]) -> Any:
        """A validation that is caught up on after a resume needs the logger, too."""
        self.run.tb_logger = self.original["init_tb_loggers"](options)
        return self.run.tb_logger

    def create_train_val_dataloader(self, options: dict[str, Any], logger: Any) -> tuple[Any, ...]:
        """Put order and draws of the samples under (seed, epoch, position), and count the epochs right.

        BasicSR's order depends on the epoch alone, its workers replay the same draws in every epoch, and its count of
        epochs forgets that incomplete batches are dropped: a run ends too early, or at once if a batch is too large.
        """
        for note in self.run.notes:
            logger.warning(note)
        seed, build = options["manual_seed"], basicsr.train.build_dataset
        with (
            replaced(basicsr.train, "EnlargedSampler", partial(ResumableSampler, seed=seed)),
            replaced(basicsr.train, "build_dataset", lambda block: SeededSamples(build(block))),
        ):
            result = self.original["create_train_val_dataloader"](options, logger)
        loader, sampler, val_loaders, _, total_iters = result
        if len(loader) == 0:
            raise UserError(
                f"datasets: train: {options['world_size']} batches of {loader.batch_size} are larger than the data set "
                f"({sampler.samples} samples): no iteration would run"
            )
        for each in (loader, *val_loaders):
            each.generator = torch.Generator().manual_seed(seed)  # by default it takes a seed from the global one
        if loader.num_workers:
            loader.worker_init_fn = keep_worker_alive
        self.run.use_data(loader, sampler, val_loaders)
        if self.resumed is not None:
            self.run.resume(self.resumed, seed)
        remaining = max(total_iters - self.run.iteration, 0)
        return loader, sampler, val_loaders, self.run.epoch + math.ceil(remaining / len(loader)), total_iters

    def build_model(self, options: dict[str, Any]) -> Any:
        """Any model of BasicSR is made safe, also one that knows nothing of it; the run's folder is there by now."""
        get_root_logger().info(f"Versions: {versions()}")
        for note in () if options["is_train"] else self.run.notes:
            get_root_logger().warning(note)
        if options["rank"] == 0:
            self.run.metrics = MetricsLog(Path(options["path"]["log"]))
        cls = lookup(MODEL_REGISTRY, options["model_type"])
        if issubclass(cls, BaseModel) and not issubclass(cls, SafeTraining):
            cls = type(cls.__name__, (SafeForeignTraining, cls), {})
        model = cls(copy.deepcopy(options))
        if isinstance(model, SafeTraining):
            model.join(self.run)
        get_root_logger().info(f"Model [{cls.__name__}] is created.")
        return model

    def MessageLogger(self, *arguments: Any) -> RecordingLogger:
        """What is logged is also written where it can be read."""
        if self.run.metrics is not None and self.resumed is not None:
            self.run.metrics.go_back(self.resumed)
        return RecordingLogger(self.run.metrics, *arguments)
