# SPDX-License-Identifier: MIT
"""The table of margins: what every entry promises a head."""

from __future__ import annotations

import pickle

import pytest
import torch

from hypersphere.formulas.margins import MARGINS, NormalizedSoftmax, Softmax


@pytest.mark.parametrize("name", MARGINS)
def test_every_margin_keeps_the_promises_of_the_table(name: str) -> None:
    margin = MARGINS[name]
    assert margin.default_scale == "feature" or margin.default_scale > 0
    assert pickle.loads(pickle.dumps(margin)) == margin
    assert len({margin, margin}) == 1
    cosine = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None].requires_grad_()
    state = {key: torch.tensor(start, dtype=torch.float64) for key, start in margin.initial_state().items()}
    harder = margin.target(cosine, torch.full_like(cosine, 25.0), state)
    assert harder.shape == cosine.shape
    # a margin never changes the order of angles
    assert (harder.diff(dim=0) >= -1e-15).all()
    if harder is not cosine:
        (slope,) = torch.autograd.grad(harder.sum(), cosine)
        assert slope.isfinite().all()


@pytest.mark.parametrize("margin", [Softmax(), NormalizedSoftmax()])
def test_without_a_margin_the_cosine_passes_untouched(margin: Softmax | NormalizedSoftmax) -> None:
    cosine = torch.randn(5, 1)
    assert margin.target(cosine, cosine, {}) is cosine


def test_published_scales() -> None:
    assert NormalizedSoftmax().default_scale == 30.0
    assert (Softmax().normalized, NormalizedSoftmax().normalized) == (False, True)
