"""Option files: what may stand in them, and the check of all of it before anything is built."""

from vqcnir_arch.options.check import check_options
from vqcnir_arch.options.preflight import preflight
from vqcnir_arch.options.read import read_options

__all__ = ["check_options", "preflight", "read_options"]
