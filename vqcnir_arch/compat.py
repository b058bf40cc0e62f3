"""What BasicSR 1.4.2 needs to be importable on a current stack; `pipeline_fixes` has what its pipelines need.

It runs on `import vqcnir_arch`, so also in spawned data-loader workers, which import the library to unpickle its
data sets.
"""

from __future__ import annotations

import importlib.util
import sys
import types

import torchvision.transforms.functional as functional

FUNCTIONAL_TENSOR = "torchvision.transforms.functional_tensor"


def make_basicsr_importable() -> None:
    """Give BasicSR the module that torchvision 0.17 removed, and check that `basicsr` is the real one.

    basicsr.data.degradations imports `rgb_to_grayscale` from `torchvision.transforms.functional_tensor`, which exists
    no longer; the public function is the same.

    Raises:
        ImportError: another package shadows BasicSR (several projects carry a fork of that name).
    """
    if FUNCTIONAL_TENSOR not in sys.modules and importlib.util.find_spec(FUNCTIONAL_TENSOR) is None:
        module = types.ModuleType(FUNCTIONAL_TENSOR)
        module.rgb_to_grayscale = functional.rgb_to_grayscale
        sys.modules[FUNCTIONAL_TENSOR] = module
    import basicsr

    if not hasattr(basicsr, "__version__") or importlib.util.find_spec("basicsr.utils.registry") is None:
        raise ImportError(f"vqcnir needs BasicSR 1.4.2, but 'basicsr' is {basicsr.__file__}: a fork shadows it")
