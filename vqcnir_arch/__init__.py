"""vqcnir: image restoration with a vector-quantised prior, as a BasicSR plugin.

Importing this package makes BasicSR 1.4.2 importable on a current torchvision and registers the networks, losses,
models, datasets and metrics in BasicSR's registries. It changes nothing else.
"""

from vqcnir_arch.compat import make_basicsr_importable

make_basicsr_importable()

from vqcnir_arch import archs, data, losses, metrics, models  # noqa: E402
from vqcnir_arch.archs.loading import load_network  # noqa: E402
from vqcnir_arch.errors import UserError  # noqa: E402
from vqcnir_arch.restoration import restore  # noqa: E402
from vqcnir_arch.version import __version__  # noqa: E402

__all__ = ["UserError", "__version__", "archs", "data", "load_network", "losses", "metrics", "models", "restore"]
