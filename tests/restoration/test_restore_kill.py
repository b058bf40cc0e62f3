"""`vqcnir restore` killed at random moments; scripts/restore_kill_test.py does it many more times."""

import pytest
import torch
from restore_kills import kill_restore


@pytest.mark.parametrize(("how", "frames"), [((), 26), (("--tile", "16"), 0)], ids=["whole", "strips"])
def test_killed_and_started_again(make_tiny, tmp_path, capsys, how, frames):
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, tmp_path / "net.pth")
    counts = kill_restore(tmp_path, tmp_path / "net.pth", 12, 6, 0, *how, frames=frames)
    assert sum(counts.values()) == 12 and counts["came to its end"] < 6
