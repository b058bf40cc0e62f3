"""The parts that a model has: micro-batches, precision, shares of a validation; and what networks declare to models."""

from __future__ import annotations

import contextlib
import inspect
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from conftest import TINY_OPTIONS
from model_experiments import SIZE, batch, built, prior_experiment
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import spectral_norm
from torch.utils.data import DataLoader

from vqcnir_arch import UserError
from vqcnir_arch.archs import find_quantizers
from vqcnir_arch.models import VQPriorModel, VQRestorationModel
from vqcnir_arch.models.accumulation import Accumulation, mean_of
from vqcnir_arch.models.batch import Batch
from vqcnir_arch.models.precision import Precision
from vqcnir_arch.models.validation import Validation
from vqcnir_arch.registry import ARCH_REGISTRY, MODEL_REGISTRY

# micro-batches


def parts_of(count, *tensors, networks=(), memory_format=torch.preserve_format):
    return list(Accumulation(count, memory_format, networks).split(*tensors))


def test_micro_batches_are_the_batch():
    whole = Batch(torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16), gt_codes=torch.arange(16).view(4, 1, 2, 2))
    parts = [whole._make(part) for part in parts_of(2, *whole)]
    assert [part.lq_small for part in parts] == [None, None]
    for name in ("lq", "gt", "gt_codes"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    (last,) = parts_of(1, whole.lq, memory_format=torch.channels_last)
    assert last[0].is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(UserError, match="grad_accumulation: a batch of 4 does not split into 3 parts"):
        parts_of(3, *whole)


def test_shares_add_up_to_the_mean():
    x = torch.rand(6, 3, 2, 2)
    accumulation = Accumulation(3, torch.preserve_format, ())
    shares = sum(accumulation.share(part.square().mean()) for (part,) in accumulation.split(x))
    torch.testing.assert_close(shares, x.square().mean())
    parts = [{"l_pix": part.square().mean()} for (part,) in accumulation.split(x)]
    torch.testing.assert_close(mean_of(parts)["l_pix"], x.square().mean())


class Wrapped(DistributedDataParallel):
    """DDP that says when it would not exchange gradients."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module, self.silent = module, False

    @contextlib.contextmanager
    def no_sync(self):
        self.silent = True
        yield
        self.silent = False


def test_once_per_batch():
    """Norms are estimated with the first micro-batch, gradients exchanged with the last."""
    net = Wrapped(nn.Sequential(spectral_norm(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 3, 1)))
    accumulation = Accumulation(3, torch.preserve_format, [net])
    seen = [(net.module[0].training, net.silent) for _ in accumulation.split(torch.rand(3, 3, 2, 2))]
    assert seen == [(True, True), (False, True), (False, False)]
    assert all(module.training for module in net.modules())


# precision


def step_of(amp, factor=1.0):
    """One step at a parameter; return what the guard saw, the parameter and the precision."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    precision, seen = Precision(amp, torch.device("cpu")), []
    with precision.autocast():
        loss = (parameter * factor).sum()
    precision.backward(loss)

    def may_step():
        seen.append(parameter.grad.clone())
        return bool(parameter.grad.isfinite().all())

    stepped = precision.step([optimizer], may_step)
    return stepped, seen, parameter.detach(), precision


@pytest.mark.parametrize("amp", ["none", "bf16", "fp16"])
def test_guard_sees_unscaled_gradients(amp):
    stepped, seen, parameter, _ = step_of(amp)
    assert stepped and torch.equal(seen[0], torch.ones(2))
    assert torch.equal(parameter, torch.full((2,), 0.5))


def test_scale_falls_after_an_overflow():
    stepped, _, parameter, precision = step_of("fp16", torch.inf)
    assert not stepped and torch.equal(parameter, torch.ones(2))
    assert precision.state()["scale"] == Precision.first_scale / 2
    resumed = Precision("fp16", torch.device("cpu"))
    resumed.load_state(Precision("none", torch.device("cpu")).state())  # of a run without float16
    assert resumed.state()["scale"] == Precision.first_scale
    resumed.load_state(precision.state())
    assert resumed.state() == precision.state()


# validation


def test_shares_of_the_images():
    loader = DataLoader(list(range(7)), batch_size=1)
    taken = []
    for rank in range(3):
        share, indices = Validation({"dist": True, "rank": rank, "world_size": 3}).share(loader)
        assert [int(image) for image in share] == list(indices)
        taken += indices
    assert sorted(taken) == list(range(7))
    assert Validation({"dist": False}).share(loader) == (loader, range(7))


# a model of a third project


class WeightedBatch(NamedTuple):
    lq: Tensor
    gt: Tensor
    weight: Tensor


class WeightedModel(VQPriorModel):
    """Takes a further tensor from the data set."""

    def feed_data(self, data):
        super().feed_data(data)
        self.weight = data["weight"].to(self.device)

    def batch(self):
        return WeightedBatch(self.lq, self.gt, self.weight)

    def generator_forward(self, batch):
        output, codes, losses = super().generator_forward(batch)
        losses["l_weight"] = batch.weight.mean() * codes.features.square().mean()
        self.seen.append(batch.weight.flatten().tolist())
        return output, codes, losses


@pytest.mark.usefixtures("fresh_basicsr_log")
def test_model_with_a_batch_of_its_own(monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "WeightedModel", WeightedModel)
    options = prior_experiment()
    options["model_type"] = "WeightedModel"
    options["train"]["grad_accumulation"] = 2
    model = built(options)
    model.seen = []
    model.feed_data({**batch(4, SIZE), "weight": torch.arange(4.0).view(4, 1, 1, 1)})
    model.optimize_parameters(1)
    assert model.seen == [[0, 1], [2, 3]]
    assert "l_weight" in model.log_dict


# what networks declare


@pytest.mark.parametrize("name", sorted(set(TINY_OPTIONS) - {"VQGANPrior", "FaceVQGANPrior", "AssociatedPriors"}))
def test_networks_declare_what_they_are(make_tiny, name):
    net = make_tiny(name)
    assert net.has_several_codebooks == (len(find_quantizers(net)) > 1)
    assert net.has_fidelity_weight == ("w" in inspect.signature(net.compute).parameters)
    assert net.has_target_codes == hasattr(net, "target_codes")


def test_teacher():
    codes = {"token_opt": {"type": "TokenCrossEntropyLoss"}}
    network = {name: SimpleNamespace(has_target_codes=ARCH_REGISTRY.get(name).has_target_codes)
               for name in ("CodeFormer", "DAEFR")}  # fmt: skip
    assert VQRestorationModel.needs_teacher(network["CodeFormer"], codes)
    assert not VQRestorationModel.needs_teacher(network["DAEFR"], codes)
    assert not VQRestorationModel.needs_teacher(network["CodeFormer"], {"pixel_opt": {"type": "L1Loss"}})
