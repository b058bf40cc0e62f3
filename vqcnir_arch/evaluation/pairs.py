"""Results and ground truths as files: found, paired by name, read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vqcnir_arch.data.files import check_pairs, existing_folder, find_images, read_image, size
from vqcnir_arch.data.headers import read_header
from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.protocols import PIXELS_FLOAT, Protocol
from vqcnir_arch.folders import named_by_ending

COMPARISON = "_compare"
"""What `restore --compare` adds to the name of a result for the picture of input and result side by side."""
CANDIDATES = 50
"""So many names without partner are looked at for a suffix."""


class SizesDifferError(UserError):
    """A result is of another size than its ground truth."""


@dataclass(frozen=True)
class Pair:
    """A result, its ground truth where there is one, and their common name, `<video>/<frame>` in nested folders."""

    name: str
    result: Path
    truth: Path | None = None

    @property
    def video(self) -> str:
        parent = PurePosixPath(self.name).parent.as_posix()
        return "" if parent == "." else parent

    def stamp(self) -> list[int]:
        """Return size and time of the files: other ones are other images."""
        stats = [path.stat() for path in (self.result, self.truth) if path is not None]
        return [number for stat in stats for number in (stat.st_size, stat.st_mtime_ns)]


def find_pairs(
    results: Path, protocol: Protocol, truths: Path | Mapping[str, Path] | None, suffix: str
) -> tuple[list[Pair], dict[str, str]]:
    """Return results with their ground truths, and what to say of them; arguments and errors as of `evaluate`."""
    if protocol.truths == "required" and truths is None:
        raise UserError(f"protocol {protocol.name} compares with ground truths: --gt is missing")
    if protocol.truths == "none" and truths is not None:
        raise UserError(f"protocol {protocol.name} measures without ground truth: leave --gt out")
    if isinstance(truths, Path):
        truths = truths.expanduser()
        if truths.resolve() == results.expanduser().resolve():
            raise UserError(f"results and ground truths are the same folder, '{truths}'")
        where, files = str(truths), find_images(existing_folder(truths, "ground truths"))
    else:
        where, files = "none" if truths is None else f"{len(truths)} files of the data set", truths
    found, comparisons = find_results(results, protocol, suffix)
    pairs = pair_results(found, files, f"results '{results}' and ground truths '{where}'")
    videos = len({pair.video for pair in pairs if pair.video})
    number = f"{len(pairs):,} images" + (f", {videos} videos" if videos else ", no video folders")
    about = {"results": f"{results} ({number})", "ground truth": where}
    if comparisons:
        about["left out"] = f"comparison pictures: {'; '.join(named_by_ending(comparisons))}"
    return pairs, about


def find_results(folder: Path, protocol: Protocol, suffix: str = "") -> tuple[dict[str, Path], list[Path]]:
    """Return the results that a protocol measures, by name without `suffix`, and comparison pictures beside them.

    Raises:
        UserError: the folder is missing or empty, has only 8-bit images where the protocol measures floats, or a name
            does not end in the suffix.
    """
    folder = existing_folder(folder.expanduser(), "results")
    if protocol.pixels == PIXELS_FLOAT:
        try:
            found = find_images(folder, (".npy",))
        except UserError as error:
            raise UserError(
                f"protocol {protocol.name} measures float outputs, not clamped and not quantised, but '{folder}' "
                "has no .npy files: 8-bit images cannot give its numbers. `vqcnir test -opt FILE --protocol "
                f"{protocol.name}` writes them"
            ) from error
    else:
        found = find_images(folder)
    comparisons = [name for name in found if is_comparison(name, found)]
    left = [found.pop(name) for name in comparisons]
    for name, path in found.items():
        if not name.endswith(suffix):
            raise UserError(f"result '{path}': the name does not end in the suffix '{suffix}'")
    return {name.removesuffix(suffix): path for name, path in found.items()}, left


def is_comparison(name: str, results: Mapping[str, Path]) -> bool:
    """Say whether a file is a result's comparison picture: by its name, and twice as wide where both can be read."""
    result = results.get(name.removesuffix(COMPARISON))
    if not name.endswith(COMPARISON) or result is None:
        return False
    try:
        one, both = read_header(result), read_header(results[name])
    except UserError:
        return True
    return (both.width, both.height) == (2 * one.width, one.height)


