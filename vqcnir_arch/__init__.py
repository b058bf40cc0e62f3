"""vqcnir: image restoration with a vector-quantised prior, as a BasicSR plugin.

Importing this package makes BasicSR 1.4.2 importable on a current torchvision, and its registries know our networks,
losses, models, datasets and metrics. It changes nothing else, and imports torch, BasicSR and its own parts when they
are used: `__init__.pyi` says where each name stands.
"""

from vqcnir_arch.compat import meet_basicsr
from vqcnir_arch.lazy_exports import lazy_exports

meet_basicsr()

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
