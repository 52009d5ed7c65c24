# SPDX-License-Identifier: MIT
"""Angular margins: what a classification head makes of the cosine between a feature and the vector of its class."""

from hypersphere.formulas.margins.adaptive import AdaFace, MagFace
from hypersphere.formulas.margins.angular import ArcFace, Combined, CosFace, LSoftmax, SphereFace, SubCenterArcFace
from hypersphere.formulas.margins.base import BatchStatistics, Margin
from hypersphere.formulas.margins.binary import SphereFace2
from hypersphere.formulas.margins.functions import Circle, CurricularFace, GASoftmax, SphereFaceR
from hypersphere.formulas.margins.plain import NormalizedSoftmax, Softmax
from hypersphere.formulas.margins.table import MARGINS, MarginLike, as_margin

__all__ = [
    "MARGINS",
    "AdaFace",
    "ArcFace",
    "BatchStatistics",
    "Circle",
    "Combined",
    "CosFace",
    "CurricularFace",
    "GASoftmax",
    "LSoftmax",
    "MagFace",
    "Margin",
    "MarginLike",
    "NormalizedSoftmax",
    "Softmax",
    "SphereFace",
    "SphereFace2",
    "SphereFaceR",
    "SubCenterArcFace",
    "as_margin",
]
