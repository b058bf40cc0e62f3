"""Metrics that BasicSR lacks; importing this package registers them."""

from vqcnir_arch.metrics.pyiqa_metric import calculate_pyiqa

__all__ = ["calculate_pyiqa"]
