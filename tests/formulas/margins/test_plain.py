# SPDX-License-Identifier: MIT
"""Heads without a margin: what they leave alone."""

from __future__ import annotations

import pytest
import torch

from hypersphere.formulas.margins import Margin, NormalizedSoftmax, Softmax


@pytest.mark.parametrize("margin", [Softmax(), NormalizedSoftmax()])
def test_cosines_pass_as_they_are(margin: Margin) -> None:
    cosine = torch.linspace(-1, 1, 5)
    assert margin.target(cosine, cosine, {}) is cosine
    assert margin.others(cosine, cosine, {}) is cosine
    assert margin.inference(cosine) is cosine
    assert not margin.changes_others


def test_one_divides_lengths_out_and_the_other_keeps_them() -> None:
    assert (Softmax().normalized, Softmax().default_scale) == (False, 1.0)
    assert (NormalizedSoftmax().normalized, NormalizedSoftmax().default_scale) == (True, 30.0)
    assert Softmax() == Softmax() != NormalizedSoftmax()
