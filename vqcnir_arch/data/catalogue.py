"""The published data sets as a table: what is in them, and how this library wants them laid out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vqcnir_arch.errors import UserError, nearest

Size = tuple[int, int]


class SetPart(NamedTuple):
    """A split, or the whole set.

    Attributes:
        name: of the part.
        count: images in each of its folders, as published.
        folders: below the data set's folder; the same names are in all of them, the input comes first.
        optional: more such folders, which may be missing.
        videos: folders of frames in each folder, as published.
        sizes: width and height that images may have; any if empty.
        numbers: the numbers that the images' names end in.
        among: what some of the images are, the pattern of their names, and how many they are.
    """

    name: str
    count: int
    folders: tuple[str, ...] = ("",)
    optional: tuple[str, ...] = ()
    videos: int | None = None
    sizes: tuple[Size, ...] = ()
    numbers: range | None = None
    among: tuple[str, str, int] | None = None


class DataSet(NamedTuple):
    """A published data set.

    Attributes:
        place: where the option files expect it.
        parts: of it.
        source: whose page it is on.
    """

    place: str
    parts: tuple[SetPart, ...]
    source: str


def lol_blur(split: str, videos: int) -> SetPart:
    """Return a split of LOL-Blur, which has 60 frames per video in five versions."""
    versions = ("low_blur", "low_sharp", "high_sharp_original")
    return SetPart(
        split,
        60 * videos,
        (f"{split}/low_blur_noise", f"{split}/high_sharp_scaled"),
        tuple(f"{split}/{version}" for version in versions),
        videos,
        ((1120, 640),),
    )


DATA_SETS = {
    "LOL-Blur": DataSet(
        "datasets/LOLBlur",
        (lol_blur("train", 170), lol_blur("test", 30)),
        "LEDNet (ECCV 2022), github.com/sczhou/LEDNet",
    ),
    "Real-LOL-Blur": DataSet(
        "datasets/RealLOLBlur",
        (SetPart("test", 1354, among=("night images of RealBlur-J", r"(^|[/_])blur_\d+$", 482)),),
        "LEDNet (ECCV 2022), github.com/sczhou/LEDNet",
    ),
    "RealBlur": DataSet(
        "datasets/RealBlur",
        (SetPart("train", 3758, ("train/blur", "train/gt")), SetPart("test", 980, ("test/blur", "test/gt"))),
        "RealBlur-J of RealBlur (ECCV 2020), github.com/rimchang/RealBlur",
    ),
    "DIV2K": DataSet(
        "datasets/DIV2K",
        (
            SetPart("train", 800, ("DIV2K_train_HR",), numbers=range(1, 801)),
            SetPart("valid", 100, ("DIV2K_valid_HR",), numbers=range(801, 901)),
        ),
        "NTIRE 2017, data.vision.ee.ethz.ch/cvl/DIV2K",
    ),
    "Flickr2K": DataSet(
        "datasets/Flickr2K",
        (SetPart("train", 2650, ("Flickr2K_HR",), numbers=range(1, 2651)),),
        "EDSR (CVPRW 2017), github.com/limbee/NTIRE2017",
    ),
    "FFHQ": DataSet(
        "datasets/FFHQ/images512",
        (SetPart("train", 70_000, numbers=range(70_000)),),
        "StyleGAN (CVPR 2019), github.com/NVlabs/ffhq-dataset",
    ),
    "CelebA-Test": DataSet(
        "datasets/CelebA-Test",
        (SetPart("test", 3000, sizes=((512, 512),)),),
        "HQ images as GFPGAN (CVPR 2021) and VQFR (ECCV 2022) take them, github.com/TencentARC/VQFR",
    ),
    "CelebChild-Test": DataSet(
        "datasets/CelebChild-Test", (SetPart("test", 180),), "GFPGAN (CVPR 2021), github.com/TencentARC/GFPGAN"
    ),
    "Urban100": DataSet(
        "datasets/Urban100",
        (SetPart("test", 100, numbers=range(1, 101)),),
        "SelfExSR (CVPR 2015), github.com/jbhuang0604/SelfExSR",
    ),
    "BSDS100": DataSet(
        "datasets/BSDS100",
        (SetPart("test", 100, sizes=((481, 321), (321, 481))),),
        "Berkeley segmentation data (ICCV 2001), www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds",
    ),
    "Manga109": DataSet(
        "datasets/Manga109", (SetPart("test", 109),), "one page of each volume, manga109.org"
    ),
}  # fmt: skip


def find_data_set(name: str) -> tuple[str, DataSet]:
    """Return name and entry of a data set; case, hyphens and underscores of `name` don't matter.

    Raises:
        UserError: there is none of that name, with the nearest one.
    """
    for known, entry in DATA_SETS.items():
        if plain(known) == plain(name):
            return known, entry
    raise UserError(f"there is no data set '{name}'{nearest(name, DATA_SETS)}")


def plain(name: str) -> str:
    """Return a name without what people write differently."""
    return "".join(filter(str.isalnum, name)).lower()


def check_layout(name: str, folder: Path) -> None:
    """Raise `UserError`, with the layout and the nearest folder that has it, unless `folder` has a part of a set."""
    wanted = [inner for part in DATA_SETS[name].parts for inner in part.folders]
    if any((folder / inner).is_dir() for inner in wanted):
        return
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    near = [folder.parent, *(folder / inner for inner in found)] if folder.is_dir() else []
    hints = [f" (did you mean '{place}'?)" for place in near if any((place / inner).is_dir() for inner in wanted)]
    if not folder.is_dir():
        beside = [entry.name for entry in folder.parent.iterdir() if entry.is_dir()] if folder.parent.is_dir() else []
        hints = [nearest(folder.name, beside) if beside else ""]
    has = f"has {', '.join(found[:6]) or 'no folders'}" if folder.is_dir() else "does not exist"
    raise UserError(f"'{folder}' {has}; {name} is laid out as {', '.join(wanted)}{next(iter(hints), '')}")
