"""Checks of many draws against the distribution that a table gives; used with fixed seeds, so they always agree."""

import numpy as np
import scipy.stats

LEAST_P = 1e-4
SIDE = 2**20  # large, so that a factor can be read from the size that it led to


def assert_uniform(values, low, high):
    values = np.asarray(values, float)
    assert len(values) > 200
    assert low <= values.min() < low + 0.05 * (high - low)
    assert high >= values.max() > high - 0.05 * (high - low)
    assert scipy.stats.kstest(values, "uniform", (low, high - low)).pvalue > LEAST_P


def assert_frequencies(values, shares):
    """Every value is a key of `shares`, as often as it says."""
    values = list(values)
    assert set(values) == set(shares)
    if len(shares) == 1:
        return
    counts = [values.count(value) for value in shares]
    expected = len(values) * np.array(list(shares.values()), float) / sum(shares.values())
    assert expected.min() > 5
    assert scipy.stats.chisquare(counts, expected).pvalue > LEAST_P


def assert_equally_likely(values, possible):
    assert_frequencies(values, dict.fromkeys(possible, 1))


def assert_share(hits, probability):
    assert_frequencies([bool(hit) for hit in hits], {True: probability, False: 1 - probability})


def of(steps, op):
    return [step for step in steps if step.op == op]
