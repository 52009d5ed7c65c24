# SPDX-License-Identifier: MIT
"""Random crops and flips of whole batches of uint8 images, and their way to float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from hypersphere.checks import check_channel_order, check_choice, check_range
from hypersphere.config.sizes import sides

__all__ = ["PADDING_MODES", "augment", "center_crop", "normalize_pixels"]

PADDING_MODES: dict[str, str] = {
    "zero": "black around the image",
    "symmetric": "the image mirrored at its edge, edge pixel repeated (numpy's mode of that name)",
}


def augment(
    images: UInt8[Tensor, "N C H W"],
    *,
    padding: int = 0,
    padding_mode: str = "zero",
    crop: int | Sequence[int] | None = None,
    flip: bool = False,
    generator: torch.Generator,
) -> UInt8[Tensor, "N C h w"]:
    """Each image padded, cut to size at a random offset of its own, mirrored left to right half of the time.

    Args:
        images: N images, on any device.
        padding: pixels on each side, >= 0; one of (2 padding + 1)² offsets, equally likely.
        padding_mode: "zero", or "symmetric" as in the released code of the energy papers.
        crop: size of the part that is cut out, one number for a square or [height, width], 1 .. H and 1 .. W; each
            place inside the padded image is equally likely. None for the size of the image: nothing is cut without
            padding.
        flip: whether to mirror.
        generator: where the offsets and flips come from. The same state gives the same result on every device, as long
            as the generator itself is on the same kind of device.

    Returns:
        New tensor, or `images` itself where there is nothing to do.

    Raises:
        TypeError: if `images` is not uint8.
        ValueError: if the shape is not (N, C, H, W), the mode is unknown, `crop` is larger than the image, or `padding`
            is negative, or in mode "symmetric" greater than H or W.

    Example:
        >>> rows = torch.tensor([[[[7, 7], [8, 8]]]], dtype=torch.uint8)
        >>> torch.equal(augment(rows, flip=True, generator=torch.Generator()), rows)
        True
    """
    who = "augment"
    _check_images(who, images)
    check_choice(who, "padding_mode", padding_mode, list(PADDING_MODES))
    check_range(who, "padding", padding, low=0)
    num, channels, height, width = images.shape
    if padding_mode == "symmetric" and padding > min(height, width):
        raise ValueError(
            f"{who}: padding must be at most the image size {height}x{width} in mode 'symmetric', got {padding}."
        )
    cut = (height, width) if crop is None else _crop_size(who, images, crop)
    # offsets that there are below the first one
    spare = height + 2 * padding - cut[0], width + 2 * padding - cut[1]
    if spare == (0, 0) and not flip:
        return images
    rows, columns = (torch.arange(side).expand(num, side) for side in cut)
    # drawn where the generator lives, so that a run does not depend on the device of its images
    device = generator.device
    if spare[0] == spare[1] > 0:
        offsets = torch.randint(0, spare[0] + 1, (2, num, 1), generator=generator, device=device).cpu()
        rows, columns = rows + offsets[0], columns + offsets[1]
    elif spare != (0, 0):
        rows = rows + torch.randint(0, spare[0] + 1, (num, 1), generator=generator, device=device).cpu()
        columns = columns + torch.randint(0, spare[1] + 1, (num, 1), generator=generator, device=device).cpu()
    if flip:
        mirrored = torch.randint(0, 2, (num, 1), generator=generator, device=device).cpu().bool()
        columns = torch.where(mirrored, columns.flip(1), columns)
    if padding and padding_mode == "symmetric":
        rows, columns = _reflect(rows - padding, height), _reflect(columns - padding, width)
    elif padding:
        images = F.pad(images, (padding,) * 4)
    flat = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).to(images.device)
    index = flat.view(num, 1, cut[0] * cut[1]).expand(num, channels, -1)
    return images.flatten(2).gather(2, index).view(num, channels, *cut)


def center_crop(images: UInt8[Tensor, "N C H W"], size: int | Sequence[int]) -> UInt8[Tensor, "N C h w"]:
    """The part in the middle of each image, as a view; a spare odd row or column lies at the bottom or right.

    Args:
        images: N images.
        size: height and width of what is left, 1 .. H and 1 .. W: one number for a square, or both.

    Raises:
        TypeError: if `images` is not uint8.
        ValueError: if the shape is not (N, C, H, W) or the images are smaller.

    Example:
        >>> center_crop(torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3), 1)
        tensor([[[[4]]]], dtype=torch.uint8)
    """
    _check_images("center_crop", images)
    height, width = _crop_size("center_crop", images, size)
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]


def _crop_size(who: str, images: Tensor, size: int | Sequence[int]) -> tuple[int, int]:
    cut = sides(who, "crop", size)
    height, width = images.shape[2:]
    if cut[0] > height or cut[1] > width:
        raise ValueError(f"{who}: crop must be at most the image size {height}x{width}, got {size}.")
    return cut


def _reflect(position: Int[Tensor, "N L"], size: int) -> Int[Tensor, "N L"]:
    """Positions -size .. 2 size - 1 brought inside by mirroring at the edges: -1 becomes 0, size becomes size - 1."""
    position = torch.where(position < 0, -1 - position, position)
    return torch.where(position >= size, 2 * size - 1 - position, position)


def normalize_pixels(
    images: UInt8[Tensor, "N C H W"], mean: Sequence[float], std: Sequence[float], *, channel_order: str = "rgb"
) -> Float[Tensor, "N C H W"]:
    """(pixel - mean) / std in float32, the channels in the order that a model sees them.

    Args:
        images: N images; those of 3 channels are red, green, blue.
        mean: one number for all channels or one for each, in the order of the result and pixel units 0..255.
        std: likewise, > 0.
        channel_order: of the result, "rgb" as they are, or "bgr", reversed.

    Returns:
        New tensor, float32, on the device of `images` and in its memory format.

    Raises:
        TypeError: if `images` is not uint8.
        ValueError: if the shape is not (N, C, H, W), or `mean` or `std` has neither 1 nor C numbers, or a std is not
            positive, or the order is unknown, or "bgr" for images without 3 channels.

    Example:
        >>> normalize_pixels(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), [127.5], [127.5])
        tensor([[[[1.]]]])
        >>> red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> normalize_pixels(red, [0.0], [255.0], channel_order="bgr").flatten()
        tensor([0., 0., 1.])
    """
    who = "normalize_pixels"
    _check_images(who, images)
    channels = images.shape[1]
    for argument, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (1, channels):
            expected = "one number" if channels == 1 else f"one number or {channels}"
            raise ValueError(f"{who}: expected {argument} of {expected} for {channels} channels, got {list(numbers)}.")
    if min(std) <= 0:
        raise ValueError(f"{who}: std must be positive, got {list(std)}.")
    check_channel_order(who, channel_order, channels)
    shift, spread = (torch.tensor(list(numbers), dtype=torch.float32, device=images.device) for numbers in (mean, std))
    ordered = images.flip(1) if channel_order == "bgr" else images
    return ordered.float().sub_(shift.view(-1, 1, 1)).div_(spread.view(-1, 1, 1))


def _check_images(who: str, images: Tensor) -> None:
    if images.ndim != 4:
        raise ValueError(f"{who}: expected images (N, C, H, W), got shape {tuple(images.shape)}.")
    if images.dtype != torch.uint8:
        raise TypeError(f"{who}: expected images of dtype torch.uint8, got {images.dtype}.")
