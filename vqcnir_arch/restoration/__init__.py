"""Restoring photographs with a checkpoint: the `restore` command and its Python side (`__init__.pyi` lists it)."""

from vqcnir_arch.lazy_exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
