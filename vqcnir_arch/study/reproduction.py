"""Every row that the papers print: whether it is ours to run, and the commands that train and test it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vqcnir_arch.demo.stages import option_folder
from vqcnir_arch.evaluation.papers import PaperRow, paper_rows
from vqcnir_arch.options.read import load_file
from vqcnir_arch.study.rows import AT_X4, BASE, HOSTS, option_file, rows_of

NAMES = {"vqcnir": "VQCNIR", "femasr": "FeMaSR", "adacode": "AdaCode", "codeformer": "CodeFormer", "daefr": "DAEFR"}
"""The hosts as papers write them, by the folders of their option files."""
NO_RESULT = "codeformer_stage2"
"""The training that another one goes on from."""
PRIOR = "prior/train_prior.yml"
VQCNIR = "vqcnir/train_vqcnir_lolblur.yml"
RELEASE = "(release)"
PROTOCOLS = {
    "LOL-Blur": "vqcnir-paper",
    "Real-LOL-Blur": "real-lolblur",
    "CelebA-Test": "face",
    "CelebChild-Test": "face",
}
"""How a test set is measured; those of super-resolution by `bsr`."""
TESTS = {
    "LOL-Blur": "lolblur",
    "Real-LOL-Blur": "real_lolblur",
    "CelebA-Test": "celeba",
    "CelebChild-Test": "celebchild",
}
"""The ends of the names of their option files; those of super-resolution end in the scale."""
SOURCES = {"LIEDNet": {"LOL-Blur": "lednet"}}
"""Where another source than VQCNIR or SinCA measured one of our networks in a way of its own."""
REFERENCE = "datasets/FFHQ/images512"
"""The images that FID compares with: SinCA names none (docs/evaluation.md)."""


@dataclass(frozen=True)
class Reproduction:
    """A row of a table that is ours to run, on the test sets that one command tests.

    Attributes:
        label: source, table and method.
        rows: the row's numbers, one for each test set.
        trainings: its own option files, in order; none for a released file.
        test: the option file of its test.
    """

    label: str
    rows: tuple[PaperRow, ...]
    trainings: tuple[str, ...]
    test: str

    @property
    def first(self) -> list[str]:
        """The trainings that its own start from, in order: those of stage I."""
        return [file for file in before(self.trainings) if file not in self.trainings]

    @property
    def protocol(self) -> str:
        row = self.rows[0]
        return SOURCES.get(row.source, PROTOCOLS).get(row.set, PROTOCOLS.get(row.set, "bsr"))

    @property
    def train_commands(self) -> list[list[str]]:
        return [train_command(file) for file in self.trainings]

    @property
    def test_command(self) -> list[str]:
        """The arguments of `vqcnir`; a file whose own network is another one gets the row's by its checkpoint."""
        command = ["test", "-opt", f"options/{self.test}"]
        if self.trainings:
            name = content(self.trainings[-1])["name"]
            checkpoint = f"experiments/{name}/models/net_g_latest.pth"
            if content(self.test)["path"]["pretrain_network_g"] != checkpoint:
                command += ["--force_yml", f"network_g:from={checkpoint}", f"name={Path(self.test).stem}_{name}"]
        command += ["--protocol", self.protocol, "--row", self.label]
        has_fid = any("fid" in row.values for row in self.rows)
        return [*command, "--reference", REFERENCE] if has_fid else command


def train_command(file: str) -> list[str]:
    """Return the arguments of `vqcnir` that train by an option file."""
    return ["train", "-opt", f"options/{file}"]


@cache
def content(file: str) -> dict[str, Any]:
    """Return what an option file below `options/` holds."""
    return load_file(option_folder(str(Path(file).parent)) / Path(file).name)[0]


def reproductions() -> list[Reproduction]:
    """Return what is ours to run, in the papers' order."""
    found: dict[tuple[str, tuple[str, ...], str], list[PaperRow]] = {}
    for row in paper_rows():
        trainings = trainings_of(row)
        if trainings is not None:
            found.setdefault((row.label, trainings, test_of(row)), []).append(row)
    return [Reproduction(label, tuple(rows), trainings, test) for (label, trainings, test), rows in found.items()]


@cache
def claims() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the option files of each printed row's training, by its label and the scale (`x2`, `x4` or nothing)."""
    study = rows_of("study")
    found = {(text, ""): (VQCNIR,) for text in study[BASE].printed}
    found |= {(text, ""): (PRIOR,) for text in study["vqgan"].printed}
    for base in ("vqcnir", *HOSTS, *AT_X4):
        if base == NO_RESULT:
            continue
        folder, _, scale = base.partition("_x")
        host = NAMES[folder.split("_")[0]]
        for name, row in rows_of(base).items():
            files = (option_file(base, name),)
            if folder.endswith("_stage3"):
                files = (option_file(NO_RESULT, name), *files)
            found |= {(text.format(host), scale and f"x{scale}"): files for text in row.printed}
    return found


def trainings_of(row: PaperRow) -> tuple[str, ...] | None:
    """Return the option files that train a row; none for a released file, None for somebody else's row."""
    if row.method.endswith(RELEASE):
        return ()
    return claims().get((row.label, scale_of(row)))


def scale_of(row: PaperRow) -> str:
    """Return `x2` or `x4` for a test set of super-resolution."""
    last = row.set.split()[-1]
    return last if last in ("x2", "x4") else ""


def test_of(row: PaperRow) -> str:
    """Return the option file that tests the networks of a row that is ours to run."""
    if trainings_of(row) == (PRIOR,):
        return "vqcnir/test_vqgan_lolblur.yml"
    host = next((folder for folder, name in NAMES.items() if row.method.startswith(f"{name} ")), "vqcnir")
    return f"{host}/test_{host}_{scale_of(row) or TESTS[row.set]}.yml"


def before(files: tuple[str, ...]) -> list[str]:
    """Return the trainings whose results option files start from, in order, the files among them."""
    by_name = trainings_by_name()
    found: list[str] = []

    def visit(file: str) -> None:
        for name in sources(content(file)):
            visit(by_name[name])
        if file not in found:
            found.append(file)

    for file in files:
        visit(file)
    return found


@cache
def trainings_by_name() -> dict[str, str]:
    """Return the option file of each training of the papers, by the name of its experiment."""
    folders = [option_folder(name) for name in ("prior", *NAMES)]
    files = [path.relative_to(folder.parent).as_posix() for folder in folders for path in sorted(folder.rglob("*.yml"))]
    return {content(file)["name"]: file for file in files if "train" in content(file)}


def sources(options: Any) -> Iterator[str]:
    """Yield the names of the experiments whose checkpoints options name."""
    if isinstance(options, dict | list):
        for value in options.values() if isinstance(options, dict) else options:
            yield from sources(value)
    elif isinstance(options, str) and options.startswith("experiments/") and "/models/" in options:
        yield options.split("/")[1]
