"""Stage I: the VQ prior."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.archs import Codes, MergedCodes, find_quantizers
from vqcnir_arch.models.batch import Batch
from vqcnir_arch.models.code_usage import CodeUsage
from vqcnir_arch.models.vq_model import VQModel
from vqcnir_arch.registry import MODEL_REGISTRY, register


@register(MODEL_REGISTRY)
class VQPriorModel(VQModel):
    """Trains a prior to reconstruct clean images (VQCNIR supplement eq. 6): `VQGANPrior`, or `AdaCode` in stage 2.

    Loss blocks in `train:`: `pixel_opt`, `codebook_opt`, `perceptual_opt`, `gan_opt`, `semantic_opt`. The input is the
    data set's `gt` where it has one, so a paired data set serves too.
    """

    own_losses = ("codebook_opt", "semantic_opt")
    trains_prior = True
    restart_share = 0.8
    """Share of the run in which unused codes are restarted; the rest lets the codebook settle."""

    @classmethod
    def contradictions(cls, options: dict[str, Any]) -> list[str]:
        found = super().contradictions(options)
        if not options["train"].get("codebook_opt"):
            found.append("train: codebook_opt is missing: without it the codebook does not train")
        if options["train"].get("semantic_opt") and not options["network_g"].get("semantic_dim"):
            found.append("train: semantic_opt needs the semantic head: set network_g: semantic_dim: 512")
        network = options["network_g"]
        if options["train"].get("restart_unused_codes") and network.get("stage") == 2:
            found.append(f"train: restart_unused_codes: {network.get('type')} trains no codebook in stage 2")
        return found

    def init_training_settings(self) -> None:
        super().init_training_settings()
        self.restart_every = self.opt["train"].get("restart_unused_codes", 0)
        sizes = [len(quantizer.codebook) for quantizer in find_quantizers(self.get_bare_model(self.net_g)).values()]
        self.usage_since_restart = self.resumable["usage_since_restart"] = CodeUsage(sizes[0])

    def optimize_parameters(self, current_iter: int) -> None:
        super().optimize_parameters(current_iter)
        within = current_iter < self.restart_share * self.opt["train"]["total_iter"]
        if self.restart_every and within and current_iter % self.restart_every == 0:
            self.restart_unused_codes()

    @torch.no_grad()
    def restart_unused_codes(self) -> None:
        """Give every code that no feature chose since the last time the place of a random feature of this batch.

        Ours, off by default: a short training with the plain codebook loss leaves most codes unused for good. With
        micro-batches the feature is one of the last of them.
        """
        codebook = self.get_bare_model(self.net_g).quantizer.codebook
        counts = self.usage_since_restart.counts
        if self.opt["dist"]:
            torch.distributed.all_reduce(counts)
        self.usage_since_restart.counts = None
        rows = self.codes.features.permute(0, 2, 3, 1).flatten(0, 2).to(codebook.dtype)
        unused = (counts == 0).nonzero().flatten()[: len(rows)]
        codebook[unused] = rows[torch.randperm(len(rows), device=rows.device)[: len(unused)]]
        for moment in self.optimizer_g.state[codebook].values():
            if moment.shape == codebook.shape:
                moment[unused] = 0  # Adam's memory of the old code
        if self.opt["dist"]:
            torch.distributed.broadcast(codebook, src=0)

    def feed_data(self, data: dict[str, Tensor]) -> None:
        self.gt = data.get("gt", data["lq"]).to(self.device)
        self.lq = self.gt

    def generator_forward(self, batch: Batch) -> tuple[Tensor, Codes | MergedCodes, OrderedDict[str, Tensor]]:
        output, codes = self.net_g(batch.gt, return_codes=True)
        if self.restart_every:
            self.codes = codes
            self.usage_since_restart.add(codes.indices)
        parts = [self.losses["codebook_opt"](c.features, c.quantized) for c in codes.per_codebook]
        losses = OrderedDict(l_codebook=sum(parts))
        if "semantic_opt" in self.losses:
            losses["l_semantic"] = self.losses["semantic_opt"](codes.semantic, batch.gt)
        return output, codes, losses
