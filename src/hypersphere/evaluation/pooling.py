# SPDX-License-Identifier: MIT
"""One embedding from many images: frames of a video, images and media of a template."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hypersphere.evaluation.embeddings import Embeddings, as_embeddings, whole_numbers
from hypersphere.formulas.directions import unit_rows

__all__ = ["pool_sets", "pool_templates", "set_cosines"]


def pool_sets(embeddings: Embeddings, sets: object) -> Tensor:
    """The mean embedding of each set of images, such as the frames of a video.

    The mean is of the embeddings as they are, so long ones count for more; give unit rows to count each image alike.
    The papers on videos do not say how frames are joined; this is the common way.

    Args:
        embeddings: (N, D), of images or of images joined with their mirror images.
        sets: (N,) number of the set of each image, 0 to S-1; any array, tensor or list of whole numbers.

    Returns:
        (S, D) means, float64, not normalised.

    Raises:
        TypeError: if `sets` are not whole numbers, or as `verify`.
        ValueError: if a set between 0 and S-1 has no images, shapes do not fit, or an embedding is not finite.

    Edge cases:
        A set whose embeddings cancel has a mean of zero, whose cosine with everything counts as 0.

    Source:
        The data set: wolf2011face.

    Example:
        >>> pool_sets(np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]]), [0, 0, 1])
        tensor([[2., 2.],
                [0., 2.]], dtype=torch.float64)
    """
    rows = as_embeddings("pool_sets", "embeddings", embeddings)
    return _means(rows.double(), _numbered("pool_sets", "sets", sets, len(rows)))


def set_cosines(embeddings: Embeddings, sets: object, left: object, right: object) -> np.ndarray:
    """Mean of the cosines of every image of one set with every image of another.

    It is the inner product of the mean directions of the two sets, and is computed so.

    Args:
        embeddings: (N, D).
        sets: (N,) number of the set of each image, 0 to S-1.
        left: (P,) first set of each pair.
        right: (P,) second set of each pair.

    Returns:
        (P,) float64, in [-1, 1]; scores for `verify_scores` with "lfw-official".

    Raises:
        TypeError, ValueError: as `pool_sets`, or if a pair names a set that is not there.

    Edge cases:
        A zero row has cosine 0 with everything.

    Example:
        >>> set_cosines(np.array([[1.0, 0.0], [0.0, 4.0], [0.0, 2.0]]), [0, 0, 1], [0], [1])
        array([0.5])
    """
    rows = as_embeddings("set_cosines", "embeddings", embeddings)
    means = _means(unit_rows(rows.double())[0], _numbered("set_cosines", "sets", sets, len(rows)))
    first = whole_numbers("set_cosines", "left", left)
    second = whole_numbers("set_cosines", "right", right, len(first))
    for named in (first, second):
        if len(named) and not 0 <= named.min() <= named.max() < len(means):
            raise ValueError(
                f"set_cosines: pairs must name sets 0 to {len(means) - 1}, got {named.min()}..{named.max()}."
            )
    pairs = (torch.from_numpy(side).to(means.device) for side in (first, second))
    return np.asarray(torch.linalg.vecdot(*(means[side] for side in pairs)).cpu().numpy())


def pool_templates(
    embeddings: Embeddings,
    templates: object,
    media: object,
    *,
    weights: object | None = None,
    keep_norm: bool = True,
) -> tuple[np.ndarray, Tensor]:
    """One direction for each template: the sum of the means of its media.

    A medium is a photograph or a video; all frames of a video count together as one photograph does.

    Args:
        embeddings: (N, D), of images or of images joined with their mirror images.
        templates: (N,) whole number that names the template of each image. An image in two templates is given twice.
        media: (N,) whole number that names its medium; the same number in another template is another medium.
        weights: (N,) finite, >= 0, what each embedding is multiplied by, such as the score of the face detector.
        keep_norm: False for embeddings of length 1 before they are weighted.

    Returns:
        Names of the T templates, (T,) int64 and rising, and their directions, (T, D) float64.

    Raises:
        TypeError: if names are not whole numbers, or as `verify`.
        ValueError: if shapes do not fit, a weight is negative or not finite, or an embedding is not finite.

    Edge cases:
        A template whose embeddings cancel, or all of weight 0, stays zero: its cosine with everything is 0.

    Source:
        The data set: maze2018ijbc; the way as in the code of deng2019arcface. Weights come after the length is
        removed, as they would be lost otherwise.

    Example:
        >>> frames = np.array([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> names, rows = pool_templates(frames, [7, 7, 7], [1, 1, 2])
        >>> names, rows.numpy().round(4)
        (array([7]), array([[0.7071, 0.7071]]))
    """
    rows = as_embeddings("pool_templates", "embeddings", embeddings).double()
    named = whole_numbers("pool_templates", "templates", templates, len(rows))
    medium = whole_numbers("pool_templates", "media", media, len(rows))
    if not keep_norm:
        rows = unit_rows(rows)[0]
    if weights is not None:
        given = np.asarray(weights.detach().cpu() if isinstance(weights, Tensor) else weights, dtype=np.float64)
        if given.shape != (len(rows),) or not (np.isfinite(given) & (given >= 0)).all():
            raise ValueError(
                f"pool_templates: expected weights ({len(rows)},), finite and 0 or more, got shape {given.shape}."
            )
        rows = rows * torch.from_numpy(given).to(rows.device)[:, None]
    names, template = np.unique(named, return_inverse=True)
    pairs, place = np.unique(np.stack([template, medium], axis=1), axis=0, return_inverse=True)
    means = _means(rows, place.reshape(-1))
    owner = torch.from_numpy(pairs[:, 0]).to(rows.device)
    return names, unit_rows(means.new_zeros(len(names), means.shape[1]).index_add_(0, owner, means))[0]


def _numbered(who: str, argument: str, values: object, length: int) -> np.ndarray:
    """(N,) int64 with every number from 0 to the largest."""
    found = whole_numbers(who, argument, values, length)
    present = np.unique(found)
    if not np.array_equal(present, np.arange(len(present))):
        raise ValueError(
            f"{who}: {argument} must be numbered from 0 without a gap, got {len(present)} numbers from {present[0]} to "
            f"{present[-1]}."
        )
    return found


def _means(rows: Tensor, sets: np.ndarray) -> Tensor:
    index = torch.from_numpy(sets).to(rows.device)
    counts = torch.bincount(index)
    return rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, index, rows) / counts[:, None]
