# SPDX-License-Identifier: MIT
"""Networks that turn images into features, by name, and the classifier they make with a head."""

from hypersphere.models.classifier import Classifier, PixelClassifier
from hypersphere.models.cnn import CNN
from hypersphere.models.digits import DigitsCNN
from hypersphere.models.export import Exported, export_onnx, export_program
from hypersphere.models.iresnet import IResNet
from hypersphere.models.mnist import MnistCNN
from hypersphere.models.resnet import ResNet
from hypersphere.models.sphereface import SphereFaceNet
from hypersphere.models.store import build_classifier, load_classifier, save_classifier
from hypersphere.models.table import MODELS, build

__all__ = [
    "CNN",
    "MODELS",
    "Classifier",
    "DigitsCNN",
    "Exported",
    "IResNet",
    "MnistCNN",
    "PixelClassifier",
    "ResNet",
    "SphereFaceNet",
    "build",
    "build_classifier",
    "export_onnx",
    "export_program",
    "load_classifier",
    "save_classifier",
]
