"""Models of the training stages."""

from vqcnir_arch.models.vq_association_model import VQAssociationModel
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.models.vq_prior_model import VQPriorModel
from vqcnir_arch.models.vq_restoration_model import VQRestorationModel

__all__ = ["VQAssociationModel", "VQModel", "VQPriorModel", "VQRestorationModel"]
