"""Every option file of the hosts under DistributedDataParallel, which refuses parameters that a step does not use."""

from __future__ import annotations

import pytest
import test_face_options as faces
import test_host_options as super_resolution
import torch
from basicsr.models import build_model
from torch.nn.parallel import DistributedDataParallel


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A group of one process: it looks for unused parameters as a larger one does."""
    store = torch.distributed.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def steps(options, left_out):
    options.update(is_train=True, dist=True, num_gpu=0, rank=0, world_size=1)
    options["path"] = {}
    for loss in left_out:
        options["train"].pop(loss, None)
    model = build_model(options)
    assert isinstance(model.net_g, DistributedDataParallel)
    size = 32 if options["scale"] > 1 else 16
    sizes = {"lq": size // options["scale"], "gt": size, "lq_large": size}
    for iteration in (1, 2, 3):
        model.feed_data({name: torch.rand(2, 3, side, side) for name, side in sizes.items()})
        model.optimize_parameters(iteration)
    assert all(torch.as_tensor(value).isfinite() for value in model.get_current_log().values())


@pytest.mark.usefixtures("fresh_basicsr_log", "group")
@pytest.mark.parametrize("name", super_resolution.TRAINING)
def test_super_resolution(make_tiny, tmp_path, name):
    options = super_resolution.read(name)
    options["network_g"] = super_resolution.shrink(name, options["network_g"], make_tiny, tmp_path)
    steps(options, super_resolution.NEEDS_WEIGHTS)


@pytest.mark.usefixtures("fresh_basicsr_log", "group")
@pytest.mark.parametrize("name", faces.TRAINING)
def test_faces(make_tiny, tmp_path, name):
    options = faces.read(name)
    options["network_g"] = faces.shrink(options["network_g"], make_tiny, tmp_path)
    if "network_d" in options:
        options["network_d"] |= {"num_feat": 4, "num_layers": 2}
    if options["train"].get("gan_start_iter"):
        options["train"]["gan_start_iter"] = 0
    steps(options, ["perceptual_opt"])
