# SPDX-License-Identifier: MIT
"""The door of stacked functions, and products that autocast leaves alone."""

from __future__ import annotations

import pytest
import torch

from hypersphere.formulas.stacks import check_stack, products


def test_what_comes_through_the_door() -> None:
    check_stack("f", "weight", torch.ones(1, 1))
    check_stack("f", "weight", torch.ones(0, 4, 2, 3), smallest=2)
    with pytest.raises(ValueError, match=r"^f: expected weight \(\.\.\., K, D\), got shape \(4,\)\.$"):
        check_stack("f", "weight", torch.ones(4))
    with pytest.raises(ValueError, match=r"^f: expected poles with P >= 2 and D >= 1, got P=1, D=3\.$"):
        check_stack("f", "poles", torch.ones(1, 3), axes="P D", smallest=2)
    with pytest.raises(ValueError, match=r"^f: expected weight with K >= 1 and D >= 1, got K=2, D=0\.$"):
        check_stack("f", "weight", torch.ones(2, 0))
    with pytest.raises(TypeError, match=r"^f: expected weight of a floating-point dtype, got torch\.int64"):
        check_stack("f", "weight", torch.ones(2, 3, dtype=torch.long))


def test_products_keep_their_precision_under_autocast() -> None:
    a = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = products(a, a.mT)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside.double(), a.double() @ a.double().mT, rtol=1e-5, atol=1e-5)
