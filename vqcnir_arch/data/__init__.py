"""Data sets; `__init__.pyi` says where each name stands, and it is imported when it is used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
