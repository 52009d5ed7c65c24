# SPDX-License-Identifier: MIT
"""Protocols that turn features and labels into published figures; they take tensors or callables, never models."""

from hypersphere.evaluation.attacks import fgsm, pgd
from hypersphere.evaluation.classification import Classification, classify, write_classification
from hypersphere.evaluation.minimum_norm import smallest_perturbation
from hypersphere.evaluation.protocol import Attack
from hypersphere.evaluation.robustness import Robustness, measure_robustness, write_robustness

__all__ = [
    "Attack",
    "Classification",
    "Robustness",
    "classify",
    "fgsm",
    "measure_robustness",
    "pgd",
    "smallest_perturbation",
    "write_classification",
    "write_robustness",
]
