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


BUILTINS = ["bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range"]
BUILTINS += ["set", "slice", "str", "tuple"]
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
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    "decimal.Decimal",
    "fractions.Fraction",
    "torch.torch_version.TorchVersion",
    "uuid.SafeUUID",
    "uuid.UUID",
    "copyreg._reconstructor",
    "typing.Any",
    "ml_collections.config_dict.config_dict.ConfigDict",
    "mmcv.utils.config.Config",
    "mmengine.config.config.Config",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "Boolean", "Bytes", "Enum", "Float", "Integer", "Path", "String")
    ),
    *LIGHTNING_CALLBACKS,
)
"""Classes of what trainings keep beside tensors: scores, options, paths."""
DICTIONARIES = (
    "addict.addict.Dict",
    "attrdict.dictionary.AttrDict",
    "box.box.Box",
    "collections.defaultdict",
    "easydict.EasyDict",
    "fvcore.common.config.CfgNode",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "munch.Munch",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
)


LISTS = ("collections.deque",)
STAND_INS = {StandIn: HARMLESS, PlainDict: DICTIONARIES, PlainList: LISTS}


NEWER_PROTOCOL = "is pickled by a protocol that torch.save does not use of itself: save it without pickle_protocol"


class NotTensors(Exception):
    """A file holds something else beside tensors; the text says what it is."""


def load_pickle(path: Path) -> Any:
    """Read a file of torch.save on the CPU; nothing in it is run (`weights_only`).

    Raises:
        NotTensors: it names a class that is not known to be harmless, or has instructions that torch does not read.
    """
    known = [(stand_in, name) for stand_in, names in STAND_INS.items() for name in names]
    try:
        # opened here: torch would choose its reader by the ending
        with path.open("rb") as file, warnings.catch_warnings(), torch.serialization.safe_globals(known):
            warnings.simplefilter("ignore")  # of what odd files hold; they are refused, or as good as others
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its message tells how to run the code in the file
        if "Unsupported operand" in str(error):
            raise NotTensors(NEWER_PROTOCOL) from error
        found = re.search(r"GLOBAL ([\w.]*\w)", str(error))
        asked = f": it asks for '{found[1]}'" if found else ""
        raise NotTensors(
            f"is not a file of tensors alone{asked}, and anything else in it could run code; have the tensors saved "
            "alone: torch.save(net.state_dict(), ...)"
        ) from error
