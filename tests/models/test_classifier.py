# SPDX-License-Identifier: MIT
"""Model and head in one module: the loss with labels, logits without, predictions on the side."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hypersphere.models import Classifier, PixelClassifier, build
from hypersphere.nn import MarginHead


def make() -> tuple[Classifier, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    classifier = Classifier(build("digits-cnn", width=2), MarginHead(3, 10, margin="normalized_softmax"))
    return classifier.eval(), torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 9, 9, 3])


def test_forward_is_head_of_model() -> None:
    classifier, images, labels = make()
    features = classifier.model(images)
    assert torch.equal(classifier.features(images), features)
    assert torch.equal(classifier(images), classifier.head(features))
    assert torch.equal(classifier(images, labels), classifier.head(features, labels))


def test_measures_say_which_predictions_are_right() -> None:
    classifier, images, labels = make()
    labels[:3] = classifier(images).argmax(1)[:3]
    loss, measures = classifier(images, labels, with_measures=True)
    assert torch.equal(measures.right, classifier(images).argmax(1) == labels)
    assert torch.equal(loss, classifier(images, labels))


def test_measures_leave_the_gradient_alone() -> None:
    classifier, images, labels = make()
    parameters = list(classifier.parameters())
    plain = torch.autograd.grad(classifier(images, labels), parameters)
    beside = torch.autograd.grad(classifier(images, labels, with_measures=True)[0], parameters)
    assert all(torch.equal(a, b) for a, b in zip(plain, beside, strict=True))


def test_compiled_equals_eager() -> None:
    torch.compiler.reset()
    classifier, images, labels = make()
    compiled = torch.compile(classifier, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images, labels), classifier(images, labels))


def test_the_head_reads_bfloat16_features_in_float32() -> None:
    classifier, images, labels = make()
    with torch.autocast("cpu", torch.bfloat16):
        loss = classifier(images, labels)
        logits = classifier(images)
    assert classifier.features(images).dtype == torch.float32
    assert loss.dtype == logits.dtype == torch.float32


def test_pixels_are_red_green_blue_whatever_the_network_sees() -> None:
    classifier = Classifier(nn.Flatten(), MarginHead(48, 2))
    data = {"image_shape": [3, 4, 4], "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    straight, usual = PixelClassifier(classifier, data), PixelClassifier(classifier, {**data, "channel_order": "rgb"})
    other = PixelClassifier(classifier, {**data, "channel_order": "bgr"})
    assert torch.equal(straight(pixels)["features"], usual(pixels)["features"])
    assert torch.equal(other(pixels)["features"], straight(pixels.flip(1))["features"])
    with pytest.raises(ValueError, match=r"PixelClassifier: unknown channel_order 'brg': choose bgr, rgb"):
        PixelClassifier(classifier, {**data, "channel_order": "brg"})
    grey = {"image_shape": [1, 4, 4], "mean": [1.0], "std": [1.0], "channel_order": "bgr"}
    with pytest.raises(ValueError, match=r"PixelClassifier: channel_order 'bgr' needs images of 3 channels, got 1"):
        PixelClassifier(classifier, grey)
