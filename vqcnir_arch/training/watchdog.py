"""Say when a training has looked collapsed for a while, and what to try; the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

FEWEST_CODES = 2.0
"""Perplexity below which a codebook is as good as one code."""
LEAST_GAN_WEIGHT = 1e-3
"""Of VQGAN's adaptive weight: the image's losses pull a thousand times less than the GAN's."""
WON = 0.02
"""Sum of a hinge or vanilla discriminator's two losses below which it is never wrong."""
BLIND = 1e-3
"""Difference of a discriminator's outputs for real and restored images below which it tells nothing apart."""


class Symptom(NamedTuple):
    """What a collapse looks like in a line of the log."""

    shows: Callable[[Mapping[str, float]], bool]
    says: str


def codebook_collapsed(log: Mapping[str, float]) -> bool:
    return any(value < FEWEST_CODES for name, value in log.items() if name.startswith("perplexity"))


def gan_weight_collapsed(log: Mapping[str, float]) -> bool:
    return log.get("gan_weight", 1) < LEAST_GAN_WEIGHT


def discriminator_won(log: Mapping[str, float]) -> bool:
    return "l_d_real" in log and log["l_d_real"] + log["l_d_fake"] < WON


def discriminator_blind(log: Mapping[str, float]) -> bool:
    return "out_d_real" in log and abs(log["out_d_real"] - log["out_d_fake"]) < BLIND


SYMPTOMS = (
    Symptom(
        codebook_collapsed,
        "the codebook has a perplexity below 2: nearly all features get one code. Try restart_unused_codes in stage I, "
        "a smaller rate, or look whether stage II starts from the prior that it names",
    ),
    Symptom(
        gan_weight_collapsed,
        "the adaptive weight of the GAN is below 0.001: its gradient drowns the image's losses. Start the GAN later "
        "(gan_start_iter), or give its loss a smaller weight",
    ),
    Symptom(
        discriminator_won,
        "the discriminator is never wrong: it teaches nothing any more. Start the GAN later (gan_start_iter), or give "
        "the discriminator a smaller rate",
    ),
    Symptom(
        discriminator_blind,
        "the discriminator answers real and restored images alike: it has not learnt, or its rate is too small",
    ),
)


class Watchdog:
    """Warn, once for each symptom, when a number of lines of the log in a row show it.

    Args:
        patience: how many lines.
    """

    def __init__(self, patience: int = 20) -> None:
        self.patience = patience
        self.seen = dict.fromkeys(SYMPTOMS, 0)

    def look(self, log: Mapping[str, float]) -> list[str]:
        """Return the warnings that a line of the log (name to value) completes."""
        found = []
        for symptom in SYMPTOMS:
            self.seen[symptom] = self.seen[symptom] + 1 if symptom.shows(log) else 0
            if self.seen[symptom] == self.patience:
                found.append(f"for {self.patience} lines of this log {symptom.says}")
        return found
