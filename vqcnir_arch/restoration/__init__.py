"""Restoring photographs with a checkpoint: the `restore` command and its Python side (`__init__.pyi` lists it)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
