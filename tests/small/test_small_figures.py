"""`scripts/small_figures.py`: its parts and the whole command; no test photograph was trained on."""

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import skimage.metrics
import torch

import vqcnir_arch
from vqcnir_arch import UserError
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.data.files import find_images
from vqcnir_arch.demo.scenes import TEST_SCENES
from vqcnir_arch.options import read_options

ROOT = Path(__file__).parents[2]
TRAINED_ON = ROOT / "vqcnir_arch/weights/vqcnir-s.photographs.json"
SHARED = Path(os.environ.get("VQCNIR_DATA", ROOT.parent / "shared/data"))
FREE_NIGHT = ("night", "rain", "prudential", "bulb")  # of the folder that the rest of which was trained on
SMALL = {"channels": [16, 16, 32], "fusion": {"type": ["SKFF", "SKFF", "none"]}, "skips": True, "residual": True}


@pytest.fixture
def parts(load_script):
    """Return a function that gives a part of the script as a module."""
    return lambda name: load_script(f"small_comparison.{name}")


@pytest.fixture
def small(make_tiny, tmp_path):
    """A tiny network of VQCNIR-S's kind, and its file."""
    net = make_tiny("VQCNIR", **SMALL).eval()
    torch.nn.init.normal_(net.residual_conv.weight, std=0.1)
    path = tmp_path / "small.pth"
    torch.save({"params": net.state_dict()}, path)
    return net, path


