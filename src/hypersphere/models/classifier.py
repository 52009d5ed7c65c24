# SPDX-License-Identifier: MIT
"""A network and its head in one module, so that wrappers such as DDP see one forward from images to loss."""

from __future__ import annotations

from jaxtyping import Float, Integer
from torch import Tensor, nn

__all__ = ["Classifier"]


class Classifier(nn.Module):
    """Images to features by `model`, features to loss or logits by `head`.

    Args:
        model: images (N, C, H, W) -> features (N, D).
        head: a `hypersphere.nn.MarginHead` or anything called alike: head(features, labels) -> loss,
            head(features) -> logits (N, C).

    Example:
        >>> import torch
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
        with_predictions: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The loss (scalar) when labels are given, else the inference logits (N, C).

        With `with_predictions`, a pair: the same, and the predicted classes (N,), int64, the largest inference logit
        of each sample, without gradient.
        """
        features = self.model(images)
        result: Tensor = self.head(features) if labels is None else self.head(features, labels)
        if not with_predictions:
            return result
        logits = result.detach() if labels is None else self.head(features.detach()).detach()
        return result, logits.argmax(dim=1)

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
