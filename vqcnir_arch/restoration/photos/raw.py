"""A camera's raw data through rawpy (extra `[raw]`)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.photos.metadata import Metadata, read_metadata
from vqcnir_arch.restoration.photos.photo import Photo
from vqcnir_arch.restoration.photos.tiff_reading import tiff_metadata


def read_raw(path: Path, max_megapixels: float) -> Photo:
    """Develop raw data: 16 bit, sRGB, the camera's white balance, as bright as it was exposed, upright.

    Raises:
        UserError: rawpy is not installed, the file is larger than `max_megapixels`, or LibRaw does not read it.
    """
    try:
        import rawpy
    except ImportError as error:
        raise UserError(f"image '{path}' is camera raw, which needs rawpy: pip install 'vqcnir[raw]'") from error
    try:
        with rawpy.imread(str(path)) as raw:
            sizes = raw.sizes
            if sizes.iwidth * sizes.iheight / 1e6 > max_megapixels:
                raise UserError(
                    f"image '{path}' has {sizes.iwidth * sizes.iheight / 1e6:.0f} megapixels "
                    f"({sizes.iwidth} x {sizes.iheight}), more than --max-megapixels {max_megapixels:g}"
                )
            pixels = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,  # darkness is the network's work
                output_bps=16,
                gamma=(2.4, 12.92),  # sRGB's exponent and slope
            )
            metadata = raw_metadata(path, raw)
    except (rawpy.LibRawError, OSError) as error:
        said = error.args[0] if error.args else error
        text = said.decode() if isinstance(said, bytes) else str(said)
        raise UserError(f"image '{path}' cannot be read as a camera's raw data: {text}") from error
    rgb = pixels.astype(np.float32)
    rgb /= 65535
    return Photo(rgb, bits=16, metadata=metadata)


def raw_metadata(path: Path, raw: object) -> Metadata:
    """Return EXIF of raw data: most are TIFF files in their beginning, in the others their preview has it."""
    try:
        with path.open("rb") as handle, tifffile.TiffFile(handle) as file:
            return tiff_metadata(file, handle)
    except tifffile.TiffFileError:
        pass
    try:
        with Image.open(io.BytesIO(raw.extract_thumb().data), formats=["JPEG"]) as preview:  # type: ignore[attr-defined]
            return read_metadata(preview)[0]
    except Exception:  # no preview, or one that is no JPEG
        return Metadata(lost=("EXIF",))
