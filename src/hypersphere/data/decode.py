# SPDX-License-Identifier: MIT
"""From encoded images to uint8 tensors: in parallel, all of one shape, and with every problem told by row."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from hypersphere.config.sizes import sides
from hypersphere.data.extras import needed_for
from hypersphere.data.images import usable_cores
from hypersphere.data.sources import Encoded, Rows, one_line

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["RESIZES", "ImageReader", "decode_all", "is_grey", "open_image", "pixels_of", "reader_for", "threads_for"]

RESIZES: dict[str, str] = {
    "crop": "the largest part in the middle that has the new aspect (of a square the shorter side), resized",
    "squeeze": "the whole image, its height and width resized apart from each other",
}

_GREY = ("1", "L", "LA", "La")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
# rows that a thread takes at a time, and rows that stand for all of a set that is too big to be decoded first
_CHUNK = 256
_SAMPLE = 256
# pixels of an image below which Python's own work, which only one thread can do at a time, outweighs the decoding
_THREADS_FROM = 64 * 64


@dataclass(frozen=True)
class ImageReader:
    """Decodes images to one shape.

    Args:
        shape: (channels, height, width) of every image; one channel is grey, three are RGB.
        size: None to refuse images of another height or width, or what each is brought to (bicubic): one number for a
            square, or [height, width].
        resize: a key of `RESIZES`: what of an image of another aspect is brought to that size.
    """

    shape: tuple[int, int, int]
    size: int | Sequence[int] | None
    resize: str = "crop"

    def read(self, encoded: Encoded) -> np.ndarray:
        """One image as (C, H, W) uint8.

        Raises:
            ValueError: saying what is wrong with it, the row left to the caller.
        """
        channels = self.shape[0]
        image = open_image(encoded, self.size, self.resize)
        self.check_size(image)
        if channels == 1 and not is_grey(image):
            raise _ColourFoundError("the image is in colour, the first ones are grey; save them all in one mode")
        return pixels_of(image, channels)

    def check_size(self, image: Image.Image) -> None:
        """Raise ValueError unless `image` has the height and width of the set."""
        _, height, width = self.shape
        if (image.width, image.height) != (width, height):
            raise ValueError(
                f"the image is {image.width}x{image.height} pixels, the first one is {width}x{height}; "
                "set data.size to crop and resize all to one size"
            )

    def read_rows(self, rows: Rows, numbers: np.ndarray) -> UInt8[Tensor, "N C H W"]:
        """The images of these rows.

        Raises:
            ValueError: naming the first row whose image cannot be used.
        """
        images = np.empty((len(numbers), *self.shape), dtype=np.uint8)
        for place, (number, encoded) in enumerate(zip(numbers.tolist(), rows.encoded(numbers.tolist()), strict=True)):
            try:
                images[place] = self.read(encoded)
            except ValueError as error:
                raise ValueError(f"{rows.where(number)}: {error}.") from error
        return torch.from_numpy(images)


class _ColourFoundError(ValueError):
    """A colour image in a set that looked grey."""


def open_image(encoded: Encoded, size: int | Sequence[int] | None, resize: str = "crop") -> Image.Image:
    """A decoded Pillow image, upright, brought to `size` if it is given; ValueError if it cannot be used."""
    with needed_for("decoding images"):
        from PIL import Image, ImageOps, UnidentifiedImageError
    if not encoded:
        raise ValueError("there is no image")
    wanted = None if size is None else sides("data", "size", size)[::-1]
    try:
        # read at once: of a file that is damaged Pillow leaves its own open
        content = encoded if isinstance(encoded, bytes) else encoded.read_bytes()
        image: Image.Image = Image.open(io.BytesIO(content))
        image.load()
        if "exif" in image.info:
            image = ImageOps.exif_transpose(image)
        if image.mode in _GREY + _COLOUR and wanted is not None and image.size != wanted:
            if image.mode in ("1", "P", "PA"):
                image = image.convert("L" if image.mode == "1" else "RGBA")
            bicubic = Image.Resampling.BICUBIC
            if resize == "squeeze":
                image = image.resize(wanted, bicubic)
            else:
                part = _middle(image.size, wanted)
                image = image.crop(part) if part is not None else ImageOps.fit(image, wanted, bicubic)
    except UnidentifiedImageError as error:
        # whose own words name a place in memory, other ones each time
        what = "its format is not known" if content else "the file is empty"
        raise ValueError(f"the image cannot be decoded ({what})") from error
    # a decoder of a damaged file may raise anything
    except Exception as error:
        raise ValueError(f"the image cannot be decoded ({one_line(error)})") from error
    if image.mode not in _GREY + _COLOUR:
        raise ValueError(f"the image has pixels of mode {image.mode!r}; save it as 8-bit grey or RGB")
    return image


def _middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The box in the middle that already has the wanted size, so that its pixels stay as they are; None elsewhere."""
    spare = [have - want for have, want in zip(size, wanted, strict=True)]
    # one side fits, and as much goes from both ends of the other
    if min(spare) != 0 or max(spare) % 2:
        return None
    left, top = spare[0] // 2, spare[1] // 2
    return left, top, left + wanted[0], top + wanted[1]


