"""Restoring photographs with a checkpoint: the `restore` command and its Python side."""

from vqcnir_arch.devices import choose_device
from vqcnir_arch.restoration.inference import restore, restore_tensor

__all__ = ["choose_device", "restore", "restore_tensor"]
