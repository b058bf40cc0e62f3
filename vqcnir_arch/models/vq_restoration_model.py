"""Stage II: restoration with a frozen prior."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.archs import Codes, MergedCodes, find_quantizers
from vqcnir_arch.archs.loading import load_prior_network
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.models.batch import Batch
from vqcnir_arch.models.fidelity_schedule import phase_at, read_schedule
from vqcnir_arch.models.option_checks import network_class, unfit_quantizer_losses
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.registry import MODEL_REGISTRY, register


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
    teacher: VQNetwork | None = None
    """The prior beside the network, where a loss needs it, see `needs_teacher`."""

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
        kind, cls_g = network.get("type"), network_class(options)
        ours = cls_g if isinstance(cls_g, type) and issubclass(cls_g, VQNetwork) else VQNetwork
        if cls_g and not ours.has_several_codebooks:
            found += [f"train: {loss} needs several codebooks, {kind} has one"
                      for loss in cls.several_codebooks_losses if train.get(loss)]  # fmt: skip
        started = network.get("prior") or (options.get("path") or {}).get("pretrain_network_g")
        if network.get("freeze_prior") and not started:
            found.append("network_g: freeze_prior would freeze random weights: name prior, or path: pretrain_network_g")
        if train.get("fidelity_schedule"):
            found += read_schedule(train["fidelity_schedule"])[1]
            found += [] if ours.has_fidelity_weight else [f"train: fidelity_schedule: {kind} has no fidelity weight"]
        target = (train.get("matching_opt") or {}).get("target")
        if target == "hq_feature" and ((options.get("datasets") or {}).get("train") or {}).get("codes"):
            found.append("train: matching_opt: hq_feature needs the prior's features, datasets: train: codes has codes")
        quantizer = network.get("quantizer") or {}
        if isinstance(quantizer, dict):
            quantizer = {"type": ours.default_quantizer, **quantizer}
        return found + unfit_quantizer_losses(quantizer, train)

    @classmethod
    def needs_teacher(cls, net: VQNetwork, train: Mapping[str, Any]) -> bool:
        """Tell whether a training keeps the prior beside a network: a loss needs codes that the network cannot give."""
        return any(train.get(loss) for loss in cls.own_losses) and not net.has_target_codes

    def init_training_settings(self) -> None:
        super().init_training_settings()
        self.phases, _ = read_schedule(self.opt["train"].get("fidelity_schedule"))
        self.fidelity: dict[str, float] = {}
        net = self.get_bare_model(self.net_g)
        if self.needs_teacher(net, self.opt["train"]):
            prior = load_prior_network(self.opt["network_g"]["prior"], net.prior_type)
            self.teacher = prior.to(self.device).requires_grad_(False)
        if "matching_opt" in self.losses and self.losses["matching_opt"].target is None:
            quantizers = find_quantizers(net)
            self.losses["matching_opt"].target = next(iter(quantizers.values())).matching_target

    def feed_data(self, data: dict[str, Tensor]) -> None:
        """Take a batch; `lq_large`, `lq_small` and `gt_codes` are there where the data set gives them."""
        super().feed_data(data)
        self.more = {n: data[n].to(self.device) for n in ("lq_large", "lq_small", "gt_codes") if n in data}

    def begin_iteration(self, current_iter: int) -> None:
        super().begin_iteration(current_iter)
        if self.get_bare_model(self.net_g).decodes_on_demand:
            self.with_image = bool(set(self.image_losses) & set(self.losses))
        if self.phases:
            phase = phase_at(self.phases, current_iter)
            self.fidelity = {"w": phase.w}
            self.with_image &= phase.restores(current_iter)
        self.with_gan &= self.with_image

    def batch(self) -> Batch:
        """Return the batch; where a phase trains the codes alone, the heavier degraded images go into the network."""
        lq = self.lq
        if self.phases and not self.with_image:
            if "lq_large" not in self.more:
                raise UserError("train: fidelity_schedule: the data set gives no 'lq_large' (codeformer_stage3 does)")
            lq = self.more["lq_large"]
        return Batch(lq, self.gt, self.more.get("lq_small"), self.more.get("gt_codes"))

    def generator_forward(self, batch: Batch) -> tuple[Tensor | None, Codes | MergedCodes, OrderedDict[str, Tensor]]:
        keywords = self.fidelity if self.with_image else {"decode": False}
        if batch.lq_small is not None:
            keywords = {**keywords, "small": batch.lq_small}
        output, codes = self.net_g(batch.lq, return_codes=True, **keywords)
        if not set(self.own_losses) & set(self.losses):
            return output, codes, OrderedDict()
        parts = self.code_losses(codes, self.target_codes(batch))
        return output, codes, OrderedDict((name, sum(values)) for name, values in parts.items())

    @torch.no_grad()
    def target_codes(self, batch: Batch) -> Codes | MergedCodes:
        """Return the prior's codes of the ground truth: the data set's, the network's own or the teacher's."""
        net = self.get_bare_model(self.net_g)
        if batch.gt_codes is not None:
            indices = batch.gt_codes[:, 0]
            quantized = net.quantizer.lookup(indices)
            return Codes(quantized, quantized, indices, quantized)
        if self.teacher is None:
            return net.target_codes(batch.gt)
        return self.teacher(batch.gt, decode=False)[1]  # codes alone: the teacher's decoder G does not run

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
