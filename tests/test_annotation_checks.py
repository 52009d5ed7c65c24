# SPDX-License-Identifier: MIT
"""The checker of annotations is on, and steps aside for the package's own words and for compilation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import jaxtyping
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import annotation_checks


@annotation_checks.checked
def double(vectors: Float[Tensor, "K D"]) -> Float[Tensor, "K D"]:
    if vectors.ndim == 1:
        raise ValueError("double: expected vectors (K, D).")
    return vectors * 2 if len(vectors) < 5 else vectors[:1]


def test_true_annotations_pass() -> None:
    assert double(torch.ones(2, 3)).tolist() == [[2.0] * 3] * 2


def test_an_accepted_call_that_breaks_an_annotation_fails() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match=r"parameters of .*double"):
        double(torch.ones(2, 3, 1))


def test_a_false_return_annotation_fails() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match=r"return value of .*double"):
        double(torch.ones(6, 3))


def test_the_functions_own_refusal_is_heard() -> None:
    with pytest.raises(ValueError, match=r"double: expected vectors \(K, D\)"):
        double(torch.ones(3))


def test_functions_without_shapes_are_checked_too() -> None:
    @annotation_checks.checked
    def half(number: int, *, exact: bool = True) -> int:
        if number < 0:
            raise ValueError("half: expected a number from 0 on.")
        return number / 2 if exact else number // 2

    assert half(3, exact=False) == 1
    with pytest.raises(jaxtyping.TypeCheckError, match=r"half.*return"):
        half(3)
    with pytest.raises(jaxtyping.TypeCheckError, match=r"half.*parameter number"):
        half(2.0, exact=False)
    with pytest.raises(ValueError, match="half: expected"):
        half(-1.0)


def test_an_int_is_a_float() -> None:
    @annotation_checks.checked
    @dataclass
    class Setting:
        power: float

    assert Setting(2).power == 2
    with pytest.raises(jaxtyping.TypeCheckError, match="power"):
        Setting("two")


def test_compilation_sees_the_bare_function() -> None:
    compiled = torch.compile(double, fullgraph=True, backend="eager")
    assert compiled(torch.ones(2, 3)).tolist() == [[2.0] * 3] * 2


def test_the_package_is_checked() -> None:
    from hypersphere.checks import check_range

    check_range("who", "what", 0.5, low=0, high=1)
    with pytest.raises(jaxtyping.TypeCheckError, match="value"):
        check_range("who", "what", Fraction(1, 2), low=0, high=1)
