"""Models of the training stages; importing this package registers them."""

from vqcnir_arch.models.vq_association_model import VQAssociationModel
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.models.vq_prior_model import VQPriorModel
from vqcnir_arch.models.vq_restoration_model import VQRestorationModel
from vqcnir_arch.registry import import_modules

__all__ = ["VQAssociationModel", "VQModel", "VQPriorModel", "VQRestorationModel"]

import_modules(__name__, __path__, "_model")
