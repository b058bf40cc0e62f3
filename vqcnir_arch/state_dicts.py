"""Where the tensors of a network are in what a file holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from torch import Tensor

from vqcnir_arch.errors import UserError, nearest

WRAPPERS = ("params_ema", "params", "state_dict")
GENERATORS = ("netG.", "net_g.")
"""What stands before the names of the network that restores, where others are in the same dictionary."""
PREFIXES = ("module.", "_orig_mod.", *GENERATORS)
DEEPEST, MOST = 32, 1000
"""So deep, and in so many dictionaries, tensors are looked for: a file may refer to the same ones again and again."""
LEAST_SHARE = 0.1
"""With less than this part of the tensors of the largest dictionary, one is no network but something beside it."""
OTHERS = re.compile(r"optim|sched|scaler|disc|critic|(^|[._])(net_?)?d($|[._])|loss|callback|rng|metric", re.IGNORECASE)
"""Names of what is saved beside the network that restores."""
EMA = re.compile(r"(?<![a-z])ema(?![a-z])", re.IGNORECASE)


def dictionaries(content: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each dictionary with tensors, by its keys from the root, joined by points; the root's is empty."""
    return islice(_dictionaries(content, "", 0, set()), MOST)


def _dictionaries(content: Any, path: str, depth: int, seen: set[int]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The same; `seen` are those without tensors, and those that `content` is in."""
    if not isinstance(content, Mapping | list | tuple) or depth > DEEPEST or id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, Mapping):
        named = {key: value for key, value in content.items() if isinstance(key, str)}
        tensors = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    else:
        named, tensors = {str(i): each for i, each in enumerate(content)}, {}
    if tensors:
        yield path, tensors
    has_some = bool(tensors)
    for key, value in named.items():
        for found in _dictionaries(value, f"{path}.{key}" if path else key, depth + 1, seen):
            has_some = True
            yield found
    if has_some:
        seen.discard(id(content))


def unwrapped(
    content: Any, path: object, param_key: str | None = None, key: str | None = None
) -> tuple[dict[str, Tensor], str]:
    """Return the tensors in a file's content, and the keys of the dictionary that they were in, '' for the root.

    Args:
        content: what was read.
        path: the file's name, for errors.
        param_key: the dictionary to take where there is one of that name.
        key: the dictionary to take, or what stands before the tensors' names, and nothing else; points lead deeper.
            What comes before it may be left out where one place alone ends so.

    Raises:
        UserError: there are none, none of that key, or several and none is asked for.
    """
    found = dict(dictionaries(content))
    if key is None:
        chosen = chosen_wrapper(found, content, path, param_key)
        tensors = found[chosen]
    else:
        chosen = key
        full = {f"{at}.{name}" if at else name: each for at, group in found.items() for name, each in group.items()}
        places = {f".{name}".partition(f".{key}.")[0] for name in full if f".{key}." in f".{name}"} if key else set()
        if "" in places or len(places) == 1:
            before = f"{'' if '' in places else min(places)[1:] + '.'}{key}."
            tensors = {name.removeprefix(before): each for name, each in full.items() if name.startswith(before)}
        else:
            known = {f"{at}.{key}"[1:] for at in places}
            known |= {at for at in found if at} | {name.partition(".")[0] for name in found.get("", ()) if "." in name}
            raise UserError(f"checkpoint '{path}' has no tensors at the key '{key}'{nearest(key, known)}")
    of_generator = [name for name in tensors if any(f".{prefix}" in f".{name}" for prefix in GENERATORS)]
    is_wrapped = any(name.startswith(PREFIXES) for name in tensors)
    return {
        strip_prefixes(name): tensors[name]
        for name in of_generator or tensors
        if not (is_wrapped and "." not in name and tensors[name].dim() == 0)  # AveragedModel's `n_averaged`
    }, chosen


def chosen_wrapper(found: Mapping[str, Mapping[str, Tensor]], content: Any, path: object, param_key: str | None) -> str:
    """Return the keys of the dictionary that holds the network; arguments and errors as of `unwrapped`."""
    if param_key in found:
        return str(param_key)
    most = max((len(group) for at, group in found.items() if not OTHERS.search(at)), default=0)
    networks = [at for at, group in found.items() if not OTHERS.search(at) and len(group) >= LEAST_SHARE * most]
    averaged = [at for at in networks if EMA.search(at)]
    for choice in (["params_ema"], averaged, *([each] for each in WRAPPERS), networks):
        if len(choice) == 1 and choice[0] in networks:
            return choice[0]
    if networks:
        known = ", ".join(at or "the root" for at in networks)
        raise UserError(
            f"checkpoint '{path}' holds several networks ({known}): say which by its key, --key NAME (in an option "
            "file path: param_key_g)"
        )
    if found:
        raise UserError(f"checkpoint '{path}' holds tensors at {', '.join(found)} alone: is one meant, say --key NAME")
    if not isinstance(content, Mapping):
        raise UserError(f"checkpoint '{path}' holds a {type(content).__name__}, expected a dictionary of tensors")
    if any(isinstance(each, Mapping) and "param_groups" in each for each in (content, *content.values())):
        raise UserError(f"checkpoint '{path}' holds an optimiser's state alone: name the network's file beside it")
    raise UserError(f"checkpoint '{path}' holds no tensors (its keys: {', '.join(map(str, list(content)[:5]))})")


def strip_prefixes(name: str) -> str:
    """Remove what DDP and torch.compile put before a tensor's name."""
    while True:
        prefix = next((p for p in PREFIXES if name.startswith(p)), None)
        if prefix is None:
            return name
        name = name[len(prefix) :]


def one_of_prefixes(prefixes: list[str], name: str) -> str:
    """Return the prefix of the network that is meant: the only one, or the averaged weights'.

    Raises:
        UserError: there are several.
    """
    averaged = [prefix for prefix in prefixes if EMA.search(prefix)]
    if len(prefixes) > 1 and len(averaged) != 1:
        known = ", ".join(prefix.rstrip(".") for prefix in prefixes)
        raise UserError(f"{name} holds several networks ({known}): say which by its key, --key NAME")
    return (averaged if len(prefixes) > 1 else prefixes)[0]
