# SPDX-License-Identifier: MIT
"""Each sign of masked gradients, there and not there, with its sentence."""

from __future__ import annotations

import pytest

from hypersphere.evaluation.masking import Finding, masking_findings


def only(robust: dict[str, float], **more: object) -> Finding:
    (found,) = masking_findings(robust, num_samples=1000, **more)  # type: ignore[arg-type]
    return found


CASES = [
    ({"fgsm": 0.30, "bim": 0.35}, True, "10 steps leave more images right than one does: 35.0% under BIM, 30.0%"),
    ({"fgsm": 0.30, "bim": 0.305}, False, "Many steps are no weaker than one, as it should be: 30.5% under BIM"),
    ({"bim": 0.60, "pgd": 0.49}, True, "Random starts are much stronger than a start at the image: 49.0% right under"),
    ({"bim": 0.60, "pgd": 0.51}, False, "Random starts are not much stronger than a start at the image: 51.0% right"),
    ({"unbounded": 0.02}, True, "Without a bound on the change 2.0% of the images stay right; an attack that may"),
    ({"unbounded": 0.005}, False, "Without a bound on the change 0.5% of the images stay right, nearly none."),
    ({"unbounded": 0.0}, False, "Without a bound on the change 0.0% of the images stay right, as it should be."),
    (
        {"pgd": 0.6, "pgd_margin": 0.5},
        True,
        "The margin as loss is much stronger than cross-entropy: 50.0% right",
    ),
    (
        {"pgd": 0.6, "pgd_margin": 0.56},
        False,
        "The margin as loss is not much stronger than cross-entropy: 56.0%",
    ),
    ({"l2": 0.7, "l2_large_steps": 0.66}, False, "In L2 steps as long as the radius are not much stronger than small"),
]


@pytest.mark.parametrize(("robust", "suspicious", "text"), CASES)
def test_a_sign_is_told_from_its_absence(robust: dict[str, float], suspicious: bool, text: str) -> None:
    found = only(robust)
    assert found.suspicious == suspicious
    assert found.text.startswith(text)
    assert found.values == robust


def test_large_steps_that_are_stronger_are_suspicious() -> None:
    found = only({"l2": 0.7, "l2_large_steps": 0.6})
    assert found.suspicious
    assert found.text == (
        "In L2 steps as long as the radius are much stronger than small ones: 60.0% right against 70.0%; the loss is "
        "too rough or too flat to follow."
    )


def test_transfer() -> None:
    there, absent = (
        masking_findings({"bim": 0.5}, num_samples=1000, transferred={"bim": one})[0] for one in (0.4, 0.5)
    )
    assert there.suspicious
    assert there.text == (
        "BIM made on the source is stronger than on the model itself: 40.0% right against 50.0%; the own gradient "
        "leads astray."
    )
    assert there.values == {"bim": 0.5, "bim of the source": 0.4}
    assert not absent.suspicious


def test_vanished_gradients() -> None:
    assert only({}, zero_gradients=0.3).text == (
        "The gradient is exactly zero at 30.0% of the correctly classified images; attacks along it stand still there."
    )
    assert not only({}, zero_gradients=0.0).suspicious


def test_two_images_say_nothing() -> None:
    (few,) = masking_findings({"fgsm": 0.30, "bim": 0.38}, num_samples=25)
    (many,) = masking_findings({"fgsm": 0.30, "bim": 0.38}, num_samples=100)
    assert not few.suspicious
    # without a bound nothing is compared
    assert masking_findings({"unbounded": 0.04}, num_samples=50)[0].suspicious
    assert many.suspicious


def test_the_pair_that_differs_most_is_told() -> None:
    robust = {"fgsm": 0.5, "fgsm_margin": 0.5, "bim": 0.5, "bim_margin": 0.3}
    found = next(one for one in masking_findings(robust, num_samples=1000) if "margin" in one.name)
    assert found.values == {"bim": 0.5, "bim_margin": 0.3}
