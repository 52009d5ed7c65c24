# SPDX-License-Identifier: MIT
"""Specifications from names, mappings and objects, and back to plain values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.angles import ANGLES, Cosine, Sigmoid, as_angle
from hypersphere.formulas.magnitudes import MAGNITUDES, Ball, Segmented, as_magnitude
from hypersphere.formulas.specs import plain_values


@pytest.mark.parametrize("name", list(ANGLES))
def test_every_angle_comes_back_from_its_plain_values(name: str) -> None:
    assert as_angle(plain_values(as_angle(name), ANGLES)) == ANGLES[name]


@pytest.mark.parametrize("name", list(MAGNITUDES))
def test_every_magnitude_comes_back_from_its_plain_values(name: str) -> None:
    assert as_magnitude(plain_values(as_magnitude(name), MAGNITUDES)) == MAGNITUDES[name]


def test_a_mapping_changes_the_entry_that_it_names() -> None:
    assert as_angle({"name": "learned_sigmoid", "k": 0.5}) == Sigmoid(k=0.5, learnable=True)
    chosen = Segmented(1.0, 0.25, 2.0, relative=False)
    written = plain_values(chosen, MAGNITUDES)
    assert written == {
        "name": "segmented",
        "alpha": 1.0,
        "beta": 0.25,
        "radius": 2.0,
        "relative": False,
        "learnable": False,
        "momentum": 0.01,
    }
    assert as_magnitude(written) == chosen


def test_an_object_is_returned_as_it_is() -> None:
    chosen = Ball(radius=3.0)
    assert as_magnitude(chosen) is chosen


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cosin", r"unknown angle 'cosin': choose cosine, .* \(did you mean 'cosine'\?\)"),
        ({"k": 0.5}, r"angle: a mapping needs the key 'name' \(one of cosine, linear"),
        ({"name": "sigmoid", "kk": 0.5}, r"angle 'sigmoid': unknown argument 'kk': choose k, learnable"),
        ({"name": "sigmoid", "k": -1.0}, r"Sigmoid: k must lie in \[0.001, 1000\] radians, got -1\."),
        ({"name": "sigmoid", "k": "0.5"}, r"angle 'sigmoid': k must be a number, got '0\.5'"),
        ({"name": "sigmoid", "k": True}, r"angle 'sigmoid': k must be a number, got True"),
        ({"name": "sigmoid", "learnable": "no"}, r"angle 'sigmoid': learnable must be true or false, got 'no'"),
        (
            {"name": "learned_sigmoid", "k": 0.01},
            r"Sigmoid: k must lie in \[0.05, 1000\] radians, got 0.01\. A learned k",
        ),
    ],
)
def test_what_is_wrong_is_said(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_angle(value)  # type: ignore[arg-type]


def test_a_mapping_can_be_compiled() -> None:
    def make(cosine: Tensor) -> Tensor:
        radius = as_magnitude({"name": "ball", "radius": 2.0}).radius  # type: ignore[attr-defined]
        return as_angle({"name": "sigmoid", "k": 0.5}).value(cosine) * radius

    cosine = torch.linspace(-1, 1, 7)
    torch.compiler.reset()
    found = torch.compile(make, fullgraph=True, backend="aot_eager")(cosine)
    torch.testing.assert_close(found, 2 * Sigmoid(0.5).value(cosine))


def test_other_types_and_nameless_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="angle: expected a name, a mapping with a name, or an object, got int"):
        as_angle(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="angle: the name in a mapping must be a string, got 3"):
        as_angle({"name": 3})
    with pytest.raises(ValueError, match=r"Cosine\(\) has no name, so it cannot be written down"):
        plain_values(Cosine(), MAGNITUDES)
