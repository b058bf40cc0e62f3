"""LOLBlurDataset and the making of LOL-Blur-like pairs, on scikit-image's photos."""

import logging
import random

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from skimage import data as photos
from torch.utils.data import DataLoader

from vqcnir_arch import UserError
from vqcnir_arch.data import LOLBlurDataset, night_blur_pair, write_lolblur
from vqcnir_arch.registry import DATASET_REGISTRY, lookup

WIDTH, HEIGHT = 96, 64
FRAMES = ("0000/0030", "0000/0031", "0001/0030", "0001/0031")


def photo(name, width=320, height=208):
    return cv2.resize(getattr(photos, name)(), (width, height), interpolation=cv2.INTER_AREA)


def make(root, split="test"):
    for seed, (frame, name) in enumerate(zip(FRAMES, ("chelsea", "coffee", "rocket", "astronaut"), strict=True)):
        pair = night_blur_pair(photo(name, WIDTH, HEIGHT), np.random.default_rng(seed))
        write_lolblur(root, split, *frame.split("/"), pair)
    return root


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory):
    """One data set for the tests that only read."""
    root = tmp_path_factory.mktemp("lolblur")
    make(root, "train")
    return make(root, "test")


@pytest.fixture
def root(tmp_path):
    """A data set that the test may break."""
    return make(tmp_path)


def options(root, phase="test", **more):
    return {"name": "Night", "type": "LOLBlurDataset", "dataroot": str(root), "phase": phase, **more}


def refusal(root, phase="test", **more):
    """The one line with which the data set is refused."""
    with pytest.raises(UserError) as caught:
        LOLBlurDataset(options(root, phase, **more))
    message = str(caught.value)
    assert "\n" not in message
    return message


def read_rgb(path):
    return cv2.imread(str(path))[..., ::-1] / np.float32(255)


# LOLBlurDataset: what it gives


def test_registered():
    assert lookup(DATASET_REGISTRY, "LOLBlurDataset") is LOLBlurDataset


def test_sample(shared_root):
    dataset = LOLBlurDataset(options(shared_root))
    assert [dataset[i]["name"] for i in range(len(dataset))] == list(FRAMES)
    sample = dataset[2]
    assert sample["lq_path"] == str(shared_root / "test/low_blur_noise/0001/0030.png")
    assert sample["gt_path"] == str(shared_root / "test/high_sharp_scaled/0001/0030.png")
    for key in ("lq", "gt"):
        assert sample[key].shape == (3, HEIGHT, WIDTH)
        assert sample[key].dtype == torch.float32
        np.testing.assert_array_equal(sample[key].permute(1, 2, 0), read_rgb(sample[f"{key}_path"]))


def test_folders_by_option(shared_root):
    dataset = LOLBlurDataset(options(shared_root, lq_folder="low_blur", gt_folder="high_sharp_original"))
    assert dataset[0]["lq_path"] == str(shared_root / "test/low_blur/0000/0030.png")
    expected = photo("chelsea", WIDTH, HEIGHT) / np.float32(255)
    np.testing.assert_array_equal(dataset[0]["gt"].permute(1, 2, 0), expected)


@pytest.mark.parametrize(("phase", "split"), [("train", "train"), ("val", "test"), ("test", "test")])
def test_split_follows_phase(shared_root, phase, split):
    dataset = LOLBlurDataset(options(shared_root, phase, gt_size=32))
    assert dataset[0]["lq_path"].startswith(str(shared_root / split))


@pytest.mark.parametrize("split", ["", "."])
def test_no_split_level(shared_root, split):
    assert len(LOLBlurDataset(options(shared_root / "test", split=split))) == 4


def test_no_ground_truth(shared_root):
    dataset = LOLBlurDataset(options(shared_root, gt_folder=None))
    assert set(dataset[0]) == {"lq", "lq_path", "name"}


def test_home_folder(shared_root, monkeypatch):
    monkeypatch.setenv("HOME", str(shared_root.parent))
    assert len(LOLBlurDataset(options(f"~/{shared_root.name}"))) == 4


def test_some_frames(shared_root):
    dataset = LOLBlurDataset(options(shared_root, every_nth=2, max_frames=1))
    assert dataset.names == ["0000/0030"]
    assert LOLBlurDataset(options(shared_root, every_nth=2)).names == ["0000/0030", "0001/0030"]


def test_training_crop(shared_root):
    """Crop, flips and turns are the same in input and ground truth, random, and repeatable."""
    opt = options(shared_root, "train", gt_size=48, lq_folder="high_sharp_original", gt_folder="high_sharp_original")
    dataset = LOLBlurDataset(opt)
    random.seed(0)
    crops = [dataset[0] for _ in range(8)]
    for sample in crops:
        assert sample["gt"].shape == (3, 48, 48)
        assert torch.equal(sample["lq"], sample["gt"])
    assert not torch.equal(crops[0]["lq"], crops[1]["lq"])
    random.seed(0)
    assert torch.equal(dataset[0]["lq"], crops[0]["lq"])


