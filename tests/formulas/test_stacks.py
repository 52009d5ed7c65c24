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


def test_derivatives_keep_their_precision_where_backward_runs_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 3, 64, generator=generator, requires_grad=True)
    b = torch.randn(64, 5, generator=generator, requires_grad=True)

    def first_and_second(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first = torch.autograd.grad(products(a, b).square().sum(), (a, b), create_graph=True)
        return *first, *torch.autograd.grad(first[0].square().sum() + first[1].square().sum(), (a, b))

    with torch.autocast("cpu", torch.bfloat16):
        inside = first_and_second(a, b)
        (mapped,) = torch.func.vmap(lambda row: (products(row, b),))(a)
    for found, expected in zip(inside, first_and_second(a, b), strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 1e-6 * expected.norm()
    torch.testing.assert_close(mapped, products(a, b))


def test_compiled_code_that_is_called_under_autocast_has_the_same_derivatives() -> None:
    a = torch.randn(3, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    compiled = torch.compile(lambda a: products(a, a.mT).square().sum(), fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        inside = compiled(a)
    (found,) = torch.autograd.grad(inside, a)
    (expected,) = torch.autograd.grad(products(a, a.mT).square().sum(), a)
    assert (found - expected).norm() < 1e-6 * expected.norm()
    torch.compiler.reset()
