# SPDX-License-Identifier: MIT
"""Every kind of image becomes the same pixels, and every kind of damage a sentence with its row."""

from __future__ import annotations

import gc
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hypersphere.data.decode import RESIZES, ImageReader, decode_all, open_image, reader_for, threads_for
from hypersphere.data.images import usable_cores
from hypersphere.data.sources import Encoded, Rows
from pictures import encode, noise


def rows_of(images: Sequence[Encoded]) -> Rows:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Rows(
        labels, ["thing"], lambda numbers: [images[row] for row in numbers], lambda row: f"set, row {row}", "set"
    )


def file_of(image: Image.Image, kind: str = "png", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "shape", "channels"),
    [
        *((kind, (6, 5, 3), 3) for kind in ("png", "webp", "bmp", "tiff")),
        # WebP has no grey images
        *((kind, (6, 5), 1) for kind in ("png", "bmp", "tiff")),
    ],
)
def test_lossless_images_come_back_exactly(kind: str, shape: tuple[int, ...], channels: int) -> None:
    pixels = noise(300, shape)
    images = decode_all(rows_of([encode(image, kind, lossless=True) for image in pixels]), None)
    expected = np.stack(pixels).reshape(300, 6, 5, channels).transpose(0, 3, 1, 2)
    assert torch.equal(images, torch.from_numpy(expected.copy()))


def test_one_colour_image_makes_the_set_colour() -> None:
    grey, colour = noise(3, (4, 4)), noise(1, (4, 4, 3))
    images = decode_all(rows_of([encode(image) for image in [*grey, *colour]]), None)
    assert images.shape == (4, 3, 4, 4)
    assert torch.equal(images[0, 0], torch.from_numpy(grey[0]))
    assert torch.equal(images[0, 0], images[0, 2])
    assert torch.equal(images[3].permute(1, 2, 0), torch.from_numpy(colour[0]))
    assert torch.equal(decode_all(rows_of([encode(image) for image in [*colour, *grey]]), None)[[1, 2, 3, 0]], images)


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA", "CMYK"])
def test_every_8_bit_mode_is_read(mode: str) -> None:
    image = Image.fromarray(noise(1, (8, 8, 3))[0]).convert(mode)
    kind = "tiff" if mode == "CMYK" else "png"
    (pixels,) = decode_all(rows_of([file_of(image, kind)]), None)
    grey = mode in ("1", "LA")
    expected = np.asarray(image.convert("L" if grey else "RGB"))
    assert torch.equal(pixels[0] if grey else pixels.permute(1, 2, 0), torch.from_numpy(expected.copy()))


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    image = Image.fromarray(noise(1, (8, 8, 3))[0]).quantize(16)
    (pixels,) = decode_all(rows_of([file_of(image, transparency=bytes(range(16)))]), None)
    assert torch.equal(pixels.permute(1, 2, 0), torch.from_numpy(np.asarray(image.convert("RGB")).copy()))


