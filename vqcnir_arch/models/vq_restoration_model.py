"""Stage II: restoration with a frozen prior."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.archs import Codes
from vqcnir_arch.checkpoint import load_prior_network
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.registry import MODEL_REGISTRY, register


@register(MODEL_REGISTRY)
class VQRestorationModel(VQModel):
    """Trains a restoration network against pairs and the codes of their ground truth (VQCNIR eq. 16).

    Loss blocks in `train:`: `pixel_opt`, `alignment_opt`, `perceptual_opt`, `gan_opt`. The prior is named once, as
    `network_g: {prior: ...}`: the network starts from it, and its encoder is the teacher that finds the ground truth's
    codes.
    """

    own_losses = ("alignment_opt",)

    @classmethod
    def contradictions(cls, options: dict[str, Any]) -> list[str]:
        found = super().contradictions(options)
        network = options["network_g"]
        if options["train"].get("alignment_opt") and not network.get("prior"):
            found.append(
                "train: alignment_opt needs the ground truth's codes from a prior's encoder: name network_g: prior, "
                "or remove alignment_opt"
            )
        started = network.get("prior") or (options.get("path") or {}).get("pretrain_network_g")
        if network.get("freeze_prior") and not started:
            found.append("network_g: freeze_prior would freeze random weights: name prior, or path: pretrain_network_g")
        return found

    def init_training_settings(self) -> None:
        super().init_training_settings()
        if "alignment_opt" in self.losses:
            self.teacher = load_prior_network(self.opt["network_g"]["prior"]).to(self.device).requires_grad_(False)

    def generator_forward(self) -> tuple[Tensor, Codes, OrderedDict[str, Tensor]]:
        output, codes = self.net_g(self.lq, return_codes=True)
        losses = OrderedDict()
        if "alignment_opt" in self.losses:
            with torch.no_grad():
                _, target = self.teacher(self.gt, decode=False)  # codes alone: the teacher's decoder G does not run
            losses["l_align"] = self.losses["alignment_opt"](codes.features, target.quantized)
        return output, codes, losses
