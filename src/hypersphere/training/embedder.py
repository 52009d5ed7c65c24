# SPDX-License-Identifier: MIT
"""The network of a finished run as a function: images prepared as in training, features in float32 out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from hypersphere.checks import check_choice
from hypersphere.data import center_crop
from hypersphere.data.decode import is_grey, open_image, pixels_of
from hypersphere.data.sources import Encoded
from hypersphere.evaluation.embeddings import FUSIONS, fuse_flips
from hypersphere.models import PixelClassifier, load_classifier
from hypersphere.models.store import WEIGHTS_FILE
from hypersphere.training.environment import current_device
from hypersphere.training.folder import check_trained

__all__ = ["FLIPS", "Embedder", "Preparation"]

PREPARED = ("image_shape", "size", "resize", "crop", "channel_order", "mean", "std")
FLIPS: dict[str, str] = {"none": "f(x), without the mirror image"} | FUSIONS
"""What becomes of an image and its mirror image."""


@dataclass(frozen=True)
class Preparation:
    """What a run does to an image before its network sees it.

    Args:
        image_shape: (channels, height, width) that the network takes; one channel is grey, three are RGB.
        size: as `data.size` of the run.
        resize: as `data.resize`.
        crop: as `data.crop`.
    """

    image_shape: tuple[int, int, int]
    size: int | Sequence[int] | None = None
    resize: str = "crop"
    crop: int | Sequence[int] | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Preparation:
        """From section `data` of `model.json`."""
        channels, height, width = data["image_shape"]
        return cls((channels, height, width), data.get("size"), data.get("resize") or "crop", data.get("crop"))

    def read(self, encoded: Encoded) -> UInt8[np.ndarray, "C H W"]:
        """One image as the run's own test images are: upright, resized, cut, grey or RGB.

        Args:
            encoded: an image file, or its bytes.

        Raises:
            ValueError: saying what is wrong with it; which one it is, is left to the caller.

        Edge cases:
            A grey image for a network of colour is taken as RGB, as in training.
        """
        channels, height, width = self.image_shape
        image = open_image(encoded, self.size, self.resize)
        if channels == 1 and not is_grey(image):
            raise ValueError("the image is in colour, the model takes grey ones; save it as grey")
        found = torch.from_numpy(np.array(pixels_of(image, channels)))[None]
        if self.crop is not None and (image.height < height or image.width < width):
            raise ValueError(f"the image is {image.width}x{image.height} pixels, the model takes {width}x{height}")
        cut = found if self.crop is None else center_crop(found, self.crop)
        if tuple(cut.shape[1:]) != self.image_shape:
            raise ValueError(
                f"the image is {image.width}x{image.height} pixels, the model takes {width}x{height} and its run "
                "resized nothing (data.size)"
            )
        return np.asarray(cut[0].numpy())


class Embedder:
    """Features of images by the network of a finished run, in float32 whatever precision it was trained in.

    Args:
        folder: a finished run, or what `save_classifier` wrote.
        flip: a name of `FLIPS`.
        who: speaks in errors.

    Attributes:
        preparation: how images are read for it.
        class_names: of the classes that it was trained to tell apart.
        dim: D, features of an image, those of its mirror image included.
        facts: what tells this function from others: hash of the weights, how images are prepared, flip.

    Raises:
        FileNotFoundError: if the folder holds no trained model.
        ValueError: if the model is damaged or `flip` is unknown.
    """

    def __init__(self, folder: Path, *, flip: str = "none", who: str = "embed") -> None:
        check_choice(who, "flip", flip, list(FLIPS))
        check_trained(who, folder)
        classifier, spec = load_classifier(folder)
        data = spec["data"]
        self.folder = folder
        self.flip = flip
        self.preparation = Preparation.of(data)
        self.device = current_device()
        self._model = PixelClassifier(classifier, data, head=False).to(self.device).eval()
        self.class_names: list[str] = data["class_names"]
        self.dim = classifier.class_vectors.shape[1] * (2 if flip == "concat" else 1)
        prepared = {name: data.get(name) for name in PREPARED}
        weights = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
        self.facts: dict[str, Any] = {"weights": weights, "preparation": prepared, "flip": flip}

    def __call__(self, pixels: UInt8[Tensor, "N C H W"]) -> np.ndarray:
        """Features (N, D) float32 of prepared images.

        Raises:
            ValueError: if one of them is not finite.
        """
        found = self.features(pixels)
        return found if self.flip == "none" else np.asarray(fuse_flips(found, self.features(pixels.flip(3)), self.flip))

    def features(self, pixels: UInt8[Tensor, "N C H W"]) -> np.ndarray:
        """Features (N, D) float32 of prepared images as they are, whatever `flip` says.

        Raises:
            ValueError: if one of them is not finite.
        """
        with torch.inference_mode():
            features: Tensor = self._model(pixels.to(self.device))["features"]
        found = features.float().cpu().numpy()
        if not np.isfinite(found).all():
            raise ValueError(
                f"the model in {self.folder} gives features that are not finite (image "
                f"{int((~np.isfinite(found).all(axis=1)).argmax())} of a batch of {len(found)})."
            )
        return np.asarray(found)
