"""Data sets; `__init__.pyi` says where each name stands, and it is imported when it is used."""

from vqcnir_arch.lazy_exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