def test_a_photograph_taken_sideways_is_turned() -> None:
    image = Image.new("RGB", (8, 4), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(file_of(image, "jpeg", exif=exif), None).size == (4, 8)


def test_images_are_cropped_and_resized_to_the_size_asked_for() -> None:
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 200
    tall = np.full((40, 10, 3), 100, dtype=np.uint8)
    images = decode_all(rows_of([encode(wide), encode(tall), encode(wide[:, 10:20])]), 10)
    assert images.shape == (3, 3, 10, 10)
    assert torch.equal(images[0], torch.full((3, 10, 10), 200, dtype=torch.uint8))
    assert torch.equal(images[1], torch.full((3, 10, 10), 100, dtype=torch.uint8))
    assert torch.equal(images[2], images[0])


def test_a_part_that_has_the_size_is_cut_and_not_resampled() -> None:
    for shape, size, part in (
        ((112, 112, 3), [112, 96], (slice(0, 112), slice(8, 104))),
        ((112, 112, 3), [90, 112], (slice(11, 101), slice(0, 112))),
        ((9, 5, 3), [5, 5], (slice(2, 7), slice(0, 5))),
    ):
        (image,) = noise(1, shape)
        (pixels,) = decode_all(rows_of([encode(image)]), size)
        assert torch.equal(pixels.permute(1, 2, 0), torch.from_numpy(image[part].copy()))


def test_the_largest_part_of_the_aspect_is_taken_or_all_of_the_image() -> None:
    # bands of 10, 40 and 10 columns; of 40x60 the middle 40x20 has the aspect of 10x5
    image = np.repeat(np.array([10, 100, 200], dtype=np.uint8), [10, 40, 10])[None].repeat(40, 0)
    (narrow,) = decode_all(rows_of([encode(image)]), [10, 5])
    assert torch.equal(narrow, torch.full((1, 10, 5), 100, dtype=torch.uint8))
    (whole,) = decode_all(rows_of([encode(image)]), [10, 6], resize="squeeze")
    assert whole.shape == (1, 10, 6)
    assert (whole[0, :, 0] < 50).all()
    assert (whole[0, :, 5] > 150).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_can_be_resized(mode: str) -> None:
    image = Image.fromarray(noise(1, (9, 12, 3))[0]).convert(mode)
    assert decode_all(rows_of([file_of(image)]), 5).shape[2:] == (5, 5)


def truncated() -> bytes:
    return encode(noise(1, (64, 64, 3))[0])[:5000]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, r"set, row 1: there is no image\."),
        (b"", r"set, row 1: there is no image\."),
        (b"no image at all", r"set, row 1: the image cannot be decoded \(its format is not known\)\."),
        (truncated(), r"set, row 1: the image cannot be decoded \(.*\)\."),
        (Path("nowhere.png"), r"set, row 1: the image cannot be decoded \(.*No such file or directory.*\)\."),
        (
            encode(noise(1, (64, 60, 3))[0]),
            r"set, row 1: the image is 60x64 pixels, the first one is 64x64; set data.size",
        ),
        (
            file_of(Image.new("I;16", (64, 64))),
            r"set, row 1: the image has pixels of mode 'I;16'; save it as 8-bit grey or RGB\.",
        ),
    ],
    ids=["none", "empty", "no image", "truncated", "no file", "other size", "16 bits"],
)
def test_a_bad_image_is_told_with_its_row(image: Encoded, message: str) -> None:
    good = encode(noise(1, (64, 64, 3))[0])
    rows = rows_of([good, image, good])
    with pytest.raises(ValueError, match=message):
        decode_all(rows, None)
    with pytest.raises(ValueError, match=message):
        ImageReader((3, 64, 64), None).read_rows(rows, np.arange(3))
    with pytest.raises(ValueError, match=message):
        reader_for(rows, None)


def test_all_bad_images_are_counted() -> None:
    images: list[Encoded] = [b"bad", *[encode(image) for image in noise(600)]]
    images[17] = images[599] = None
    with pytest.raises(ValueError, match=r"set, row 0: .*; 2 more images of set cannot be used\."):
        decode_all(rows_of(images), None)


def test_a_set_of_bad_images_tells_the_first() -> None:
    with pytest.raises(ValueError, match=r"set, row 0: there is no image\."):
        decode_all(rows_of([None, None]), None)


def test_a_streamed_set_is_colour_if_a_sampled_image_is() -> None:
    grey, colour = encode(noise(1, (4, 4))[0]), encode(noise(1)[0])
    assert reader_for(rows_of([grey, grey]), None).shape == (1, 4, 4)
    reader = reader_for(rows_of([grey, grey, colour]), None)
    assert reader.shape == (3, 4, 4)
    assert reader.read_rows(rows_of([grey, colour]), np.array([1, 0])).shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"set, row 0: the image is in colour, the first ones are grey"):
        ImageReader((1, 4, 4), None).read_rows(rows_of([colour]), np.array([0]))


def test_tiny_images_are_decoded_by_one_thread() -> None:
    assert threads_for((3, 32, 32)) == 1
    assert threads_for((3, 224, 224)) == usable_cores()


def test_a_squeezed_image_keeps_its_edges() -> None:
    # left third red, right third blue: the largest square in the middle has neither, the squeezed image both
    wide = np.zeros((8, 24, 3), dtype=np.uint8)
    wide[:, :8, 0] = wide[:, 8:16, 1] = wide[:, 16:, 2] = 255
    cropped, squeezed = (np.asarray(open_image(encode(wide), 6, resize)) for resize in ("crop", "squeeze"))
    assert cropped.shape == squeezed.shape == (6, 6, 3)
    # but for what the filter takes from beyond the edge
    assert (cropped[:, 1:-1] == [0, 255, 0]).all()
    assert squeezed[3, :, :].argmax(-1).tolist() == [0, 0, 1, 1, 2, 2]
    reader = reader_for(rows_of([encode(wide)]), 6, resize="squeeze")
    assert np.array_equal(reader.read(encode(wide)), squeezed.transpose(2, 0, 1))
    assert np.array_equal(decode_all(rows_of([encode(wide)]), 6, resize="squeeze")[0], squeezed.transpose(2, 0, 1))
    assert list(RESIZES) == ["crop", "squeeze"]


def test_a_damaged_file_is_closed(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(truncated())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=r"the image cannot be decoded"):
            open_image(tmp_path / "cut.png", None)
        gc.collect()
    assert not caught
