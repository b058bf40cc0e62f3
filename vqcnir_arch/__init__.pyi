from . import archs, data, losses, metrics, models
from .archs.loading import load_network
from .errors import UserError
from .restoration.inference import restore
from .version import __version__

__all__ = ["UserError", "__version__", "archs", "data", "load_network", "losses", "metrics", "models", "restore"]