def test_training_without_augmentation(shared_root):
    opt = options(shared_root, "train", gt_size=HEIGHT, use_hflip=False, use_rot=False)
    sample = LOLBlurDataset(opt)[0]
    full = torch.from_numpy(read_rgb(sample["gt_path"]).transpose(2, 0, 1).copy())
    assert any(torch.equal(sample["gt"], full[..., x : x + HEIGHT]) for x in range(WIDTH - HEIGHT + 1))


def test_any_ending_and_depth(tmp_path):
    image = photo("coffee", WIDTH, HEIGHT)
    for folder, ending in (("low_blur_noise", ".PNG"), ("high_sharp_scaled", ".jpg")):
        path = tmp_path / "test" / folder / "a.b/c" / f"0.5{ending}"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), image)
        (path.parent / "._0.5.png").write_text("another system's leftover")
        (path.parent / "notes.txt").write_text("no image")
    assert LOLBlurDataset(options(tmp_path)).names == ["a.b/c/0.5"]


@pytest.mark.parametrize("kind", ["grey", "alpha", "16 bit", "16 bit grey"])
def test_unusual_images(root, kind):
    path = root / "test/low_blur_noise/0000/0030.png"
    image = cv2.imread(str(path))
    grey = image[..., 1]
    alpha = np.dstack([image, np.zeros_like(grey)])
    wide = image.astype(np.uint16) * 257
    cv2.imwrite(str(path), {"grey": grey, "alpha": alpha, "16 bit": wide, "16 bit grey": wide[..., 1]}[kind])
    expected = np.dstack([grey] * 3) if "grey" in kind else image[..., ::-1]
    lq = LOLBlurDataset(options(root))[0]["lq"]
    np.testing.assert_array_equal(lq.permute(1, 2, 0), expected / np.float32(255))


def test_log_line(shared_root, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
    with caplog.at_level(logging.INFO, "basicsr"):
        LOLBlurDataset(options(shared_root, max_frames=3))
    assert "3 of 4 frames" in caplog.text
    assert "low_blur_noise -> high_sharp_scaled" in caplog.text


# LOLBlurDataset: what it refuses


def test_unknown_option(shared_root):
    assert "no option 'gt_foldr' (did you mean 'gt_folder'?)" in refusal(shared_root, gt_foldr="x")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"io_backend": {"type": "hdf5"}}, "io_backend: type: input should be 'disk' or 'lmdb', got 'hdf5'"),
        ({"scale": 2}, "scale: input should be 1, got 2"),
        ({"every_nth": 0}, "every_nth: input should be greater than 0, got 0"),
        ({"gt_size": "large"}, "gt_size: "),
        ({"phase": "training"}, "phase: input should be 'train', 'val' or 'test', got 'training'"),
    ],
)
def test_wrong_value(shared_root, more, expected):
    assert expected in refusal(shared_root, **more)


def test_missing_dataroot():
    with pytest.raises(UserError, match="dataroot is missing"):
        LOLBlurDataset({"name": "Night"})


def test_training_needs_crop_and_ground_truth(shared_root):
    assert "gt_size is missing" in refusal(shared_root, "train")
    assert "gt_folder is ~" in refusal(shared_root, "train", gt_size=32, gt_folder=None)


def test_missing_folders(shared_root):
    wrong = shared_root.with_name(shared_root.name[:-1])
    assert f"dataroot '{wrong}' does not exist (did you mean '{shared_root.name}'?)" in refusal(wrong)
    assert "split '" in refusal(shared_root, split="tset")
    assert "(did you mean 'test'?)" in refusal(shared_root, split="tset")
    assert "(did you mean 'low_blur_noise'?)" in refusal(shared_root, lq_folder="low_blur_nois")
    assert "gt_folder '" in refusal(shared_root, gt_folder="high_sharp")
    assert "dataroot '/nowhere/at/all' does not exist" in refusal("/nowhere/at/all")


def test_file_in_place_of_folder(root):
    (root / "test/low").write_text("")
    assert "is a file, expected a folder" in refusal(root, lq_folder="low")


def test_empty_folder(root):
    (root / "test/empty/0000").mkdir(parents=True)
    assert "has no images (looked for .png, " in refusal(root, lq_folder="empty")


def test_pairs_that_lack_a_partner(root):
    scaled = root / "test/high_sharp_scaled"
    for frame in ("0030", "0031"):
        (scaled / f"0000/{frame}.png").rename(scaled / f"0000/1{frame}.png")
    (scaled / "0001/0030.png").unlink()
    (scaled / "0001/0031.png").unlink()
    message = refusal(root)
    assert "4 inputs and 2 ground truths do not pair" in message
    assert "4 without ground truth (0000/0030, 0000/0031, 0001/0030, ...)" in message
    assert "2 without input (0000/10030, 0000/10031)" in message


