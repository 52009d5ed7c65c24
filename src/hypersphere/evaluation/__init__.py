# SPDX-License-Identifier: MIT
"""Protocols that turn features and labels into published figures; they take tensors or callables, never models."""

from hypersphere.evaluation.attacks import fgsm, pgd
from hypersphere.evaluation.classification import Classification, classify, write_classification
from hypersphere.evaluation.distractors import AmongDistractors, identify_among_distractors
from hypersphere.evaluation.embeddings import fuse_flips
from hypersphere.evaluation.gallery import ClosedSet, OpenSet, identify_closed_set, identify_open_set
from hypersphere.evaluation.identification import write_identification
from hypersphere.evaluation.intervals import Comparison, Interval, auc_interval, paired_bootstrap
from hypersphere.evaluation.minimum_norm import smallest_perturbation
from hypersphere.evaluation.pairs import Pairs
from hypersphere.evaluation.pooling import pool_sets, pool_templates, set_cosines
from hypersphere.evaluation.protocol import Attack
from hypersphere.evaluation.retrieval import Retrieval, retrieve
from hypersphere.evaluation.robustness import Robustness, measure_robustness, write_robustness
from hypersphere.evaluation.roc import OperatingPoint, Roc, roc_curve
from hypersphere.evaluation.search import Neighbours, search
from hypersphere.evaluation.verification import Verification, verify, verify_scores, write_verification

__all__ = [
    "AmongDistractors",
    "Attack",
    "Classification",
    "ClosedSet",
    "Comparison",
    "Interval",
    "Neighbours",
    "OpenSet",
    "OperatingPoint",
    "Pairs",
    "Retrieval",
    "Robustness",
    "Roc",
    "Verification",
    "auc_interval",
    "classify",
    "fgsm",
    "fuse_flips",
    "identify_among_distractors",
    "identify_closed_set",
    "identify_open_set",
    "measure_robustness",
    "paired_bootstrap",
    "pgd",
    "pool_sets",
    "pool_templates",
    "retrieve",
    "roc_curve",
    "search",
    "set_cosines",
    "smallest_perturbation",
    "verify",
    "verify_scores",
    "write_classification",
    "write_identification",
    "write_robustness",
    "write_verification",
]
