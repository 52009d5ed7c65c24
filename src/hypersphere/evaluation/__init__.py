# SPDX-License-Identifier: MIT
"""Protocols that turn features and labels into published figures; they take tensors or callables, never models."""

from hypersphere.evaluation.classification import Classification, classify, write_classification

__all__ = ["Classification", "classify", "write_classification"]
