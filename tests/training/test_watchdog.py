"""The watchdog over collapsed trainings: each symptom, and its silence on the log of the network that ships."""

import json

import pytest
import torch
from conftest import GOLDEN
from training_runs import make_images, options, train_here

from vqcnir_arch.archs import VQGANPrior
from vqcnir_arch.training.watchdog import SYMPTOMS, Watchdog

GOOD = {"l_pix": 0.1, "perplexity": 140.0, "gan_weight": 0.4, "l_d_real": 0.8, "l_d_fake": 0.9, "out_d_real": 0.3,
        "out_d_fake": -0.2}  # fmt: skip
COLLAPSED = [
    ({"perplexity": 1.2}, "the codebook has a perplexity below 2"),
    ({"perplexity_portraits": 1.2}, "the codebook has a perplexity below 2"),
    ({"gan_weight": 1e-5}, "adaptive weight of the GAN"),
    ({"l_d_real": 0.0, "l_d_fake": 0.001}, "the discriminator is never wrong"),
    ({"out_d_real": 0.1, "out_d_fake": 0.1002}, "the discriminator answers real and restored images alike"),
]


@pytest.mark.parametrize(("symptom", "says"), COLLAPSED)
def test_each_symptom_is_said_once_and_after_patience_alone(symptom, says):
    dog = Watchdog(patience=3)
    said = [dog.look({**GOOD, **symptom}) for _ in range(8)]
    assert [len(lines) for lines in said] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert says in said[2][0] and said[2][0].startswith("for 3 lines of this log")


def test_a_line_that_is_well_begins_anew():
    dog = Watchdog(patience=3)
    bad = {**GOOD, "gan_weight": 0.0}
    assert not any(dog.look(log) for log in (bad, bad, GOOD, bad, bad, GOOD, {}))
    assert len(SYMPTOMS) == len({says for _, says in COLLAPSED})


def test_silent_on_the_training_of_the_network_that_ships():
    """`tests/golden/small_training.jsonl`: what the logs of its prior and of both parts of stage II say."""
    lines = (GOLDEN / "small_training.jsonl").read_text(encoding="utf-8").splitlines()
    dog = Watchdog(patience=3)
    assert len(lines) > 100 and not any(dog.look(json.loads(line)) for line in lines if line)


@pytest.mark.parametrize("is_collapsed", [True, False])
@pytest.mark.usefixtures("fresh_basicsr_log")
def test_warns_in_the_log_of_a_run_that_was_made_to_collapse(tmp_path, is_collapsed):
    """All codes but one are out of every feature's reach; the same run with drawn codes is silent."""
    make_images(tmp_path / "images")
    made = options(tmp_path, train__total_iter=22, val__val_freq=100, logger__save_checkpoint_freq=100)
    net = VQGANPrior(**{key: value for key, value in made["network_g"].items() if key != "type"})
    if is_collapsed:
        net.quantizer.codebook.data[1:] = 1e3
    torch.save({"params": net.state_dict()}, tmp_path / "start.pth")
    made["path"] |= {"pretrain_network_g": str(tmp_path / "start.pth"), "param_key_g": "params"}
    made["train"]["ema_decay"] = 0
    train_here(made, tmp_path)
    (log,) = (tmp_path / "experiments/run").glob("*.log")
    warnings = [line for line in log.read_text(encoding="utf-8").splitlines() if "lines of this log" in line]
    assert len(warnings) == is_collapsed
    assert all("perplexity below 2" in line for line in warnings)
