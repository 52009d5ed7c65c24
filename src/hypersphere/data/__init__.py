# SPDX-License-Identifier: MIT
"""Labelled images from names, folders and files, as uint8 batches; knows nothing of models and losses."""

from hypersphere.data.augment import PADDING_MODES, augment, center_crop, normalize_pixels
from hypersphere.data.cache import cache_folder
from hypersphere.data.check import CheckedData, check_data
from hypersphere.data.images import ImageSet, StreamedImages, TensorImages
from hypersphere.data.load import list_datasets, load_images
from hypersphere.data.pairs import PairedImages, load_pairs
from hypersphere.data.streaming import HubStream

__all__ = [
    "PADDING_MODES",
    "CheckedData",
    "HubStream",
    "ImageSet",
    "PairedImages",
    "StreamedImages",
    "TensorImages",
    "augment",
    "cache_folder",
    "center_crop",
    "check_data",
    "list_datasets",
    "load_images",
    "load_pairs",
    "normalize_pixels",
]
