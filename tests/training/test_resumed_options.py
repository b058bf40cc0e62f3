"""Options that differ from those that a training state was made with hold, or are refused in one line."""

from __future__ import annotations

import copy
import re
import shutil

import pytest
import torch
from model_experiments import built, prior_experiment, with_gan
from torch import nn
from training_runs import change, checkpoint, make_images, options, train_here

from vqcnir_arch import UserError
from vqcnir_arch.training.resumed_options import ResumedOptions

MULTI = {"type": "MultiStepLR", "milestones": [3, 9], "gamma": 0.5}
COSINE = {"type": "CosineAnnealingRestartLR", "periods": [6], "restart_weights": [1], "eta_min": 1e-5}


def model_of(**train):
    made = prior_experiment()
    made["path"]["resume_state"] = "7.state"
    made["train"].update(copy.deepcopy(train))
    return built(made)


def rates(model, first, last):
    """The rates of iterations as the training loop sets them."""
    found = []
    for iteration in range(first, last + 1):
        model.update_learning_rate(iteration, model.opt["train"].get("warmup_iter", -1))
        found.append(model.get_current_learning_rate()[0])
    return found


def state_of(model, iteration):
    model.save_training_state(0, iteration)
    return model._postponed_state


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"scheduler": COSINE}, {"scheduler": {**COSINE, "periods": [12]}}, "scheduler: periods: [6] -> [12]"),
        ({"scheduler": MULTI}, {"scheduler": COSINE | {"periods": [20]}}, "type: another -> CosineAnnealingRestartLR"),
        ({"scheduler": COSINE}, {"scheduler": MULTI}, "type: another -> MultiStepRestartLR"),
        ({"scheduler": MULTI}, {"scheduler": {**MULTI, "milestones": [7, 7]}}, "milestones: [3, 9] -> [7, 7]"),
        ({"scheduler": MULTI}, {"scheduler": {**MULTI, "gamma": 0.1}}, "gamma: 0.5 -> 0.1"),
        (
            {"scheduler": MULTI},
            {"scheduler": {**MULTI, "restarts": [0, 4], "restart_weights": [1, 0.7]}},
            "restarts: [0] -> [0, 4]",
        ),
        (
            {"scheduler": MULTI, "optim_g": {"type": "Adam", "lr": 1e-3}},
            {"scheduler": MULTI, "optim_g": {"type": "Adam", "lr": 2e-4}},
            "optim_g: lr: 0.001 -> 0.0002",
        ),
        ({"scheduler": MULTI}, {"scheduler": MULTI, "warmup_iter": 8}, "warmup_iter: -1 -> 8"),
        ({"scheduler": MULTI, "warmup_iter": 8}, {"scheduler": MULTI}, "warmup_iter: 8 -> -1"),
    ],
)
def test_rates_are_those_of_a_run_that_had_the_new_options_from_the_start(before, after, said, basicsr_log):
    first = model_of(**before)
    rates(first, 1, 6)
    resumed, fresh = model_of(**after), model_of(**after)
    resumed.resume_training(state_of(first, 6))
    said_in = [line for line in basicsr_log if line.startswith("Resumed with another option: train: ")]
    assert any(said in line for line in said_in), basicsr_log
    assert rates(fresh, 1, 11)[6:] == rates(resumed, 7, 11)
    again = state_of(resumed, 11)
    assert again["schedulers"] == state_of(fresh, 11)["schedulers"]


def test_the_same_options_change_nothing(basicsr_log):
    first = model_of(scheduler=MULTI)
    rates(first, 1, 6)
    kept = copy.deepcopy(state_of(first, 6))
    resumed = model_of(scheduler=MULTI)
    resumed.resume_training(copy.deepcopy(kept))
    assert not [line for line in basicsr_log if "another option" in line]
    assert state_of(resumed, 6)["schedulers"] == kept["schedulers"]


def stepped(cls, count=2, **options):
    """An optimiser that has taken a step."""
    parameters = [nn.Parameter(torch.ones(3)) for _ in range(count)]
    optimizer = cls(parameters, lr=1e-3, **options)
    for parameter in parameters:
        parameter.grad = torch.ones(3)
    optimizer.step()
    return optimizer


def state(*optimizers, **made):
    return {
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "schedulers": [],
        "vqcnir": {"made_with": made},
    }


def test_numbers_of_an_optimiser_hold():
    kept = stepped(torch.optim.Adam, betas=(0.9, 0.99))
    now = stepped(torch.optim.Adam, betas=[0.5, 0.9], weight_decay=0.1, eps=1e-8)
    resumed = ResumedOptions({"g": now}, [], state(kept), -1)
    now.load_state_dict(kept.state_dict())
    resumed.apply()
    assert now.param_groups[0]["betas"] == (0.5, 0.9) and now.param_groups[0]["weight_decay"] == 0.1
    assert resumed.changes == [
        "train: optim_g: betas: (0.9, 0.99) -> (0.5, 0.9)",
        "train: optim_g: weight_decay: 0 -> 0.1",
    ]
    assert not resumed.schedule_changed


