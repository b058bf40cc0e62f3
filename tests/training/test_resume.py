"""A run that is stopped and resumed ends as the one that was never stopped, bit for bit."""

import os
import random
import signal

import numpy as np
import pytest
import torch
from basicsr.utils import logger as basicsr_logger
from torch.utils.data import DataLoader, Dataset
from training_runs import checkpoint, differences, make_images, measured, options, sr_options, train_here

from vqcnir_arch.models import VQModel
from vqcnir_arch.training.random_state import random_state, set_random_state
from vqcnir_arch.training.sampling import ResumableSampler, SampleKey, SeededSamples

MAKERS = {"VQPriorModel": options, "SRModel": sr_options}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """One run per model that is never stopped: 8 iterations of 2 of 6 images, so an epoch ends after 3."""
    root = tmp_path_factory.mktemp("undisturbed")
    make_images(root / "images")
    for name, make in MAKERS.items():
        train_here(make(root, name=name), root)
    return root


@pytest.fixture
def signal_at(monkeypatch):
    """Return a function that lets this process get a signal in the middle of an iteration."""
    from basicsr.models.sr_model import SRModel

    def arrange(iteration, number):
        for cls in (VQModel, SRModel):
            original = cls.optimize_parameters

            def optimize(self, current_iter, original=original):
                if current_iter == iteration:
                    os.kill(os.getpid(), number)
                original(self, current_iter)

            monkeypatch.setattr(cls, "optimize_parameters", optimize)

    return arrange


@pytest.mark.parametrize(
    ("name", "iteration", "number", "workers"),
    [
        ("VQPriorModel", 2, signal.SIGTERM, (0, 0)),
        ("VQPriorModel", 3, signal.SIGINT, (0, 0)),  # at the end of an epoch
        ("VQPriorModel", 4, signal.SIGTERM, (0, 2)),  # at a checkpoint and a validation
        ("VQPriorModel", 5, signal.SIGTERM, (2, 0)),
        ("SRModel", 5, signal.SIGTERM, (0, 1)),
    ],
)
def test_exact_resume(undisturbed, tmp_path, monkeypatch, signal_at, name, iteration, number, workers):
    made = MAKERS[name](undisturbed, name=name, datasets__train__num_worker_per_gpu=workers[0])
    with monkeypatch.context():
        signal_at(iteration, number)
        with pytest.raises(SystemExit) as left:
            train_here(made, tmp_path)
    assert left.value.code == 128 + number
    monkeypatch.undo()
    assert (tmp_path / f"experiments/{name}/training_states/{iteration}.state").exists()
    made["datasets"]["train"]["num_worker_per_gpu"] = workers[1]
    train_here(made, tmp_path, "--auto_resume")
    assert differences(checkpoint(undisturbed, 8, name), checkpoint(tmp_path, 8, name)) == []
    lines = measured(undisturbed, name)
    assert measured(tmp_path, name) == lines  # none twice, none lost
    assert [line["iter"] for line in lines] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]


def test_resume_state_counts_from_the_root(undisturbed, tmp_path, monkeypatch):
    short = options(undisturbed, train__total_iter=4)
    train_here(short, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train_here(options(undisturbed, path__resume_state="experiments/run/training_states/4.state"), tmp_path)
    found = differences(checkpoint(undisturbed, 8, "VQPriorModel"), checkpoint(tmp_path, 8))
    assert found == []


def test_finished_run_stays_as_it_is(undisturbed, tmp_path):
    train_here(options(undisturbed, train__total_iter=5), tmp_path)
    before = checkpoint(tmp_path, 5)
    log = train_here(options(undisturbed, train__total_iter=5), tmp_path, "--auto_resume")
    assert differences(before, checkpoint(tmp_path, 5)) == []
    assert "@ 5 iter" in log or "@ 4 iter" in log
    for odd in (6, 7):
        assert f"@ {odd} iter" not in log
    assert not list((tmp_path / "experiments").glob("*_archived_*"))


def test_incomplete_batches_do_not_shorten_a_run(tmp_path):
    make_images(tmp_path / "images", 5)  # BasicSR counts 3 iterations per epoch; with dropped batches there are 2
    train_here(options(tmp_path, train__total_iter=20, val=None), tmp_path)
    assert (tmp_path / "experiments/run/training_states/20.state").exists()


def test_seed_decides_the_run(undisturbed, tmp_path):
    train_here(options(undisturbed, manual_seed=8), tmp_path)
    assert differences(checkpoint(undisturbed, 8, "VQPriorModel"), checkpoint(tmp_path, 8)) != []


# order and draws


class Draws(Dataset):
    """Samples of nothing but random numbers from all three generators."""

    opt = {"name": "draws"}  # noqa: RUF012

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()], dtype=torch.float64)


def draw(workers=0, epoch=0, seed=0, resumed=None, rank=0, processes=1, batch=2):
    sampler = ResumableSampler(Draws(), processes, rank, 2, seed)
    if resumed is not None:
        sampler.resume(seed, epoch, resumed)
    sampler.set_epoch(epoch)
    loader = DataLoader(SeededSamples(Draws()), batch, sampler=sampler, num_workers=workers, drop_last=True)
    return torch.cat(list(loader))


def test_draws_depend_on_seed_epoch_and_position_alone():
    whole = draw()
    assert torch.equal(whole, draw(workers=2))
    assert torch.equal(whole[6:], draw(resumed=6))
    assert not torch.equal(whole, draw(epoch=1))
    assert not torch.equal(whole, draw(seed=1))
    assert whole[:, 1:].unique().numel() == whole[:, 1:].numel()


def test_processes_share_one_order():
    whole = draw(batch=4)
    for rank in range(2):
        assert torch.equal(whole[rank::2], draw(rank=rank, processes=2))


def test_every_image_comes_as_often():
    assert sorted(draw()[:, 0].tolist()) == sorted([*range(10), *range(10)])


def test_samples_move_no_generator_of_the_run():
    before = random_state()
    SeededSamples(Draws())[SampleKey(3, 0, 0, 0)]
    assert differences(before, random_state()) == []


def test_wrapper_is_transparent():
    wrapped = SeededSamples(Draws())
    assert wrapped.opt["name"] == "draws"
    assert wrapped[4][0] == 4
    with pytest.raises(AttributeError):
        getattr(wrapped, "nothing")  # noqa: B009


def test_random_state_survives_the_weights_only_reader(tmp_path):
    state = random_state()
    torch.save(state, tmp_path / "state")
    drawn = [random.random(), np.random.randn(), torch.rand(3)]
    set_random_state(torch.load(tmp_path / "state", weights_only=True))
    assert differences(drawn, [random.random(), np.random.randn(), torch.rand(3)]) == []


def test_launchers_leave_basicsr_as_it_was(tmp_path):
    import basicsr.train

    before = dict(vars(basicsr.train))
    make_images(tmp_path / "images")
    train_here(options(tmp_path, train__total_iter=1, val=None), tmp_path)
    assert vars(basicsr.train) == before
    assert "basicsr" not in basicsr_logger.initialized_logger
