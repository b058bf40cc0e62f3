"""Photographs of any kind, read as float RGB with all that their files say, and written as files of the same kind."""

from vqcnir_arch.restoration.photos.formats import format_of, written_ending
from vqcnir_arch.restoration.photos.metadata import Metadata
from vqcnir_arch.restoration.photos.photo import Photo, resized
from vqcnir_arch.restoration.photos.reading import UPRIGHT, processed_by, read_photo
from vqcnir_arch.restoration.photos.writing import note, write_photo

__all__ = [
    "UPRIGHT",
    "Metadata",
    "Photo",
    "format_of",
    "note",
    "processed_by",
    "read_photo",
    "resized",
    "write_photo",
    "written_ending",
]
