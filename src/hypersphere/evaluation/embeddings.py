# SPDX-License-Identifier: MIT
"""Embeddings as evaluations take them: checked, joined with those of mirrored images, read in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from hypersphere.checks import lookup
from hypersphere.formulas.directions import unit_rows

__all__ = [
    "FUSIONS",
    "MEMORY",
    "Embeddings",
    "as_embeddings",
    "direction_blocks",
    "directions",
    "fuse_flips",
    "home_of",
    "matrix_shape",
    "rows_within",
    "whole_numbers",
]

Embeddings = np.ndarray | Tensor
"""(N, D), a row for each image, of any floating-point dtype, on any device."""

FUSIONS = {
    "concat": "[f(x), f(mirrored x)], twice as wide, as in the released SphereFace code",
    "sum": "f(x) + f(mirrored x), as in InsightFace and most code since",
}
"""How the embedding of an image and that of its mirror image become one."""

MEMORY = 256 * 2**20
"""Bytes that a blockwise evaluation takes beside its input and its result, unless told otherwise."""

# products of two multiples of 2^-26 are multiples of 2^-52, which float64 adds up to sizes of 2 without rounding
_GRID = 2.0**26
# copies of a block while its directions are computed, of 8 bytes a number
_COPIES = 6


def as_embeddings(who: str, argument: str, embeddings: Embeddings) -> Tensor:
    """A detached tensor (N, D) on the device it came on, or an error in the name of `who`.

    Raises:
        TypeError: if it is neither an array nor a tensor, or not of a floating-point dtype.
        ValueError: if it has not two axes, is empty, or holds a number that is not finite.
    """
    matrix_shape(who, argument, embeddings)
    rows = _tensor(who, argument, embeddings)
    _check_finite(who, argument, rows, 0)
    return rows


def matrix_shape(who: str, argument: str, embeddings: Embeddings) -> tuple[int, int]:
    """N and D of embeddings that are not read yet.

    Raises:
        TypeError: if they are neither an array nor a tensor.
        ValueError: if there are not two axes, no rows or no columns.
    """
    shape = _shape(who, argument, embeddings)
    if not shape[0]:
        raise ValueError(f"{who}: expected {argument} (N, D) with one row or more, got shape {shape}.")
    return shape


def _shape(who: str, argument: str, embeddings: Embeddings) -> tuple[int, int]:
    if not isinstance(embeddings, np.ndarray | Tensor):
        raise TypeError(
            f"{who}: expected {argument} to be a numpy array or a torch.Tensor, got {type(embeddings).__name__}."
        )
    if embeddings.ndim != 2 or not embeddings.shape[1]:
        raise ValueError(f"{who}: expected {argument} (N, D), got shape {tuple(embeddings.shape)}.")
    return embeddings.shape[0], embeddings.shape[1]


def home_of(embeddings: Embeddings) -> torch.device:
    """Where embeddings are compared: on their own device, unless it knows no float64."""
    known = isinstance(embeddings, Tensor) and embeddings.device.type != "mps"
    return embeddings.device if isinstance(embeddings, Tensor) and known else torch.device("cpu")


def _tensor(who: str, argument: str, rows: Embeddings) -> Tensor:
    floating = rows.is_floating_point() if isinstance(rows, Tensor) else rows.dtype.kind == "f"
    if not floating:
        raise TypeError(f"{who}: expected {argument} of a floating-point dtype, got {rows.dtype}.")
    if isinstance(rows, Tensor):
        rows = rows.detach()
        return rows.to(home_of(rows))
    if rows.flags.writeable and rows.flags.c_contiguous and rows.dtype.isnative and rows.dtype.itemsize <= 8:
        return torch.from_numpy(rows)
    # a mapped file may be read only and of the other byte order
    return torch.from_numpy(np.array(rows, dtype=f"=f{min(rows.dtype.itemsize, 8)}"))


def _check_finite(who: str, argument: str, rows: Tensor, start: int) -> None:
    wrong = (~torch.isfinite(rows).all(dim=1)).nonzero().flatten()
    if len(wrong):
        raise ValueError(
            f"{who}: {argument} must be finite, got NaN or infinity in {len(wrong)} of {len(rows)} rows, the first of "
            f"them row {start + int(wrong[0])}. Look for the image that gave it; it has no direction to compare."
        )


def whole_numbers(who: str, argument: str, values: object, length: int | None = None) -> np.ndarray:
    """(N,) int64 from an array, tensor or list of whole numbers, or an error in the name of `who`.

    Raises:
        TypeError: if they are not whole numbers.
        ValueError: if there is more than one axis, or not `length` of them.
    """
    found = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    if found.dtype.kind not in "iu" and found.size:
        raise TypeError(f"{who}: expected {argument} of whole numbers, got {found.dtype}.")
    if found.ndim != 1 or (length is not None and len(found) != length):
        expected = "(N,)" if length is None else f"({length},)"
        raise ValueError(f"{who}: expected {argument} {expected}, got shape {found.shape}.")
    return found.astype(np.int64)


def fuse_flips(plain: Embeddings, flipped: Embeddings, how: str = "sum") -> Embeddings:
    """One embedding of an image and its mirror image.

    Args:
        plain: (N, D), f(x), as the network gives it: not normalised.
        flipped: (N, D), f of the images mirrored left to right, of the same kind (array or tensor).
        how: a name of `FUSIONS`.

    Returns:
        (N, 2D) for "concat", (N, D) for "sum"; of the kind that came.

    Raises:
        TypeError: if one is an array and the other a tensor.
        ValueError: if the shapes differ or `how` is unknown.

    Source:
        "concat": liu2017sphereface, released code. "sum": the code of deng2019arcface.

    Example:
        >>> fuse_flips(np.array([[1.0, 2.0]]), np.array([[0.5, 0.0]]), "concat")
        array([[1. , 2. , 0.5, 0. ]])
    """
    lookup("fusion", how, FUSIONS)
    if _shape("fuse_flips", "plain", plain) != _shape("fuse_flips", "flipped", flipped):
        raise ValueError(
            f"fuse_flips: expected plain and flipped of one shape, got {tuple(plain.shape)} and {tuple(flipped.shape)}."
        )
    if isinstance(plain, np.ndarray) and isinstance(flipped, np.ndarray):
        return np.concatenate([plain, flipped], axis=1) if how == "concat" else np.asarray(plain + flipped)
    if isinstance(plain, Tensor) and isinstance(flipped, Tensor):
        return torch.cat([plain, flipped], dim=1) if how == "concat" else plain + flipped
    raise TypeError(
        f"fuse_flips: expected two arrays or two tensors, got {type(plain).__name__} and {type(flipped).__name__}."
    )


def directions(rows: Tensor) -> Tensor:
    """Unit rows (N, D) in float64, rounded to multiples of 2^-26, whose inner products are exact.

    A cosine from them is the same number whatever the size of blocks, the order of summation and the number of
    threads, so equal images tie exactly. It differs from the cosine of the rows by less than 1e-7. A zero row stays
    zero: its cosine with everything is 0.
    """
    return unit_rows(rows.double())[0].mul_(_GRID).round_().div_(_GRID)


def direction_blocks(
    who: str,
    argument: str,
    source: Embeddings | Iterable[Embeddings],
    num_rows: int,
    *,
    dim: int,
    device: torch.device,
) -> Iterator[tuple[int, Tensor]]:
    """First row and `directions` of one block after the other, never more than `num_rows` at once.

    Args:
        who: speaks in errors.
        argument: what `source` is called in errors.
        source: (N, D) array (a mapped file too) or tensor, or blocks of them, one after the other.
        num_rows: the most rows of a block, >= 1.
        dim: D that the rows must have.
        device: where the directions are wanted.

    Raises:
        TypeError, ValueError: as `as_embeddings`, or if D differs; when the block is reached.
    """
    start = 0
    for part in (source,) if isinstance(source, np.ndarray | Tensor) else source:
        shape = _shape(who, argument, part)
        if shape[1] != dim:
            raise ValueError(f"{who}: expected {argument} of {dim} features, got shape {shape}.")
        for first in range(0, shape[0], num_rows):
            rows = _tensor(who, argument, part[first : first + num_rows]).to(device)
            _check_finite(who, argument, rows, start + first)
            yield start + first, directions(rows)
        start += shape[0]


def rows_within(who: str, memory: int, *, dim: int, per_query: int = 0) -> tuple[int, int]:
    """How many queries and how many rows of a gallery to compare at once.

    Args:
        who: speaks in errors.
        memory: bytes to stay within.
        dim: D.
        per_query: bytes that each query needs beside its direction and its scores.

    Returns:
        Queries and gallery rows of a block.

    Raises:
        ValueError: if not even one query and 16 rows fit.
    """
    # of the gallery: copies of its rows; of a pair: its score, twice more while the largest are chosen, and marks
    row, pair = 8 * _COPIES * dim, 32
    num_rows = min(4096, memory // (4 * row))
    num_queries = (memory - num_rows * row) // (row + per_query + pair * num_rows) if num_rows >= 16 else 0
    if num_queries < 1:
        least = max(64 * row, 16 * row + row + per_query + 16 * pair)
        raise ValueError(
            f"{who}: memory must be {least} bytes ({-(-least // 2**20)} MiB) or more for {dim} features, got {memory}."
        )
    return min(num_queries, 4096), num_rows
