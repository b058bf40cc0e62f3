"""What results are as files, where they are not what the protocols of 8 bit mean: RGB PNG of 8 bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from vqcnir_arch.data.headers import read_header
from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.pairs import Pair

MEASURED_AS = {
    "grey": "grey, repeated to RGB",
    "16 bit": "16 bit, cut to 8",
    "alpha": "alpha, dropped",
    "EXIF-rotated": "turned as its EXIF says",
}
"""What was measured of an oddity of `Header`; others are converted to RGB."""


def unusual_results(pairs: Sequence[Pair]) -> dict[str, str]:
    """Return by image's name what its result is and how it is measured, for those that are not RGB PNG of 8 bit.

    Those that cannot be read are left out: they fail when they are measured.
    """
    found = {}
    for pair in pairs:
        try:
            header = read_header(pair.result)
        except UserError:
            continue
        oddities = filter(None, header.oddity.split(", "))
        text = "; ".join(MEASURED_AS.get(oddity, f"{oddity}, converted to RGB") for oddity in oddities)
        if text or header.format != "PNG":
            found[pair.name] = f"{header.format}{f' ({text})' if text else ''}"
    return found


def counted(unusual: Mapping[str, str], results: int) -> str:
    """Return how many results are not RGB PNG of 8 bit, and what they are."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(unusual.values()).most_common())
    return f"{len(unusual)} of {results} are not RGB PNG of 8 bit: {kinds}"
