# SPDX-License-Identifier: MIT
"""Settings of attacks on training images: off by default, sizes in units of pixels of [0, 1]."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hypersphere.config import Config
from hypersphere.config.adversary import AdversaryConfig
from hypersphere.training.settings import make_config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, r"^adversary: epsilon must be above 0, got 0\.$"),
        ({"epsilon": math.inf}, r"^adversary: epsilon must be above 0, got inf\.$"),
        (
            {"epsilon": 8.0},
            r"^adversary: epsilon must be 1 or less with norm 'linf', got 8\. It is in units of pixels of",
        ),
        ({"step_size": -1.0}, r"^adversary: step_size must be above 0, got -1\.$"),
        ({"steps": 0}, r"^adversary: steps must be 1 or more, got 0\.$"),
    ],
)
def test_a_value_out_of_range_is_told_with_its_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdversaryConfig(**settings)


def test_l2_may_be_longer_than_a_pixel() -> None:
    assert AdversaryConfig(norm="l2", epsilon=2.0).epsilon == 2.0


def test_nothing_is_attacked_by_default() -> None:
    assert not Config().adversary.active
    assert make_config(None, {"adversary.attack": "fgsm"}).adversary.active


def test_an_unknown_attack_is_told() -> None:
    with pytest.raises(ValueError, match=r"adversary\.attack: expected one of 'none', 'fgsm', 'pgd', got 'bim'"):
        make_config(None, {"adversary.attack": "bim"})
