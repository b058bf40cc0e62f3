"""Stage I: the VQ prior."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor

from vqcnir_arch.archs import Codes
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.registry import MODEL_REGISTRY, register


@register(MODEL_REGISTRY)
class VQPriorModel(VQModel):
    """Trains a `VQGANPrior` to reconstruct clean images (VQCNIR supplement eq. 6).

    Loss blocks in `train:`: `pixel_opt`, `codebook_opt`, `perceptual_opt`, `gan_opt`, `semantic_opt`. The input is the
    data set's `gt` where it has one, so a paired data set serves too.
    """

    own_losses = ("codebook_opt", "semantic_opt")

    @classmethod
    def contradictions(cls, options: dict[str, Any]) -> list[str]:
        found = super().contradictions(options)
        if not options["train"].get("codebook_opt"):
            found.append("train: codebook_opt is missing: without it the codebook does not train")
        if options["train"].get("semantic_opt") and not options["network_g"].get("semantic_dim"):
            found.append("train: semantic_opt needs the semantic head: set network_g: semantic_dim: 512")
        return found

    def feed_data(self, data: dict[str, Tensor]) -> None:
        self.gt = data.get("gt", data["lq"]).to(self.device)
        self.lq = self.gt

    def generator_forward(self) -> tuple[Tensor, Codes, OrderedDict[str, Tensor]]:
        output, codes = self.net_g(self.gt, return_codes=True)
        losses = OrderedDict(l_codebook=self.losses["codebook_opt"](codes.features, codes.quantized))
        if "semantic_opt" in self.losses:
            losses["l_semantic"] = self.losses["semantic_opt"](codes.semantic, self.gt)
        return output, codes, losses
