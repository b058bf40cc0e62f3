"""The parts of the small network: illumination curve, skips, image residual, a fusion of its own at each level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import scene

from vqcnir_arch import UserError, load_network
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.archs.illumination import DARKEST, LUMA, IlluminationCurve, thumbnail
from vqcnir_arch.registry import ARCH_REGISTRY

SMALL = {
    "channels": [16, 16, 32],
    "fusion": {"type": ["SKFF", "SKFF", "none"]},
    "illumination": {"iterations": 4, "size": 16, "width": 4},
    "skips": True,
    "residual": True,
}


def photo(height=40, width=48):
    return torch.from_numpy(scene("chelsea", height, width)).permute(2, 0, 1).float().div(255)[None]


def bright_curve(iterations=4, size=16):
    """A curve whose head is random: it does something."""
    curve = IlluminationCurve(iterations, size, 4)
    torch.nn.init.normal_(curve.head[2].weight, std=1.0)
    return curve


def test_fresh_curve_changes_nothing():
    x = photo()
    torch.testing.assert_close(IlluminationCurve()(x), x)


def test_curve_against_its_formula():
    x, a = photo(), torch.tensor([[0.7, -0.2, 1.0]])
    result = IlluminationCurve(3).apply_curve(x, a)
    rgb = x[0].double().numpy()
    luma = np.clip(np.tensordot([0.299, 0.587, 0.114], rgb, 1), DARKEST, 1)
    y = luma
    for coefficient in a[0].tolist():
        y = y + coefficient * y * (1 - y)
    np.testing.assert_allclose(result[0].numpy(), rgb * y / luma, atol=1e-5)


def test_curve_keeps_hue_and_order_and_black():
    x = torch.rand(1, 3, 8, 8)
    x[..., 0] = 0
    y = IlluminationCurve(2).apply_curve(x, torch.tensor([[1.0, 0.9]]))
    assert (y[..., 0] == 0).all()
    gain = y[..., 1:] / x[..., 1:]
    torch.testing.assert_close(gain, gain[:, :1].expand_as(gain))
    gray = torch.linspace(0, 1, 50).expand(1, 3, 1, 50)
    assert (IlluminationCurve(1).apply_curve(gray, torch.tensor([[1.0]])).diff(dim=-1) > 0).all()


def test_thumbnail_is_the_mean_of_what_it_covers():
    x = torch.rand(1, 3, 32, 48)
    expected = x.reshape(1, 3, 16, 2, 16, 3).mean((3, 5))
    torch.testing.assert_close(thumbnail(x, 16), expected)


def test_crop_gets_the_curve_of_its_frame():
    curve, frame = bright_curve(), photo()
    whole = curve(frame)
    part = curve(frame[..., 8:24, 16:40], thumbnail(frame, 16))
    torch.testing.assert_close(part, whole[..., 8:24, 16:40])
    assert (curve(frame[..., 8:24, 16:40]) - part).abs().max() > 1e-4  # its own thumbnail says something else


def to_y(images):
    return (images * torch.tensor(LUMA).view(3, 1, 1)).sum(1).mean((1, 2))


def test_share_grows_with_the_lift_of_shadows():
    curve = IlluminationCurve(1, full_lift=0.15)
    coefficients = torch.tensor([[-0.5], [0.0], [0.4], [0.8], [1.0]])
    lifts = coefficients[:, 0] * 0.25 * 0.75  # eq. 6
    dark = torch.full((5, 3, 64, 64), 0.1)
    torch.testing.assert_close(curve.share(coefficients, dark).flatten(), (lifts / 0.15).clamp(0, 1))
    assert (IlluminationCurve(1).share(coefficients, dark) == 1).all()


def test_share_looks_at_a_bright_image_where_it_is():
    curve, coefficients = IlluminationCurve(1, full_lift=0.15), torch.tensor([[0.4]])
    images = torch.rand(1, 3, 64, 64) * 0.2 + 0.78
    luma = to_y(images)
    torch.testing.assert_close(curve.share(coefficients, images).flatten(), 0.4 * luma * (1 - luma) / 0.15)


def test_share_of_a_middle_gray_is_that_of_its_shadows():
    coefficients, gray = torch.tensor([[0.2]]), torch.full((1, 3, 64, 64), 0.5)
    expected = torch.full((1, 1, 1, 1), 0.2 * 0.25 * 0.75 / 0.15)
    torch.testing.assert_close(IlluminationCurve(1, full_lift=0.15).share(coefficients, gray), expected)


@pytest.mark.parametrize(("level", "share"), [(0, 0), (0.5 / 255, 0.5), (1 / 255, 1), (1, 0)])
def test_black_and_white_keep_themselves(level, share):
    small = torch.full((1, 3, 64, 64), float(level))
    found = IlluminationCurve(1, full_lift=0.15).share(torch.tensor([[1.0]]), small)
    torch.testing.assert_close(found.flatten(), torch.tensor([float(share)]))


def test_network_adds_its_share_alone(make_tiny):
    curve = {**SMALL["illumination"], "full_lift": 0.2}
    net = make_tiny("VQCNIR", **{**SMALL, "illumination": curve}).eval()
    torch.nn.init.normal_(net.residual_conv.weight)
    frame = photo()
    with torch.no_grad():
        torch.testing.assert_close(net(frame), frame)  # a fresh curve lifts nothing
        net.illumination.head[2].bias.fill_(0.06)
        net.illumination.full_lift = 0
        bright, whole = net.illumination(frame), net(frame)
        net.illumination.full_lift = 0.2
        _, share = net.illumination.choose(frame)
        assert 0.1 < share < 0.9
        torch.testing.assert_close(net(frame), bright + share * (whole - bright))


def test_share_needs_a_residual(make_tiny):
    with pytest.raises(UserError, match="full_lift needs `residual: true`"):
        make_tiny("VQCNIR", **{**SMALL, "illumination": {"full_lift": 0.1}, "residual": False})


@pytest.mark.parametrize("full_lift", [-0.1, 1])
def test_wrong_full_lift_is_named(full_lift):
    with pytest.raises(UserError, match="full_lift is at least 0 and below 1"):
        IlluminationCurve(full_lift=full_lift)


@pytest.mark.parametrize("options", [{"iterations": 0}, {"size": 24}, {"size": 0}])
def test_wrong_curves_are_named(options):
    with pytest.raises(UserError, match="illumination: needs iterations from 1 and a size that 16 divides"):
        IlluminationCurve(**options)


def test_fresh_small_network_gives_its_input(make_tiny):
    net, x = make_tiny("VQCNIR", **SMALL).eval(), photo()
    with torch.no_grad():
        torch.testing.assert_close(net(x), x)


def test_network_hands_the_thumbnail_on(make_tiny):
    net = make_tiny("VQCNIR", **SMALL).eval()
    torch.nn.init.normal_(net.illumination.head[2].weight, std=1.0)
    frame = photo()
    with torch.no_grad():  # the fresh residual is zero: what comes out is the curve
        part = net(frame[..., :16, :24], small=thumbnail(frame, 16))
        torch.testing.assert_close(part, net(frame)[..., :16, :24])


def test_levels_behind_the_last_fusion_are_not_computed(make_tiny):
    net = make_tiny("VQCNIR", **SMALL)
    seen = []
    for i, stage in enumerate(net.generator):
        stage.register_forward_hook(lambda *_, i=i: seen.append(i))
    net(photo()).sum().backward()
    assert seen == [0]
    assert not any(p.requires_grad for p in net.generator[1].parameters())
    assert not any(p.requires_grad for p in net.out_conv.parameters())
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)  # nothing that DDP would miss


def test_skips_reach_the_decoder(make_tiny):
    net = make_tiny("VQCNIR", **{**SMALL, "skips": False})
    assert not len(net.decoder.skips)
    net = make_tiny("VQCNIR", **SMALL).eval()
    torch.nn.init.normal_(net.residual_conv.weight)
    assert [tuple(conv.weight.shape) for conv in net.decoder.skips.values()] == [(16, 16, 1, 1), (16, 3, 3, 3)]
    with torch.no_grad():
        before = net(photo())
        for conv in net.decoder.skips.values():
            conv.weight.zero_()
        assert (net(photo()) - before).abs().max() > 1e-3


def test_a_fusion_for_each_level(make_tiny):
    fusion = {"type": ["DBCA", "SKFF", "none"], "heads": [4, 1, 1], "reduction": [8, 4, 8]}
    net = make_tiny("VQCNIR", channels=[16, 16, 32], fusion=fusion)
    kinds = {level: type(module).__name__ for level, module in net.decoder.fusions.items()}
    assert kinds == {"f4": "DBCA", "f2": "SKFF"}
    assert net.decoder.fusions["f4"].attention.scale.shape[0] == 4
    assert net.options["fusion"]["heads"] == [4, None, None]
    assert net.options["fusion"]["offset_groups"] == [4, None, None]
    copy = load_network(net.state_dict())
    x = torch.rand(1, 3, 12, 20)
    with torch.no_grad():
        assert torch.equal(copy(x), net.eval()(x))


def test_dbca_behind_a_level_that_hands_nothing_on(make_tiny):
    net = make_tiny("VQCNIR", fusion={"type": ["SKFF", "none", "DBCA", "DBCA"], "offset_groups": 2}).eval()
    with torch.no_grad():
        assert net(torch.rand(1, 3, 16, 24)).shape == (1, 3, 16, 24)


@pytest.mark.parametrize(
    ("fusion", "message"),
    [
        ({"type": ["SKFF", "SKFF"]}, "type needs one value per level f4, f2, f1"),
        ({"type": ["SKFF", "SKF", "none"]}, "unknown fusion type 'SKF' .did you mean 'SKFF'"),
        ({"type": ["SKFF", "Add", "none"], "reductoin": 4}, "has no option 'reductoin'"),
    ],
)
def test_wrong_fusions_of_levels_are_named(make_tiny, fusion, message):
    with pytest.raises(UserError, match=message):
        make_tiny("VQCNIR", channels=[16, 16, 32], fusion=fusion)


def test_checkpoint_keeps_the_small_parts(make_tiny, tmp_path):
    net = make_tiny("VQCNIR", **SMALL).eval()
    torch.nn.init.normal_(net.residual_conv.weight, std=0.1)
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    copy = load_network(tmp_path / "net.pth")
    with torch.no_grad():
        assert torch.equal(copy(photo()), net(photo()))
    assert copy.options["illumination"] == SMALL["illumination"]


def test_network_starts_from_a_curve_and_freezes_it(make_tiny, tmp_path):
    curve = bright_curve()
    torch.save({"params": curve.state_dict()}, tmp_path / "curve.pth")
    net = make_tiny("VQCNIR", **SMALL, curve=str(tmp_path / "curve.pth"))
    assert torch.equal(net.illumination.head[2].weight, curve.head[2].weight)
    assert not any(p.requires_grad for p in net.illumination.parameters())
    assert "curve" not in net.options
    with pytest.raises(UserError, match="this network has no `illumination`"):
        make_tiny("VQCNIR", curve=str(tmp_path / "curve.pth"))
    with pytest.raises(UserError, match=r"curve '.*net.pth' does not fit IlluminationCurve"):
        torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
        make_tiny("VQCNIR", **SMALL, curve=str(tmp_path / "net.pth"))


def test_curve_is_a_network_of_its_own():
    assert ARCH_REGISTRY.get("IlluminationCurve") is IlluminationCurve
    assert isinstance(VQCNIR(**SMALL, norm_groups=8, codebook_size=8, code_dim=8).illumination, IlluminationCurve)
