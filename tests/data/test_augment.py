# SPDX-License-Identifier: MIT
"""Crops and flips against a loop over samples with numpy's own padding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.data import augment, center_crop, normalize_pixels

NUMPY_MODE = {"zero": "constant", "symmetric": "symmetric"}


def pictures(num: int, channels: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (num, channels, height, width), generator=generator(9)).to(torch.uint8)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_crop(image: np.ndarray, padding: int, mode: str) -> dict[tuple[int, int, bool], np.ndarray]:
    """All that can become of one image: offset down, offset right, mirrored."""
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode=NUMPY_MODE[mode])
    span = range(2 * padding + 1)
    crops = {}
    for y, x, mirrored in itertools.product(span, span, (False, True)):
        crop = padded[:, y : y + height, x : x + width]
        crops[y, x, mirrored] = crop[..., ::-1] if mirrored else crop
    return crops


@given(
    shape=st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(2, 6), st.integers(2, 6)),
    padding=st.integers(0, 2),
    mode=st.sampled_from(["zero", "symmetric"]),
    flip=st.booleans(),
    seed=st.integers(0, 100),
)
def test_each_sample_is_one_of_the_crops_that_numpy_makes(
    shape: tuple[int, int, int, int], padding: int, mode: str, flip: bool, seed: int
) -> None:
    images = pictures(*shape)
    result = augment(images, padding=padding, padding_mode=mode, flip=flip, generator=generator(seed))
    assert result.dtype == torch.uint8
    assert result.shape == images.shape
    for before, after in zip(images.numpy(), result.numpy(), strict=True):
        crops = every_crop(before, padding, mode)
        allowed = [crop for (_, _, mirrored), crop in crops.items() if flip or not mirrored]
        assert any(np.array_equal(after, crop) for crop in allowed)


@pytest.mark.parametrize("mode", ["zero", "symmetric"])
def test_every_offset_and_flip_is_equally_likely(mode: str) -> None:
    num, padding = 20_000, 2
    # one picture of distinct pixels many times: each result tells its offset
    image = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8)
    result = augment(
        image.expand(num, -1, -1, -1), padding=padding, padding_mode=mode, flip=True, generator=generator(0)
    )
    keys = {crop.tobytes(): key for key, crop in every_crop(image[0].numpy(), padding, mode).items()}
    counts = dict.fromkeys(keys.values(), 0)
    for crop in result.numpy():
        counts[keys[crop.tobytes()]] += 1
    expected = num / len(counts)
    assert len(counts) == 50
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    # 49 degrees of freedom: beyond 100 once in 25 000 seeds
    assert chi_squared < 100


def test_the_same_generator_state_gives_the_same_images() -> None:
    images = pictures(16, 3, 8, 8)
    first, second, other = (augment(images, padding=3, flip=True, generator=generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_samples_get_offsets_of_their_own() -> None:
    image = pictures(1, 1, 8, 8).expand(64, -1, -1, -1)
    result = augment(image, padding=4, padding_mode="symmetric", generator=generator(0))
    assert len({crop.numpy().tobytes() for crop in result}) > 30


def test_nothing_to_do_returns_the_images_themselves() -> None:
    images = pictures(2, 3, 4, 4)
    assert augment(images, generator=generator(0)) is images


def test_the_images_given_stay_as_they_are() -> None:
    images = pictures(4, 3, 4, 4)
    before = images.clone()
    augment(images, padding=1, flip=True, generator=generator(0))
    assert torch.equal(images, before)


def test_a_batch_may_be_empty_or_not_contiguous() -> None:
    assert augment(pictures(0, 3, 4, 4), padding=1, flip=True, generator=generator(0)).shape == (0, 3, 4, 4)
    images = pictures(4, 3, 4, 4)
    turned = images.to(memory_format=torch.channels_last)
    results = [augment(batch, padding=1, flip=True, generator=generator(0)) for batch in (images, turned)]
    assert torch.equal(*results)


@pytest.mark.parametrize(
    ("images", "settings", "error", "message"),
    [
        (torch.zeros(2, 3, 4, 4), {}, TypeError, r"augment: expected images of dtype torch.uint8, got torch.float32."),
        (pictures(1, 3, 4, 4)[0], {}, ValueError, r"augment: expected images \(N, C, H, W\), got shape \(3, 4, 4\)."),
        (pictures(1, 3, 4, 4), {"padding": -1}, ValueError, r"augment: padding must lie in \[0, inf\], got -1."),
        (
            pictures(1, 3, 4, 4),
            {"padding_mode": "symetric"},
            ValueError,
            r"unknown padding_mode 'symetric': choose symmetric, zero \(did you mean 'symmetric'\?\)",
        ),
        (
            pictures(1, 3, 4, 5),
            {"padding": 5, "padding_mode": "symmetric"},
            ValueError,
            r"padding must be at most the image size 4x5 in mode 'symmetric', got 5.",
        ),
    ],
)
def test_what_cannot_be_augmented_is_refused(
    images: torch.Tensor, settings: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        augment(images, **settings, generator=generator(0))


def test_normalized_pixels_are_shifted_and_scaled() -> None:
    images = pictures(2, 3, 4, 4)
    result = normalize_pixels(images, [127.5], [128.0])
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, ((images.double() - 127.5) / 128).float(), rtol=0, atol=1e-7)
    mean, std = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    expected = (images.double() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(normalize_pixels(images, mean, std), expected.float())


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([1.0, 2.0], [1.0], r"normalize_pixels: expected mean of one number or 3 for 3 channels, got \[1.0, 2.0\]."),
        ([1.0], [], r"normalize_pixels: expected std of one number or 3 for 3 channels, got \[\]."),
        ([1.0], [1.0, 0.0, 1.0], r"normalize_pixels: std must be positive, got \[1.0, 0.0, 1.0\]."),
    ],
)
def test_wrong_statistics_are_refused(mean: list[float], std: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalize_pixels(pictures(1, 3, 2, 2), mean, std)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("shape", [(5, 5), (4, 6), (3, 5)])
def test_a_smaller_part_comes_from_every_place_alike(shape: tuple[int, int], padding: int) -> None:
    image = pictures(1, 3, *shape)
    num = 6000
    parts = augment(image.expand(num, -1, -1, -1), padding=padding, crop=3, flip=True, generator=generator(1)).numpy()
    padded = np.pad(image[0].numpy(), ((0, 0), (padding, padding), (padding, padding)))
    places = [
        padded[:, y : y + 3, x : x + 3][..., ::step]
        for y in range(padded.shape[1] - 2)
        for x in range(padded.shape[2] - 2)
        for step in (1, -1)
    ]
    counts = [int((parts == place).all((1, 2, 3)).sum()) for place in places]
    assert sum(counts) == num
    # five standard deviations of a binomial count
    share = num / len(places)
    assert max(abs(count - share) for count in counts) < 5 * share**0.5


def test_a_crop_of_full_size_draws_nothing() -> None:
    images, source = pictures(2, 1, 4, 4), generator(1)
    assert augment(images, crop=4, generator=source) is images
    assert torch.equal(source.get_state(), generator(1).get_state())
    # and with padding it is the same as without a crop
    plain, cropped = (augment(images, padding=2, crop=crop, generator=generator(2)) for crop in (None, 4))
    assert torch.equal(plain, cropped)


def test_a_symmetric_edge_reaches_into_a_smaller_part() -> None:
    image = torch.tensor([[[[1, 2, 3]] * 3]], dtype=torch.uint8).expand(200, -1, -1, -1)
    parts = augment(image, padding=1, padding_mode="symmetric", crop=2, generator=generator(3))
    assert {tuple(row) for row in parts[:, 0, 0].tolist()} == {(1, 1), (1, 2), (2, 3), (3, 3)}


@pytest.mark.parametrize(("size", "side", "first"), [(5, 3, 1), (6, 3, 1), (256, 224, 16), (4, 4, 0)])
def test_the_middle_of_an_image(size: int, side: int, first: int) -> None:
    image = torch.arange(size).to(torch.uint8).expand(1, 1, size, size)
    assert center_crop(image, side)[0, 0, 0].tolist() == list(range(first, first + side))


def test_a_part_larger_than_the_image_is_refused() -> None:
    images = pictures(1, 3, 4, 6)
    for cut in (lambda: augment(images, crop=5, generator=generator(0)), lambda: center_crop(images, 5)):
        with pytest.raises(ValueError, match=r": crop must be at most the image size 4x6, got 5\."):
            cut()
    with pytest.raises(ValueError, match=r"augment: crop must be a whole number of 1 or more, got 0\."):
        augment(images, crop=0, generator=generator(0))
    with pytest.raises(TypeError, match=r"center_crop: expected images of dtype torch.uint8"):
        center_crop(images.float(), 2)


def test_a_crop_may_be_wider_than_high() -> None:
    image = torch.arange(30, dtype=torch.uint8).view(1, 1, 5, 6)
    assert torch.equal(center_crop(image, [3, 4]), image[:, :, 1:4, 1:5])
    assert torch.equal(center_crop(image, [5, 3]), image[:, :, :, 1:4])
    parts = augment(image.expand(200, -1, -1, -1), crop=[5, 4], generator=generator(0))
    # the first number of a part is where it was cut: only the columns 0, 1 and 2
    assert parts.shape == (200, 1, 5, 4)
    assert set(parts[:, 0, 0, 0].tolist()) == {0, 1, 2}
    for part in parts[:20, 0]:
        left = int(part[0, 0])
        assert torch.equal(part, image[0, 0, :, left : left + 4])
    for wrong in ([6, 6], [5, 7]):
        with pytest.raises(ValueError, match=r"crop must be at most the image size 5x6, got \["):
            center_crop(image, wrong)


def test_channels_are_reversed_before_they_are_normalised() -> None:
    images, mean, std = pictures(2, 3, 4, 5), [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    found = normalize_pixels(images, mean, std, channel_order="bgr")
    for channel, (shift, spread) in enumerate(zip(mean, std, strict=True)):
        assert torch.equal(found[:, channel], (images[:, 2 - channel].float() - shift) / spread)
    assert torch.equal(normalize_pixels(images, mean, std, channel_order="rgb"), normalize_pixels(images, mean, std))
    layout = images.contiguous(memory_format=torch.channels_last)
    assert normalize_pixels(layout, mean, std, channel_order="bgr").is_contiguous(memory_format=torch.channels_last)


def test_an_order_that_images_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"normalize_pixels: channel_order 'bgr' needs images of 3 channels, got 1\."):
        normalize_pixels(pictures(1, 1, 2, 2), [0.0], [1.0], channel_order="bgr")
    with pytest.raises(ValueError, match=r"normalize_pixels: unknown channel_order 'brg': choose bgr, rgb"):
        normalize_pixels(pictures(1, 3, 2, 2), [0.0], [1.0], channel_order="brg")
