"""Stage II: restoration with a frozen prior."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.archs import Codes, MergedCodes, find_quantizers
from vqcnir_arch.archs.loading import load_prior_network
from vqcnir_arch.errors import UserError
from vqcnir_arch.models.fidelity_schedule import phase_at, read_schedule
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.registry import ARCH_REGISTRY, MODEL_REGISTRY, QUANTIZER_REGISTRY, lookup, names, register


@register(MODEL_REGISTRY)
class VQRestorationModel(VQModel):
    """Trains a restoration network against pairs and the frozen prior's view of their ground truth (VQCNIR eq. 16).

    Loss blocks in `train:` beside `pixel_opt`, `perceptual_opt` and `gan_opt`:

    * `alignment_opt` on the quantizer's input, z^l to the ground truth's codes: any quantizer;
    * `matching_opt` on its output, z^t to the prior's feature: SinCA, VectorRegression, CrossAttention, SelfAttention;
    * `token_opt` on its scores, against the ground truth's codes: CodePrediction, which learns from nothing else.

    With several codebooks (AdaCode) these are summed over them, and there are

    * `merged_opt` on the sum of what they give, which the decoder takes, to the prior's;
    * `contrast_opt` between the encoder's features of the batch and the prior's of its ground truths.

    SinCA eq. 6 is matching_opt and alignment_opt with equal weights. The prior is named once, as `network_g: {prior:
    ...}`: the network starts from it, and its encoder and codebook are the teacher that these losses need.

    Without a loss on the image the face networks' generator does not run. With `train: fidelity_schedule` (CodeFormer's
    stage III) some iterations restore images at a fidelity weight w, the others train the codes alone, on `lq_large`.
    """

    several_codebooks_losses = ("merged_opt", "contrast_opt")
    own_losses = ("alignment_opt", "matching_opt", "token_opt", *several_codebooks_losses)

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
        kind = network.get("type")
        if kind in names(ARCH_REGISTRY) and "quantizer" not in getattr(lookup(ARCH_REGISTRY, kind), "listed_parts", ()):
            found += [f"train: {loss} needs several codebooks, {kind} has one"
                      for loss in cls.several_codebooks_losses if train.get(loss)]  # fmt: skip
        started = network.get("prior") or (options.get("path") or {}).get("pretrain_network_g")
        if network.get("freeze_prior") and not started:
            found.append("network_g: freeze_prior would freeze random weights: name prior, or path: pretrain_network_g")
        if train.get("fidelity_schedule"):
            found += read_schedule(train["fidelity_schedule"])[1]
            found += [] if kind == "CodeFormer" else [f"train: fidelity_schedule: {kind} has no fidelity weight"]
        target = (train.get("matching_opt") or {}).get("target")
        if target == "hq_feature" and ((options.get("datasets") or {}).get("train") or {}).get("codes"):
            found.append("train: matching_opt: hq_feature needs the prior's features, datasets: train: codes has codes")
        quantizer = network.get("quantizer") or {}
        if isinstance(quantizer, dict) and kind in names(ARCH_REGISTRY):
            default = getattr(lookup(ARCH_REGISTRY, kind), "default_quantizer", "NearestCode")
            quantizer = {"type": default, **quantizer}
        return found + cls.quantizer_contradictions(quantizer, train)

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
        self.phases, _ = read_schedule(self.opt["train"].get("fidelity_schedule"))
        self.fidelity: dict[str, float] = {}
        net = self.get_bare_model(self.net_g)
        if set(self.own_losses) & set(self.losses) and not hasattr(net, "target_codes"):
            prior, kind = self.opt["network_g"]["prior"], self.get_bare_model(self.net_g).prior_type
            self.teacher = load_prior_network(prior, kind).to(self.device).requires_grad_(False)
        if "matching_opt" in self.losses and self.losses["matching_opt"].target is None:
            quantizers = find_quantizers(self.get_bare_model(self.net_g))
            self.losses["matching_opt"].target = next(iter(quantizers.values())).matching_target

    def feed_data(self, data: dict[str, Tensor]) -> None:
        """Take a batch; `lq_large`, `lq_small` and `gt_codes` are there where the data set gives them."""
        super().feed_data(data)
        self.lq_large = data["lq_large"].to(self.device) if "lq_large" in data else None
        if self.is_train and "lq_small" in data:
            self.lq_small = data["lq_small"].to(self.device)
            self.batch_names = ("lq", "gt", "lq_small")
        if self.is_train and "gt_codes" in data:
            self.gt_codes = data["gt_codes"].to(self.device)
            self.batch_names = ("lq", "gt", "gt_codes")

    def begin_iteration(self, current_iter: int) -> None:
        super().begin_iteration(current_iter)
        if getattr(self.get_bare_model(self.net_g), "decodes_on_demand", False):  # also a third project's network
            self.with_image = bool(set(self.image_losses) & set(self.losses))
        if self.phases:
            phase = phase_at(self.phases, current_iter)
            self.fidelity = {"w": phase.w}
            self.with_image &= phase.restores(current_iter)
            if not self.with_image:
                if self.lq_large is None:
                    raise UserError(
                        "train: fidelity_schedule: the data set gives no 'lq_large' (codeformer_stage3 does)"
                    )
                self.lq = self.lq_large
        self.with_gan &= self.with_image

    def generator_forward(self) -> tuple[Tensor | None, Codes | MergedCodes, OrderedDict[str, Tensor]]:
        keywords = self.fidelity if self.with_image else {"decode": False}
        if "lq_small" in self.batch_names:
            keywords = {**keywords, "small": self.lq_small}
        output, codes = self.net_g(self.lq, return_codes=True, **keywords)
        if not set(self.own_losses) & set(self.losses):
            return output, codes, OrderedDict()
        parts = self.code_losses(codes, self.target_codes())
        return output, codes, OrderedDict((name, sum(values)) for name, values in parts.items())

    @torch.no_grad()
    def target_codes(self) -> Codes | MergedCodes:
        """Return the prior's codes of the ground truth: read from the data set, or chosen by its encoder."""
        net = self.get_bare_model(self.net_g)
        if "gt_codes" in self.batch_names:
            indices = self.gt_codes[:, 0]
            quantized = net.quantizer.lookup(indices)
            return Codes(quantized, quantized, indices, quantized)
        if hasattr(net, "target_codes"):
            return net.target_codes(self.gt)
        return self.teacher(self.gt, decode=False)[1]  # codes alone: the teacher's decoder G does not run

    def code_losses(self, codes: Codes | MergedCodes, target: Codes | MergedCodes) -> dict[str, list[Tensor]]:
        """Return the subclass's losses by name, one value for each codebook where there are several."""
        pairs = list(zip(codes.per_codebook, target.per_codebook, strict=True))
        parts = {}
        if "alignment_opt" in self.losses:
            parts["l_align"] = [self.losses["alignment_opt"](c.features, t.quantized) for c, t in pairs]
        if "matching_opt" in self.losses:
            matching = self.losses["matching_opt"]
            parts["l_match"] = [matching(c.output, t.features, t.quantized) for c, t in pairs]
        if "token_opt" in self.losses:
            parts["l_token"] = [self.losses["token_opt"](c.logits, t.indices) for c, t in pairs]
        if "merged_opt" in self.losses:
            parts["l_merged"] = [self.losses["merged_opt"](codes.merged, target.merged)]
        if "contrast_opt" in self.losses:
            parts["l_contrast"] = [self.losses["contrast_opt"](codes.features, target.features)]
        return parts
