"""Named evaluation protocols: measure a folder of results as the papers did, and stand beside their rows."""

from vqcnir_arch.lazy_exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