def test_same_frame_in_other_video_is_no_pair(root):
    (root / "test/high_sharp_scaled/0001").rename(root / "test/high_sharp_scaled/0002")
    assert "2 without ground truth (0001/0030, 0001/0031); 2 without input (0002/0030, 0002/0031)" in refusal(root)


def test_two_endings_of_one_name(root):
    folder = root / "test/low_blur_noise/0000"
    (folder / "0030.jpg").write_bytes((folder / "0030.png").read_bytes())
    assert "differ only in their ending" in refusal(root)


@pytest.mark.parametrize("content", ["empty", "truncated", "text", "gone"])
def test_unreadable_image(root, content):
    dataset = LOLBlurDataset(options(root))
    path = root / "test/high_sharp_scaled/0000/0030.png"
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"no image", "gone": b""}[content])
    if content == "gone":
        path.unlink()
    with pytest.raises(UserError, match=f"image '{path}' cannot be read"):
        dataset[0]


def test_sizes_of_a_pair_differ(root):
    path = root / "test/high_sharp_scaled/0000/0030.png"
    cv2.imwrite(str(path), cv2.imread(str(path))[:-1])
    with pytest.raises(
        UserError, match=r"low_blur_noise/0000/0030.png' is 96 x 64, '.*scaled/0000/0030.png' is 96 x 63"
    ):
        LOLBlurDataset(options(root))[0]


def test_crop_larger_than_image(shared_root):
    dataset = LOLBlurDataset(options(shared_root, "train", gt_size=65))
    with pytest.raises(UserError, match=r"image '.*0030.png' is 96 x 64, smaller than gt_size 65"):
        dataset[0]


# LOLBlurDataset inside BasicSR and PyTorch


def test_basicsr_builds_it(shared_root):
    opt = options(
        shared_root, "train", gt_size=32, use_hflip=True, use_rot=True, scale=1, io_backend={"type": "disk"},
        use_shuffle=True, num_worker_per_gpu=0, batch_size_per_gpu=2, dataset_enlarge_ratio=3, prefetch_mode=None,
        pin_memory=False, persistent_workers=False, num_prefetch_queue=2,
    )  # fmt: skip
    dataset = build_dataset(opt)
    loader = build_dataloader(dataset, opt, num_gpu=0, sampler=EnlargedSampler(dataset, 1, 0, 3), seed=0)
    batches = list(loader)
    assert len(batches) == 6
    assert batches[0]["lq"].shape == batches[0]["gt"].shape == (2, 3, 32, 32)
    assert loader.dataset.opt["name"] == "Night"

    validation = build_dataloader(build_dataset(options(shared_root, "val")), options(shared_root, "val"))
    assert [sample["name"] for sample in validation] == [[name] for name in FRAMES]


def test_links_that_loop_are_followed_once(root):
    for folder in ("low_blur_noise", "high_sharp_scaled"):
        (root / "test" / folder / "again").symlink_to(".")
        (root / "test" / folder / "0000/up").symlink_to("../..")
    assert LOLBlurDataset(options(root)).names == list(FRAMES)


def test_spawned_workers(root):
    dataset = LOLBlurDataset(options(root))
    path = root / "test/low_blur_noise/0001/0031.png"
    path.write_bytes(b"")
    loader = iter(DataLoader(dataset, num_workers=2, multiprocessing_context="spawn"))
    for _ in range(3):
        sample = next(loader)
        assert torch.equal(sample["lq"][0], dataset[FRAMES.index(sample["name"][0])]["lq"])
    with pytest.raises(UserError, match=f"UserError: image '{path}' cannot be read"):
        next(loader)


def test_frames_of_several_roots_with_thumbnails(tmp_path):
    for root, value in (("night", 40), ("day", 200)):
        for side in ("low_blur_noise", "high_sharp_scaled"):
            folder = tmp_path / root / "train" / side / "v"
            folder.mkdir(parents=True)
            image = np.full((24, 32, 3), value, np.uint8)
            image[:, 16:] //= 2
            cv2.imwrite(str(folder / "0.png"), image)
    options = {"type": "LOLBlurDataset", "phase": "train", "gt_size": 8, "thumbnail": 16, "scale": 1}
    roots = [str(tmp_path / "night"), str(tmp_path / "day")]
    dataset = LOLBlurDataset({**options, "dataroot": roots})
    assert dataset.names == ["night/v/0", "day/v/0"]
    sample = dataset[1]
    assert sample["lq"].shape == (3, 8, 8)
    assert sample["lq_small"].shape == (3, 16, 16)
    assert sample["lq_small"].mean().item() == pytest.approx(150 / 255, abs=1e-3)  # of the whole frame
    with pytest.raises(UserError, match="two folders of the same name"):
        LOLBlurDataset({**options, "dataroot": [roots[0], roots[0]]})
