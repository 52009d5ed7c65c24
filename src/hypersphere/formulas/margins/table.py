# SPDX-License-Identifier: MIT
"""The margins that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypersphere.formulas.margins.adaptive import AdaFace, MagFace
from hypersphere.formulas.margins.angular import ArcFace, Combined, CosFace, LSoftmax, SphereFace, SubCenterArcFace
from hypersphere.formulas.margins.base import Margin
from hypersphere.formulas.margins.binary import SphereFace2
from hypersphere.formulas.margins.functions import Circle, CurricularFace, GASoftmax, SphereFaceR
from hypersphere.formulas.margins.plain import NormalizedSoftmax, Softmax
from hypersphere.formulas.specs import as_spec

__all__ = ["MARGINS", "MarginLike", "as_margin"]

MARGINS: dict[str, Margin] = {
    "softmax": Softmax(),
    "normalized_softmax": NormalizedSoftmax(),
    "l_softmax": LSoftmax(),
    "sphereface": SphereFace(),
    "w_softmax": GASoftmax(multiplier=1.0),
    "ga_softmax": GASoftmax(),
    "cosface": CosFace(),
    "arcface": ArcFace(),
    "combined": Combined(),
    "sub_center_arcface": SubCenterArcFace(),
    "sphereface_r": SphereFaceR(),
    "sphereface2": SphereFace2(),
    "curricularface": CurricularFace(),
    "magface": MagFace(),
    "adaface": AdaFace(),
    "circle": Circle(),
}

MarginLike = str | Mapping[str, Any] | Margin
"""How a user gives a margin: by name, by a mapping with a name, or as an object."""


def as_margin(value: MarginLike) -> Margin:
    """The margin that a name, a mapping such as {"name": "sphereface", "multiplier": 3} or an object means.

    Raises:
        ValueError: for an unknown name or argument, or a value out of range.
        TypeError: for anything else.

    Example:
        >>> as_margin({"name": "cosface", "cosine": 0.4})
        CosFace(cosine=0.4)
    """
    return as_spec("margin", value, MARGINS, Margin)
