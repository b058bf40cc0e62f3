"""`pytest --device cuda`: the files below make their networks and tensors on that device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

FILES = ("test_networks", "test_quantizers", "test_sinca_attention", "test_fusions", "test_enhancers", "test_layers")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help=f"where {', '.join(FILES)} compute (default: cpu)")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--device")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise pytest.UsageError(f"--device {name} cannot be used: {str(error).splitlines()[0]}") from error


@pytest.fixture(autouse=True)
def on_device(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make `--device` the one on which a test of `FILES` creates modules and tensors."""
    name = request.config.getoption("--device")
    if name == "cpu" or request.path.stem not in FILES:
        yield
        return
    with torch.device(name):
        yield
