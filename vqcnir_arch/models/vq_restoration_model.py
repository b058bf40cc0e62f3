"""Stage II: restoration with a frozen prior."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.archs import Codes, Quantizer
from vqcnir_arch.checkpoint import load_prior_network
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.registry import MODEL_REGISTRY, QUANTIZER_REGISTRY, names, register


@register(MODEL_REGISTRY)
class VQRestorationModel(VQModel):
    """Trains a restoration network against pairs and the frozen prior's view of their ground truth (VQCNIR eq. 16).

    Loss blocks in `train:` beside `pixel_opt`, `perceptual_opt` and `gan_opt`:

    * `alignment_opt` on the quantizer's input, z^l to the ground truth's codes: any quantizer;
    * `matching_opt` on its output, z^t to the prior's feature: SinCA, VectorRegression, CrossAttention, SelfAttention;
    * `token_opt` on its scores, against the ground truth's codes: CodePrediction, which learns from nothing else.

    SinCA eq. 6 is matching_opt and alignment_opt with equal weights. The prior is named once, as `network_g: {prior:
    ...}`: the network starts from it, and its encoder and codebook are the teacher that these losses need.
    """

    own_losses = ("alignment_opt", "matching_opt", "token_opt")

    @classmethod
    def contradictions(cls, options: dict[str, Any]) -> list[str]:
        found = super().contradictions(options)
        network, train = options["network_g"], options["train"]
        for loss in cls.own_losses:
            if train.get(loss) and not network.get("prior"):
                found.append(
                    f"train: {loss} needs the ground truth's codes from a prior's encoder: name network_g: prior, "
                    f"or remove {loss}"
                )
        started = network.get("prior") or (options.get("path") or {}).get("pretrain_network_g")
        if network.get("freeze_prior") and not started:
            found.append("network_g: freeze_prior would freeze random weights: name prior, or path: pretrain_network_g")
        return found + cls.quantizer_contradictions(network.get("quantizer") or {}, train)

    @staticmethod
    def quantizer_contradictions(block: dict[str, Any], train: dict[str, Any]) -> list[str]:
        """Return which losses do not fit the quantizer, with the reason."""
        kind = block.get("type", "NearestCode") if isinstance(block, dict) else None
        if kind not in names(QUANTIZER_REGISTRY):
            return []  # the check of the block itself says so
        gives = QUANTIZER_REGISTRY.get(kind).gives
        found = []
        if train.get("matching_opt") and gives != "features":
            other = "token_opt teaches its choice" if gives == "logits" else "alignment_opt pulls its input to them"
            found.append(f"train: matching_opt does not fit {kind}, whose output is codes as they are: {other}")
        if train.get("token_opt") and gives != "logits":
            found.append(f"train: token_opt does not fit {kind}, which has no classifier: only CodePrediction has one")
        if gives == "logits" and not train.get("token_opt"):
            found.append(f"train: token_opt is missing: {kind} learns from nothing else, as its choice has no gradient")
        return found

    def init_training_settings(self) -> None:
        super().init_training_settings()
        if set(self.own_losses) & set(self.losses):
            self.teacher = load_prior_network(self.opt["network_g"]["prior"]).to(self.device).requires_grad_(False)
        if "matching_opt" in self.losses and self.losses["matching_opt"].target is None:
            quantizer: Quantizer = self.get_bare_model(self.net_g).quantizer
            self.losses["matching_opt"].target = quantizer.matching_target

    def generator_forward(self) -> tuple[Tensor, Codes, OrderedDict[str, Tensor]]:
        output, codes = self.net_g(self.lq, return_codes=True)
        losses = OrderedDict()
        if hasattr(self, "teacher"):
            with torch.no_grad():
                _, target = self.teacher(self.gt, decode=False)  # codes alone: the teacher's decoder G does not run
        if "alignment_opt" in self.losses:
            losses["l_align"] = self.losses["alignment_opt"](codes.features, target.quantized)
        if "matching_opt" in self.losses:
            losses["l_match"] = self.losses["matching_opt"](codes.output, target.features, target.quantized)
        if "token_opt" in self.losses:
            losses["l_token"] = self.losses["token_opt"](codes.logits, target.indices)
        return output, codes, losses