def pair_results(results: Mapping[str, Path], truths: Mapping[str, Path] | None, what: str) -> list[Pair]:
    """Pair results with ground truths of the same name, or of `<video>/<frame>` where a flat name is `<video>_<frame>`.

    Raises:
        UserError: they do not pair one to one, or flat names could mean several ground truths.
    """
    if truths is None:
        return [Pair(name, path) for name, path in results.items()]
    if results.keys() != truths.keys() and not any("/" in name for name in results):
        flat = _flattened(results, truths, what)
        if flat is not None:
            results = flat
    try:
        check_pairs(results, truths, what, kind="result")
    except UserError as error:
        suffix = likely_suffix(results, truths)
        raise UserError(f"{error}{proposed(suffix)}") from error
    return [Pair(name, results[name], truth) for name, truth in sorted(truths.items())]


def proposed(suffix: str | None) -> str:
    """Return the proposal of a suffix; one that begins like a flag is bound to its own."""
    if not suffix:
        return ""
    return f" (did you mean --suffix{'=' if suffix.startswith('-') else ' '}{suffix}?)"


def likely_suffix(results: Mapping[str, Path], truths: Mapping[str, Path]) -> str | None:
    """Return what most results' names end in beyond those of ground truths, if more of them pair without it.

    What holds a folder, or is of comparison pictures alone, is none.
    """
    known = {*truths, *(name.replace("/", "_") for name in truths)}
    alone = [name for name in results if name not in known]
    ends = Counter(name[len(truth) :] for name in alone[:CANDIDATES] for truth in known if name.startswith(truth))
    if not ends:
        return None
    suffix = ends.most_common(1)[0][0]
    paired = sum(name.endswith(suffix) and name.removesuffix(suffix) in known for name in alone)
    is_one = "/" not in suffix and not suffix.endswith(COMPARISON)
    return suffix if is_one and paired > len(results) - len(alone) else None


def _flattened(results: Mapping[str, Path], truths: Mapping[str, Path], what: str) -> dict[str, Path] | None:
    by_flat: dict[str, list[str]] = {}
    by_frame: dict[str, list[str]] = {}
    for name in truths:
        by_flat.setdefault(name.replace("/", "_"), []).append(name)
        by_frame.setdefault(PurePosixPath(name).name, []).append(name)
    for name in results:
        meanings = by_flat.get(name) or by_frame.get(name) or []
        if len(meanings) > 1:
            raise UserError(
                f"{what}: the flat result '{name}' may be any of {' and '.join(sorted(meanings)[:3])}: "
                "put the results into one folder per video"
            )
    if results.keys() == by_flat.keys():
        return {by_flat[name][0]: path for name, path in results.items()}
    return None


def read_pair(pair: Pair, pixels: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Read result and ground truth as [H, W, 3] BGR: uint8, or float32 in nominal [0, 1] for a float protocol.

    Raises:
        SizesDifferError: the sizes differ.
        UserError: a file cannot be read.
    """
    is_float = pixels == PIXELS_FLOAT
    result = read_float(pair.result) if is_float else read_image(pair.result)
    if pair.truth is None:
        return result, None
    truth = read_image(pair.truth)
    if result.shape != truth.shape:
        raise SizesDifferError(f"sizes differ: '{pair.result}' is {size(result)}, '{pair.truth}' is {size(truth)}")
    return result, truth.astype(np.float32) / 255 if is_float else truth


def read_float(path: Path) -> np.ndarray:
    """Read a `.npy` of [H, W, 3] RGB floats, nominal range [0, 1], as BGR float32.

    Raises:
        UserError: it is no such array, or its values cannot be of that range.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"'{path}' cannot be read: {str(error).splitlines()[0]}") from error
    if array.ndim != 3 or array.shape[2] != 3 or not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"'{path}' is {array.dtype} {list(array.shape)}, expected floats [height, width, 3], RGB")
    if not np.isfinite(array).all():
        raise UserError(f"'{path}' has values that are not finite")
    if array.max(initial=0) > 20:
        raise UserError(f"'{path}' has values up to {array.max():.0f}, expected the nominal range [0, 1]")
    return np.ascontiguousarray(array[..., ::-1], np.float32)
