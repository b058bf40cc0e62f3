"""The name that `archs/loading.py` had, for projects that import it."""

from vqcnir_arch.archs.loading import detect, load_into, load_network, load_prior_network, own_networks

__all__ = ["detect", "load_into", "load_network", "load_prior_network", "own_networks"]
