# SPDX-License-Identifier: MIT
"""Labelled images from names, folders and files, as uint8 batches; knows nothing of models and losses."""

from hypersphere.data.augment import PADDING_MODES, augment, normalize_pixels
from hypersphere.data.cache import cache_folder
from hypersphere.data.images import ImageSet, StreamedImages, TensorImages
from hypersphere.data.load import list_datasets, load_images

__all__ = [
    "PADDING_MODES",
    "ImageSet",
    "StreamedImages",
    "TensorImages",
    "augment",
    "cache_folder",
    "list_datasets",
    "load_images",
    "normalize_pixels",
]
