"""Odd and broken images: read as what they show, or refused by name."""

import pytest
import skimage.data
from odd_images import READABLE, REFUSED, assert_shows, write_odd

from vqcnir_arch import UserError
from vqcnir_arch.data.files import read_image

PHOTO = skimage.data.chelsea()[:64, :96].copy()


@pytest.mark.parametrize("name", READABLE)
def test_shown(name, tmp_path):
    assert_shows(name, PHOTO, read_image(write_odd(name, PHOTO, tmp_path / "a"))[..., ::-1])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    path = write_odd(name, PHOTO, tmp_path / "a")
    with pytest.raises(UserError, match=f"^image '{path}' cannot be read: .*"):
        read_image(path)
