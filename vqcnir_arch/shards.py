"""Dividing the files of one command over processes and machines."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from vqcnir_arch.errors import PartError, UserError

T = TypeVar("T")
TORCHRUN = ("RANK", "WORLD_SIZE")


class Shard(NamedTuple):
    """The part of the files that a process takes: number 1 to `count`, and the variables that said so."""

    number: int = 1
    count: int = 1
    source: str = ""

    def of(self, items: Sequence[T]) -> list[T]:
        """Return this part of a list that is the same in all processes."""
        return list(items[self.number - 1 :: self.count])

    @property
    def is_first(self) -> bool:
        """Whether it is the part that speaks for what belongs to none."""
        return self.number == 1

    @property
    def label(self) -> str:
        """How a line of output begins that is about this part: empty for the whole."""
        return f"part {self.number} of {self.count}: " if self.count > 1 else ""


WHOLE = Shard()


def shard(text: str) -> Shard:
    """Read `I/N`, part I of N, counted from 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected part/parts, counted from 1, such as 1/4 to 4/4, got '{text}'")
    return Shard(int(match[1]), int(match[2]))


def add_shard(parser: argparse.ArgumentParser) -> None:
    """Add `--shard`."""
    parser.add_argument(
        "--shard", type=shard, metavar="I/N",
        help="do part I of N, counted from 1, and leave the others to other processes (default: as torchrun's or "
        "SLURM's variables say; 1/1: everything)",
    )  # fmt: skip


def chosen_shard(given: Shard | None) -> Shard:
    """Return the part that the user names, or else that of this process's environment, and say which that is.

    Raises:
        PartError: the environment's variables cannot be used.
    """
    if given is not None:
        return given
    part = shard_of_environment(os.environ)
    if part.count > 1:
        print(
            f"vqcnir: note: part {part.number} of {part.count}, since {part.source} are set (--shard 1/1: everything)",
            file=sys.stderr,
        )
    return part


def shard_of_environment(variables: Mapping[str, str]) -> Shard:
    """Return the part that torchrun's or SLURM's variables give to this process; the whole where they divide nothing.

    torchrun's come first: within a step of SLURM they number all processes. An array's tasks are divided once more
    over the processes of each.

    Raises:
        PartError: a variable is no number or out of range, or the numbers of an array have gaps.
    """
    rank, world = _pair(variables, *TORCHRUN)
    if world > 1:
        return Shard(rank + 1, world, " and ".join(TORCHRUN))
    process, processes = _pair(variables, "SLURM_PROCID", "SLURM_NTASKS")
    task, tasks = _array_task(variables)
    names = ["SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT"] * (tasks > 1)
    names += ["SLURM_PROCID and SLURM_NTASKS"] * (processes > 1)
    return Shard(task * processes + process + 1, tasks * processes, " and ".join(names))


def _pair(variables: Mapping[str, str], index: str, count: str) -> tuple[int, int]:
    """Return a process's number from 0 on and how many there are; (0, 1) unless both are set."""
    if index not in variables or count not in variables:
        return 0, 1
    number, many = _number(variables, index), _number(variables, count)
    if number >= many:
        raise PartError(f"{index} is {number} and {count} is {many}: there is no such part (--shard says another)")
    return number, many


def _array_task(variables: Mapping[str, str]) -> tuple[int, int]:
    """Return the same of the task of an array, whose numbers begin anywhere."""
    names = [f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX", "STEP")]
    if any(name not in variables for name in names):
        return 0, 1
    number, many, least, most, step = (_number(variables, name) for name in names)
    if many == 1:
        return 0, 1
    if most != least + step * (many - 1) or number not in range(least, most + 1, step):
        raise PartError(
            f"the {many} numbers of SLURM's array, {least} to {most}, have gaps: give --shard I/N (1/1: everything)"
        )
    return (number - least) // step, many


def _number(variables: Mapping[str, str], name: str) -> int:
    text = variables[name]
    if not (text.isascii() and text.isdecimal()):
        raise PartError(f"variable {name} is '{text}', expected a whole number: unset it, or give --shard I/N")
    return int(text)


@contextmanager
def alone(part: Shard) -> Iterator[None]:
    """Do what belongs to one part: an error in it is that part's own, and the end waits for the others under torchrun.

    torchrun ends all processes as soon as one exits with a status other than 0, which one bad file is enough for.
    """
    try:
        yield
    except UserError as error:
        _wait_for_others(part)
        if part.count == 1:
            raise
        raise PartError(str(error)) from error
    except SystemExit:
        _wait_for_others(part)
        raise
    _wait_for_others(part)


def _wait_for_others(part: Shard) -> None:
    if part.source != " and ".join(TORCHRUN) or "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    import datetime

    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=datetime.timedelta(days=365))
    dist.barrier()
    dist.destroy_process_group()
