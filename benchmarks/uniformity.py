# SPDX-License-Identifier: MIT
"""What uniformity objectives and orthogonality penalties of every layer of CNN-9 add to a training step."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from benchmarks.common import Row, compare
from benchmarks.regularizer import Step
from hypersphere.functional.orthogonality import ORTHOGONALITIES
from hypersphere.functional.uniformity import UNIFORMITIES
from hypersphere.regularizers import Orthogonality, Uniformity


def rows(base_width: int = 64, batch_size: int = 128) -> Iterator[Row]:
    """Each objective with its published settings, each penalty on raw and on unit neurons."""
    penalties: dict[str, nn.Module] = {
        f"{kind} uniformity, as published": Uniformity.published(kind) for kind in UNIFORMITIES
    }
    for kind in ORTHOGONALITIES:
        for normalized in (False, True):
            neurons = "unit" if normalized else "raw"
            penalties[f"{kind} penalty of {neurons} neurons"] = Orthogonality(kind, normalized, hidden_weight=1e-4)
    widths = "/".join(str(base_width * factor) for factor in (1, 2, 4))
    for what, penalty in penalties.items():
        yield compare(
            f"CNN-9 {widths} step with {what}, all layers",
            "the step without it",
            Step(base_width, penalty, batch_size),
            Step(base_width, None, batch_size),
            bound=None,
        )