@pytest.mark.parametrize(
    ("kept", "now", "expected"),
    [
        # states that do not say what made them
        (stepped(torch.optim.Adam), stepped(torch.optim.AdamW), "AdamW cannot go on from a training state of Adam's"),
        (stepped(torch.optim.AdamW), stepped(torch.optim.Adam), "Adam cannot go on from a training state of AdamW's"),
        (
            stepped(torch.optim.SGD),
            stepped(torch.optim.Adam),
            "training state of another type",
        ),
        (stepped(torch.optim.Adam), stepped(torch.optim.NAdam), "state of another type"),
        # a switch that needs more of each parameter
        (stepped(torch.optim.Adam), stepped(torch.optim.Adam, amsgrad=True), "amsgrad: true cannot go on"),
        (stepped(torch.optim.RMSprop), stepped(torch.optim.RMSprop, centered=True), "centered: true cannot go on"),
        (stepped(torch.optim.Adam, 3), stepped(torch.optim.Adam, 2), "is of 3 tensors, the option file trains 2"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(kept, now, expected):
    with pytest.raises(UserError, match=re.escape(expected)) as caught:
        ResumedOptions({"g": now}, [], state(kept), -1)
    assert "path: pretrain_network_*" in str(caught.value)


def test_a_gan_that_came_or_went():
    alone, both = built(prior_experiment()), built(with_gan(prior_experiment()))
    for model, other in ((alone, both), (both, alone)):
        with pytest.raises(UserError, match="a GAN came or went"):
            model.resume_training(state_of(other, 1))


# through the launcher


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with checkpoints at 2 and 4."""
    root = tmp_path_factory.mktemp("finished")
    make_images(root / "images")
    train_here(short(root), root)
    return root


def short(root, **changes):
    made = options(root, val=None, network_d=None, train__gan_opt=None, train__optim_d=None, train__ema_decay=0)
    made["logger"].update(save_checkpoint_freq=2, print_freq=1)
    made["train"].update(total_iter=4, scheduler={**copy.deepcopy(COSINE), "periods": [4]})
    change(made, changes)
    return made


@pytest.fixture
def root(finished, tmp_path):
    shutil.copytree(finished / "experiments", tmp_path / "experiments")
    return tmp_path


def content(root):
    return {path: path.read_bytes() for path in (root / "experiments").rglob("*") if path.is_file()}


def test_a_finished_cosine_run_trains_longer(finished, root):
    made = short(finished, train__total_iter=6)
    made["train"]["scheduler"]["periods"] = [8]
    log = train_here(made, root, "--auto_resume")
    assert "Resumed with another option: train: scheduler: periods: [4] -> [8]" in log
    group = checkpoint(root, 6)["state"]["optimizers"][0]["param_groups"][0]
    assert group["lr"] == pytest.approx(1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + torch.cos(torch.tensor(torch.pi * 5 / 8))))
    assert "nothing left to train" in train_here(made, root, "--auto_resume")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train__optim_g": {"type": "AdamW", "lr": 1e-3}}, "type: AdamW cannot go on from a training state of Adam's"),
        ({"train__total_iter": 3}, "total_iter: 3, but the training state .* is of iteration 4"),
        ({"model_type": "SRModel"}, "is of a VQPriorModel, model_type is SRModel"),
    ],
)
def test_what_cannot_go_on_is_refused_before_anything_is_written(finished, root, changes, expected):
    made = short(finished, **changes)
    if "model_type" in changes:
        del made["train"]["codebook_opt"]
    before = content(root)
    with pytest.raises(UserError, match=expected):
        train_here(made, root, "--auto_resume")
    assert content(root) == before


def test_a_state_of_another_run(finished, root):
    """It may begin a run of another name; it is not mixed with what a run has left."""
    state = "experiments/run/training_states/2.state"
    log = train_here(short(finished, name="branch", train__total_iter=3, path__resume_state=state), root)
    assert "iter: 2." in log and checkpoint(root, 3, "branch")["state"]["iter"] == 3
    before = content(root)
    with pytest.raises(UserError, match=r"is of another run, but .*branch' has checkpoints of its own"):
        train_here(short(finished, name="branch", path__resume_state=state), root)
    assert content(root) == before
    log = train_here(short(finished, path__resume_state=state, train__total_iter=2), root)
    assert "has newer states (4): --auto_resume would take those" in log