@pytest.fixture
def photographs(tmp_path):
    """Two sharp photographs, one photographed pair, two night photographs, each in a folder of its kind."""

    def write(path, image):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / path), image[..., ::-1])

    for name, image in (("coffee", skimage.data.coffee()), ("rocket", skimage.data.rocket())):
        write(tmp_path / f"sharp/{name}.png", image[100:300, 100:324])
    cat = skimage.data.chelsea()[:200, :224]
    for folder, divisor in (("low", 6), ("high", 1)):
        write(tmp_path / f"pairs/set/{folder}/cat.png", cat // divisor)
    write(tmp_path / "night/cat.png", cat // 5)
    write(tmp_path / "street.png", skimage.data.rocket()[:200, :224] // 5)
    for number, divisor in enumerate((4, 5, 6)):
        write(tmp_path / f"train/low_blur_noise/v/{number}.png", cat // divisor)
        write(tmp_path / f"train/high_sharp_scaled/v/{number}.png", cat)
    return tmp_path


def test_codes_are_shuffled_and_g_is_zero_where_the_table_says_so(parts, small):
    net, path = small
    methods = parts("methods")
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    network, *variants = methods.own_methods("S", path, with_variants=True)
    assert [method.name for method in variants] == ["S, G's features zero", "S, codes shuffled"]
    x = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    order = torch.randperm(32, generator=torch.Generator().manual_seed(methods.SHUFFLE_SEED))

    with torch.no_grad():
        features, skips = [], []
        enhanced = net.enhancer(net.encoder(x, skips))
        indices = net.quantizer(net.before_quant(enhanced)).indices
        for codes in (indices, order[indices]):
            guide = net.after_quant(net.quantizer.lookup(codes))
            features.append([guide, net.generator[0](guide), None])
        zeros = [torch.zeros_like(feature) for feature in features[0][:2]] + [None]
        expected = [
            x + net.residual_conv(net.decoder(enhanced, g, [*skips, x])) for g in (features[0], zeros, features[1])
        ]
    item = methods.Item(None, "", image, None)
    results = [method.run(item) for method in (network, *variants)]
    for result, value in zip(results, expected, strict=True):
        truth = (value[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()[..., ::-1]
        assert np.abs(result - truth).max() <= 0.51
    assert not any(np.array_equal(results[0], other) for other in results[1:])
    np.testing.assert_array_equal(network.run(item), results[0])  # nothing stays switched off


def test_network_without_fusion_has_no_codebook_to_switch_off(parts, make_tiny):
    plain = make_tiny("VQCNIR", **{**SMALL, "fusion": {"type": "none"}})
    assert parts("methods").codebook_variants(plain) == {}


def test_margins_and_verdicts(parts):
    tables = parts("tables")
    assert tables.Margins(0.2, 0.04, 0.9).misses(tables.FLOOR) == []
    assert tables.Margins(0.49, 0.06, 0.7).misses(tables.GOAL) == ["PSNR"]
    assert tables.verdict(tables.Margins(0.6, 0.03, 0.91).misses(tables.FLOOR)) == "missed: SSIM, LPIPS"


def test_gamma_is_fitted_on_pairs_from_all_over_the_folder(parts, photographs):
    training_pairs = parts("sets").training_pairs
    assert [path.name for path in training_pairs(photographs / "train", 5)[0]] == ["0.png", "1.png", "2.png"]
    inputs, truths = training_pairs(photographs / "train", 2)
    assert [path.name for path in inputs] == [path.name for path in truths] == ["0.png", "2.png"]


def test_training_photograph_is_refused(parts, photographs):
    refuse = parts("sets").refuse_overlap
    files = list(find_images(photographs / "sharp").values())
    listed = photographs / "photographs.json"
    other = {"sha256": hashlib.sha256(b"other").hexdigest(), "lightness": 0.5}
    listed.write_text(json.dumps({"other": other}))
    assert refuse(listed, files) == 2
    same = {"sha256": hashlib.sha256(files[1].read_bytes()).hexdigest(), "lightness": 0.5}
    listed.write_text(json.dumps({"other": other, "mine": same}))
    with pytest.raises(UserError, match=r"rocket.png' is the training photograph 'mine'"):
        refuse(listed, files)
    listed.write_text("[]")
    with pytest.raises(UserError, match="no list of training photographs"):
        refuse(listed, files)


def test_whole_comparison(load_script, photographs, small, lpips_files, use_hub, capsys):
    use_hub(lpips_files)
    script, out = load_script("small_figures"), photographs / "out"
    flags = ["--sharp", photographs / "sharp", "--seed", 5, "--network", f"S={small[1]}"]
    flags += ["--train-pairs", photographs / "train"]
    more = ["--pairs", photographs / "pairs", "--night", photographs / "night", photographs / "street.png"]

    def run(*arguments):
        script.main(list(map(str, arguments)))
        return capsys.readouterr().out

    page = photographs / "page.md"
    page.write_text("# Page\n<!-- figures -->\nold\n<!-- end of figures -->\nend\n")
    run(out, *flags, *more, "--show", "street", "--page", page)
    figures = json.loads((out / "figures.json").read_text())
    kinds = {name: entry["images"] for name, entry in figures["sets"].items()}
    assert kinds == {"a_0.04-0.2": 2, "a_0.02-0.04": 2, "a_0.2-0.3": 2, "ordinary": 2, "b": 1, "c": 2}
    made = figures["sets"]["a_0.04-0.2"]
    assert list(made["methods"]) == [
        "input", "one gamma", "best gamma of each image", "CLAHE", "S", "S, G's features zero", "S, codes shuffled"
    ]  # fmt: skip
    assert "S, codes shuffled" not in figures["sets"]["a_0.2-0.3"]["methods"]

    truth = cv2.imread(str(out / "a_0.04-0.2/test/high_sharp_scaled/coffee/0000.png"))
    night = cv2.imread(str(out / "a_0.04-0.2/test/low_blur_noise/coffee/0000.png"))
    restored = vqcnir_arch.restore(small[0], night[..., ::-1])[..., ::-1]
    values = made["methods"]["S"]["images"]["coffee"]
    assert values["psnr"] == pytest.approx(10 * np.log10(255**2 / np.square(truth - restored.astype(float)).mean()))
    ssim = skimage.metrics.structural_similarity(truth, restored, channel_axis=2, data_range=255)
    assert values["ssim"] == pytest.approx(ssim)
    means = {name: entry["means"]["psnr"] for name, entry in made["methods"].items()}
    assert means["best gamma of each image"] >= max(means["input"], means["one gamma"])
    assert made["margins"]["S"]["psnr"] == pytest.approx(means["S"] - means["best gamma of each image"])
    assert set(figures["sets"]["c"]["methods"]["S"]["images"]) == {"night_cat", "street"}

    table = (out / "table.md").read_text()
    assert f"| S | {parameter_count(small[0]):,} |" in table
    assert page.read_text() == f"# Page\n<!-- figures -->\n{table}<!-- end of figures -->\nend\n"
    assert "floor: +0.20 dB, +0.040, × 0.90" in table and "NIQE below the input's" in table
    sheets = {path.name for path in (out / "sheets").iterdir()}
    assert sheets == {"a_0.04-0.2.jpg", "a_0.02-0.04.jpg", "a_0.2-0.3.jpg", "b.jpg", "c.jpg", "shown.jpg"}
    assert all(path.stat().st_size < 400_000 for path in (out / "sheets").iterdir())

    # another program's results, and what was measured before
    measured = (out / "journal.jsonl").read_text().count("\n")
    lines = run(out, *flags, "--quick", "--results", f"other={out}/results/CLAHE").splitlines()
    assert [line.split(":")[0] for line in lines] == [*list(made["methods"])[:5], "other"]
    assert lines[5].removeprefix("other") == lines[3].removeprefix("CLAHE") and lines[5].endswith("(2 pairs)")
    assert (out / "journal.jsonl").read_text().count("\n") == measured + 2 * 3

    with pytest.raises(UserError, match=r"--show 'steet' is not among .*did you mean 'street'"):
        run(out, "--network", f"S={small[1]}", *more, "--only", "c", "--show", "steet")
    with pytest.raises(UserError, match=r"manifest .* was made with seed 5, not 6"):
        run(out, *flags, "--quick", "--seed", 6)


def test_bad_input_is_one_line(load_script, photographs, small, make_tiny, capsys):
    main = load_script("small_figures").main
    out, night = str(photographs / "out"), ["--night", str(photographs / "night")]
    with pytest.raises(UserError, match="name --sharp, --pairs or --night"):
        main([out])
    with pytest.raises(UserError, match=r"--night 'nigth' does not exist"):
        main([out, "--night", "nigth"])
    prior = photographs / "prior.pth"
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, prior)
    with pytest.raises(UserError, match="is a prior"):
        main([out, *night, "--network", f"S={prior}"])
    with pytest.raises(UserError, match="would have the same folder"):
        main([out, *night, "--network", f"S={small[1]}", f"S={small[1]}"])
    with pytest.raises(UserError, match="cannot be read by spandrel"):
        main([out, *night, "--rival", f"R={prior}"])
    with pytest.raises(UserError, match="has no place for tables"):
        main([out, *night, "--page", str(photographs / "page.md")])
    with pytest.raises(SystemExit):
        main([out, *night, "--network", str(small[1])])
    assert "expected NAME=PATH" in capsys.readouterr().err


@pytest.mark.parametrize(("plain", "ours"), [("plain", "vqcnir"), ("plain_refine", "refine")])
def test_network_without_codebook_is_trained_as_ours(plain, ours):
    files = [read_options(ROOT / f"options/small/train_{name}.yml") for name in (plain, ours)]
    its_own = {"channels", "codebook_size", "code_dim", "fusion", "prior", "freeze_prior"}
    networks = [{k: v for k, v in options["network_g"].items() if k not in its_own} for options in files]
    assert networks[0] == networks[1]
    length = {"total_iter", "scheduler", "alignment_opt"}  # without codes there is nothing to align
    trainings = [{k: v for k, v in options["train"].items() if k not in length} for options in files]
    assert trainings[0] == trainings[1] and files[0]["datasets"] == files[1]["datasets"]

    counts = []
    for options in files:
        network = {k: v for k, v in options["network_g"].items() if k not in ("type", "prior", "freeze_prior", "curve")}
        net = VQCNIR(**network)
        unused = [net.out_conv, *(stage for stage in net.generator if not next(stage.parameters()).requires_grad)]
        if not len(net.decoder.fusions):
            unused = [net.out_conv, net.generator, net.before_quant, net.quantizer, net.after_quant]
        counts.append(parameter_count(net) - sum(map(parameter_count, unused)))
    assert counts[0] == pytest.approx(counts[1], rel=0.02)


def parameter_count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def outside_photographs():
    """Return everything that VQCNIR-S is tested on or chosen by: the folders beside this checkout, and the demo's."""
    folders = [SHARED / name for name in ("sharp", "pairs", "night")]
    found = [path for folder in folders for path in find_images(folder).values()]
    return [*found, *(SHARED / f"open/gb82/{name}-lossless.png" for name in FREE_NIGHT)]


@pytest.mark.skipif(not TRAINED_ON.is_file(), reason="no list of the training photographs of VQCNIR-S")
class TestTrainedOn:
    def test_lists_photographs(self):
        entries = json.loads(TRAINED_ON.read_text(encoding="utf-8"))
        assert len(entries) >= 20 and all(len(entry["sha256"]) == 64 for entry in entries.values())

    def test_no_held_out_scene_of_the_demo(self, parts):
        scenes = [Path(skimage.data.__file__).with_name(f"{name}.png") for name in TEST_SCENES]
        assert parts("sets").refuse_overlap(TRAINED_ON, scenes) == len(TEST_SCENES)

    @pytest.mark.skipif(not SHARED.is_dir(), reason=f"no photographs at {SHARED} (VQCNIR_DATA names their folder)")
    def test_no_test_photograph(self, parts):
        assert parts("sets").refuse_overlap(TRAINED_ON, outside_photographs()) > 200
