"""Our networks in spandrel."""

import pytest
import torch

spandrel = pytest.importorskip("spandrel", reason="the extra [spandrel] is not installed")

from vqcnir_arch.spandrel_support import install  # noqa: E402


@pytest.fixture
def registry():
    registry = spandrel.MAIN_REGISTRY.copy()
    install(registry)
    return registry


def test_loads_our_file(make_tiny, tmp_path, registry):
    net = make_tiny("VQCNIR").eval()
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    model = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "net.pth")
    assert model.architecture.id == "VQCNIR" and model.scale == 1
    image = torch.rand(1, 3, 21, 37)
    with torch.no_grad():
        torch.testing.assert_close(model(image), net(image).clamp(0, 1))


def test_loads_a_published_file(small_published, tmp_path, registry):
    torch.save({"params": small_published.state}, tmp_path / "published.pth")
    model = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "published.pth")
    assert model.model.options == small_published.net.options


def test_twice_and_others(registry):
    assert install(registry) == []
    state = spandrel.MAIN_REGISTRY["NAFNet"]
    assert registry["NAFNet"] is state
    with pytest.raises(spandrel.UnsupportedModelError):
        registry.load({"conv.weight": torch.zeros(3, 3, 3, 3)})


def test_seen_before_femasr(small_published, registry):
    class Greedy(spandrel.Architecture):
        def __init__(self):
            super().__init__(id="FeMaSR", detect=lambda state: "quantize_group.0.embedding.weight" in state)

        def load(self, state_dict):
            raise AssertionError("FeMaSR must not be asked first")

    late = spandrel.ArchRegistry()
    late.add(spandrel.ArchSupport.from_architecture(Greedy()))
    install(late)
    assert late.load(small_published.state).architecture.id == "VQCNIR"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict_ema": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"params": {f"_orig_mod.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"epoch": 3, "net": {"weights": state}},
    ],
    ids=["nested", "compiled", "deeper"],
)
def test_loads_dictionaries_that_it_does_not_know(make_tiny, tmp_path, registry, wrap):
    net = make_tiny("VQCNIR").eval()
    torch.save(wrap(net.state_dict()), tmp_path / "net.pth")
    model = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "net.pth")
    assert model.model.options == net.options


@pytest.mark.parametrize(
    "content",
    [
        {"a": {"b": {"c": 3}}},
        {"a": [torch.ones(2)], "b": "text", "c": None},
        {"_extra_state": torch.zeros(3)},
        {"_extra_state": "text"},
        {"first": {"x": torch.ones(1)}, "second": {"x": torch.ones(1)}},
        {"quantize_group.0.embedding.weight": torch.zeros(())},
        {},
    ],
    ids=str,
)
def test_raises_nothing_but_its_own_error(registry, content):
    with pytest.raises(spandrel.UnsupportedModelError):
        registry.load(content)


def test_broken_file(make_tiny, registry):
    state = make_tiny("VQCNIR").state_dict()
    del state["out_conv.bias"]
    with pytest.raises(spandrel.UnsupportedModelError, match=r"out_conv\.bias"):
        registry.load(state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(make_tiny, registry, dtype):
    model = registry.load(make_tiny("VQCNIR").state_dict())
    assert model.supports_half and model.supports_bfloat16
    assert repr(model.architecture) == "VQArchitecture(VQCNIR)"
    x, exact = torch.rand(1, 3, 16, 24), model.eval()
    with torch.no_grad():
        expected = exact(x)
        low = model.to(dtype)(x.to(dtype))
    assert low.dtype == dtype and (low.float() - expected).square().mean().sqrt() < 0.1