def pixels_of(image: Image.Image, channels: int) -> np.ndarray:
    """Pixels (C, H, W) uint8 of a decoded image, as one grey channel or as three of RGB."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        # colours of a palette may carry their own transparency
        image = image.convert("RGBA") if "transparency" in image.info else image
        image = image.convert(mode)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def is_grey(image: Image.Image) -> bool:
    """Whether an image has one channel, besides transparency."""
    return image.mode in _GREY


def reader_for(rows: Rows, size: int | Sequence[int] | None, *, resize: str = "crop") -> ImageReader:
    """The reader for a set that is not decoded first: shape of its first image, colour unless all of a sample are grey.

    Raises:
        ValueError: if one of the sampled images, spread evenly over the rows, cannot be used.
    """
    channels, height, width = _first_shape(rows, size, resize)
    reader = ImageReader((channels, height, width), size, resize)
    numbers = np.unique(np.linspace(0, len(rows.labels) - 1, _SAMPLE).astype(np.int64)).tolist()
    for number, encoded in zip(numbers, rows.encoded(numbers), strict=True):
        try:
            image = open_image(encoded, size, resize)
            reader.check_size(image)
        except ValueError as error:
            raise ValueError(f"{rows.where(number)}: {error}.") from error
        channels = channels if is_grey(image) else 3
    return ImageReader((channels, height, width), size, resize)


def threads_for(shape: tuple[int, int, int]) -> int:
    """How many threads decode images of this shape fastest: one for tiny images, one for each core otherwise."""
    return usable_cores() if shape[1] * shape[2] >= _THREADS_FROM else 1


def decode_all(
    rows: Rows, size: int | Sequence[int] | None, *, resize: str = "crop", channels: int | None = None
) -> UInt8[Tensor, "N C H W"]:
    """Every image of a set, decoded in parallel.

    A set is grey if all its images are; one colour image makes all of them RGB.

    Args:
        rows: at least one row.
        size: as in `ImageReader`.
        resize: likewise.
        channels: 1 or 3, or None to look.

    Raises:
        ValueError: naming file and row of the first image that cannot be used, and how many more there are.
    """
    first = _first_shape(rows, size, resize)
    reader = ImageReader((channels or first[0], *first[1:]), size, resize)
    num = len(rows.labels)
    images = np.empty((num, *reader.shape), dtype=np.uint8)

    def fill(start: int) -> list[tuple[int, ValueError]]:
        wrong = []
        chunk = range(start, min(start + _CHUNK, num))
        for number, encoded in zip(chunk, rows.encoded(chunk), strict=True):
            try:
                images[number] = reader.read(encoded)
            except ValueError as error:
                wrong.append((number, error))
        return wrong

    with ThreadPoolExecutor(threads_for(reader.shape)) as pool:
        wrong = [found for chunk in pool.map(fill, range(0, num, _CHUNK)) for found in chunk]
    if wrong and all(isinstance(error, _ColourFoundError) for _, error in wrong):
        return decode_all(rows, size, resize=resize, channels=3)
    wrong = [found for found in wrong if not isinstance(found[1], _ColourFoundError)]
    if wrong:
        number, error = wrong[0]
        more = f"; {len(wrong) - 1} more images of {rows.title} cannot be used" if len(wrong) > 1 else ""
        raise ValueError(f"{rows.where(number)}: {error}{more}.") from error
    return torch.from_numpy(images)


def _first_shape(rows: Rows, size: int | Sequence[int] | None, resize: str) -> tuple[int, int, int]:
    """(channels, height, width) of the first image that can be opened: a bad first one is reported with the rest."""
    problem = None
    for number in range(len(rows.labels)):
        (encoded,) = rows.encoded([number])
        try:
            image = open_image(encoded, size, resize)
        except ValueError as error:
            problem = problem or ValueError(f"{rows.where(number)}: {error}.")
            continue
        return (1 if is_grey(image) else 3, image.height, image.width)
    raise problem or ValueError(f"{rows.title}: there are no images.")
