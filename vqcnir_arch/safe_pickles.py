"""What torch.load may find in a file beside tensors: harmless classes by name, none of which is imported or run."""

from __future__ import annotations

import pickle
import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch


class StandIn:
    """Empty class that stands for one that a file names: takes and forgets whatever is done with it."""

    def __new__(cls, *_: Any, **__: Any) -> StandIn:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Forget it."""


class PlainDict:
    """Stands for dictionaries of other classes: what is made of it is a plain one."""

    def __new__(cls, *_: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]  # it makes nothing of its own
        return OrderedDict()


class PlainList:
    """The same for lists of other classes."""

    def __new__(cls, *_: Any) -> list[Any]:  # type: ignore[misc]
        return []


BUILTINS = ["bool", "float", "frozenset", "int", "list", "dict", "object", "range", "slice", "str", "tuple"]
NUMPY = [f"{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")]
NUMPY += ["core.numeric._frombuffer", "_core.numeric._frombuffer", "dtype", "ndarray", "bool_", "str_"]
NUMPY += ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
PATHS = ["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"]
LIGHTNING_CALLBACKS = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
)
"""Classes that Lightning 1.0 writes into a checkpoint as the keys of its callbacks' states (DAEFR's `.ckpt` files)."""
HARMLESS = (
    *(f"builtins.{name}" for name in BUILTINS),
    *(f"numpy.{name}" for name in NUMPY),
    *(f"pathlib.{name}" for name in PATHS),
    *(f"pathlib._local.{name}" for name in PATHS),
    "argparse.Namespace",
    "types.SimpleNamespace",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "copyreg._reconstructor",
    "typing.Any",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    *LIGHTNING_CALLBACKS,
)
"""Classes of what trainings keep beside tensors: scores, options, paths."""
DICTIONARIES = (
    "addict.addict.Dict",
    "collections.defaultdict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "mmengine.config.config.ConfigDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
)


LISTS = ("collections.deque",)
STAND_INS = {StandIn: HARMLESS, PlainDict: DICTIONARIES, PlainList: LISTS}


class NotTensors(Exception):
    """A file holds something else beside tensors; `name` is the first of it, where that is known."""

    def __init__(self, name: str | None) -> None:
        super().__init__(name)
        self.name = name


def load_pickle(path: Path) -> Any:
    """Read a file of torch.save on the CPU; nothing in it is run (`weights_only`).

    Raises:
        NotTensors: it names a class that is not known to be harmless.
    """
    known = [(stand_in, name) for stand_in, names in STAND_INS.items() for name in names]
    try:
        # opened here: torch would choose its reader by the ending
        with path.open("rb") as file, warnings.catch_warnings(), torch.serialization.safe_globals(known):
            warnings.simplefilter("ignore")  # of what odd files hold; they are refused, or as good as others
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its message tells how to run the code in the file
        found = re.search(r"GLOBAL ([\w.]*\w)", str(error))
        raise NotTensors(found[1] if found else None) from error
