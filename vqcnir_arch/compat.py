"""What BasicSR 1.4.2 needs on a current stack, in one place, each fix with its reason.

`make_basicsr_importable` runs on `import vqcnir_arch`, so also in spawned data-loader workers, which import the
library to unpickle its datasets. Everything else here is applied by the launchers alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torchvision.transforms.functional as functional

FUNCTIONAL_TENSOR = "torchvision.transforms.functional_tensor"


def make_basicsr_importable() -> None:
    """Give BasicSR the module that torchvision 0.17 removed, and check that `basicsr` is the real one.

    basicsr.data.degradations imports `rgb_to_grayscale` from `torchvision.transforms.functional_tensor`, which exists
    no longer; the public function is the same.

    Raises:
        ImportError: another package shadows BasicSR (several projects carry a fork of that name).
    """
    if FUNCTIONAL_TENSOR not in sys.modules and importlib.util.find_spec(FUNCTIONAL_TENSOR) is None:
        module = types.ModuleType(FUNCTIONAL_TENSOR)
        module.rgb_to_grayscale = functional.rgb_to_grayscale
        sys.modules[FUNCTIONAL_TENSOR] = module
    import basicsr

    if not hasattr(basicsr, "__version__") or importlib.util.find_spec("basicsr.utils.registry") is None:
        raise ImportError(f"vqcnir needs BasicSR 1.4.2, but 'basicsr' is {basicsr.__file__}: a fork shadows it")


@contextlib.contextmanager
def command_line(program: str, arguments: Sequence[str]) -> Iterator[None]:
    """Set `sys.argv`, which BasicSR's pipelines parse themselves."""
    with replaced(sys, "argv", [program, *arguments]):
        yield


@contextlib.contextmanager
def launcher_fixes(checked: dict[str, Any]) -> Iterator[None]:
    """Mend BasicSR's pipelines for the duration of a run; the patched names are module globals looked up at call time.

    Args:
        checked: the option file's content after `check_options`.
    """
    import basicsr.test
    import basicsr.train
    from basicsr.data.prefetch_dataloader import PrefetchGenerator
    from basicsr.utils import set_random_seed

    from vqcnir_arch.checkpoint import read_training_state

    original = basicsr.train.parse_options

    def parse_options(root_path: str, is_train: bool = True) -> tuple[dict[str, Any], Any]:
        """Numbers that YAML or --force_yml leave as strings (`1e-4`, `-3`) come as numbers; the seed holds.

        BasicSR seeds before it applies --force_yml, so a forced manual_seed would not change a run.
        """
        options, args = original(root_path, is_train)
        take_over(options, checked)
        set_random_seed(options["manual_seed"] + options["rank"])
        return options, args

    def load_resume_state(options: dict[str, Any]) -> dict[str, Any] | None:
        """As BasicSR's, but it needs no GPU and looks below the root folder instead of the current one."""
        path = options["path"].get("resume_state")
        if options["auto_resume"]:
            states = Path(options["path"]["training_states"]).glob("*.state")
            path = max(states, key=lambda state: int(state.stem), default=None)
            options["path"]["resume_state"] = None if path is None else str(path)
        if path is None:
            return None
        state = read_training_state(path)
        basicsr.train.check_resume(options, state["iter"])
        return state

    def prefetch(thread: PrefetchGenerator) -> None:
        """As BasicSR's, but an error in this thread goes on to the training loop, which would wait for ever."""
        try:
            for item in thread.generator:
                thread.queue.put(item)
            thread.queue.put(None)
        except Exception as error:
            thread.queue.put(error)

    def next_item(thread: PrefetchGenerator) -> Any:
        item = thread.queue.get()
        if item is None:
            raise StopIteration
        if isinstance(item, Exception):
            raise item
        return item

    with (
        replaced(PrefetchGenerator, "run", prefetch),
        replaced(PrefetchGenerator, "__next__", next_item),
        replaced(basicsr.train, "parse_options", parse_options),
        replaced(basicsr.test, "parse_options", parse_options),
        replaced(basicsr.train, "load_resume_state", load_resume_state),
    ):
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def take_over(options: dict[str, Any], checked: dict[str, Any]) -> None:
    """Replace strings in `options` by what `checked` holds at the same place, in every depth."""
    for key, value in checked.items():
        if isinstance(value, dict) and isinstance(options.get(key), dict):
            take_over(options[key], value)
        elif isinstance(options.get(key), str | list) and not isinstance(value, str):
            options[key] = value
