# SPDX-License-Identifier: MIT
"""A network and its head in one module: from images to loss in training, from pixels to logits where it is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from hypersphere.checks import check_channel_order
from hypersphere.functional.targets import MarginMeasures

__all__ = ["Classifier", "PixelClassifier"]


class Classifier(nn.Module):
    """Images to features by `model`, features to loss or logits by `head`.

    Args:
        model: images (N, C, H, W) -> features (N, D).
        head: a `hypersphere.nn.MarginHead` or anything called alike: head(features, labels) -> loss,
            head(features) -> logits (N, C); for training by a recipe also `loss_and_measures`.

    Example:
        >>> from hypersphere.nn import MarginHead
        >>> classifier = Classifier(nn.Flatten(), MarginHead(16, 3))
        >>> images, labels = torch.randn(5, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1])
        >>> classifier(images).shape, classifier(images, labels).shape
        (torch.Size([5, 3]), torch.Size([]))
    """

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.head = head

    def forward(
        self,
        images: Float[Tensor, "N ..."],
        labels: Integer[Tensor, "N"] | None = None,
        *,
        with_measures: bool = False,
    ) -> Tensor | tuple[Tensor, MarginMeasures]:
        """The loss (scalar) when labels are given, else the inference logits (N, C).

        With labels and `with_measures` a pair: the loss, and the `MarginMeasures` of the head, whose `right` says for
        each sample whether its class has the largest inference logit.
        """
        features = self.model(images)
        if labels is None:
            logits: Tensor = self.head(features)
            return logits
        if not with_measures:
            loss: Tensor = self.head(features, labels)
            return loss
        pair: tuple[Tensor, MarginMeasures] = self.head.loss_and_measures(features, labels)  # type: ignore[operator]
        return pair

    def features(self, images: Float[Tensor, "N ..."]) -> Float[Tensor, "N D"]:
        """The features (N, D) that the head receives."""
        features: Tensor = self.model(images)
        return features

    @property
    def class_vectors(self) -> Float[Tensor, "C D"]:
        """One vector for each class: the head's weight."""
        weight = self.head.weight
        assert isinstance(weight, Tensor)
        return weight


class PixelClassifier(nn.Module):
    """A classifier as it is deployed: from pixels as they lie in a file to logits and features, normalisation inside.

    Args:
        classifier: as `load_classifier` returns it.
        data: section `data` of `model.json`: image_shape, mean and std in units of pixels 0..255, and channel_order, in
            which the network sees channels and the numbers of both stand; without it, "rgb".
        head: whether there are logits; without, the network alone, which gives features.

    Shape:
        pixels (N, C, H, W), uint8 or floating point in 0..255, colours always in the order red, green, blue ->
        {"logits": (N, classes), "features": (N, D)}.

    Raises:
        ValueError: if the data lack a part, mean and std do not fit the channels, or channel_order is unknown, or "bgr"
            for images without 3 channels.

    Example:
        >>> from hypersphere.models import build_classifier
        >>> data = {"class_names": ["a", "b"], "image_shape": [1, 8, 8], "mean": [8.0], "std": [4.0]}
        >>> model = PixelClassifier(build_classifier({"model": {"name": "digits-cnn"}, "head": {}, "data": data}), data)
        >>> {name: tuple(found.shape) for name, found in model(torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).items()}
        {'logits': (5, 2), 'features': (5, 3)}
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier, data: Mapping[str, Any], *, head: bool = True) -> None:
        super().__init__()
        missing = [key for key in ("image_shape", "mean", "std") if key not in data]
        if missing:
            raise ValueError(f"PixelClassifier: the data of the model lack {', '.join(missing)}.")
        self.image_shape = tuple(data["image_shape"])
        self.channel_order = data.get("channel_order", "rgb")
        check_channel_order("PixelClassifier", self.channel_order, self.image_shape[0])
        self.model = classifier.model
        self.head = classifier.head if head else None
        for name in ("mean", "std"):
            numbers = torch.tensor(data[name], dtype=torch.float32)
            if numbers.numel() not in (1, self.image_shape[0]):
                raise ValueError(
                    f"PixelClassifier: expected {name} of one number or {self.image_shape[0]}, got {data[name]}."
                )
            self.register_buffer(name, numbers.view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> dict[str, Float[Tensor, "N D"]]:
        """Logits and features of images (N, C, H, W)."""
        ordered = pixels.flip(1) if self.channel_order == "bgr" else pixels
        features = self.model((ordered.float() - self.mean) / self.std)
        found = {"features": features}
        return found if self.head is None else {"logits": self.head(features), **found}
