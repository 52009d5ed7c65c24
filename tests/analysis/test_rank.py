# SPDX-License-Identifier: MIT
"""Effective rank against singular values and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from hypersphere.analysis import rank
from hypersphere.analysis.rank import effective_rank


def by_svd(weight: torch.Tensor) -> float:
    values = torch.linalg.svdvals(torch.nn.functional.normalize(weight.double(), dim=1)).tolist()
    shares = [value / sum(values) for value in values]
    return math.exp(-sum(share * math.log(share) for share in shares if share > 0))


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (30, 30), (1, 4)])
def test_against_singular_values(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.rand(shape[0], 1)
    assert effective_rank(weight) == pytest.approx(by_svd(weight), rel=1e-7)
    monkeypatch.setattr(rank, "_IN_DOUBLE", 1)
    monkeypatch.setattr(rank, "_ROWS", 7)
    assert effective_rank(weight) == pytest.approx(by_svd(weight), rel=1e-3)


def test_closed_forms() -> None:
    assert effective_rank(torch.eye(7) * torch.arange(1.0, 8.0)) == pytest.approx(7, rel=1e-12)
    # all on one line: what rounding leaves of the other singular values is a millionth of the largest at most
    assert effective_rank(torch.ones(200, 100)) == pytest.approx(1, abs=1e-4)
    # two of three directions are the same: singular values sqrt(2) and 1
    share = math.sqrt(2) / (1 + math.sqrt(2))
    expected = math.exp(-share * math.log(share) - (1 - share) * math.log(1 - share))
    assert effective_rank(torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 1.0]])) == pytest.approx(expected, rel=1e-9)


def test_what_is_too_large_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "_LARGEST", 3)
    assert effective_rank(torch.eye(4)) is None
    assert effective_rank(torch.randn(9, 3)) is not None
