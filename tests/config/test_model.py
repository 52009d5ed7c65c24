# SPDX-License-Identifier: MIT
"""Settings of network and head: each value out of range is told with its name."""

from __future__ import annotations

from typing import Any

import pytest

from hypersphere.config.model import HeadConfig


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (HeadConfig, {"label_smoothing": 1.1}, r"^head: label_smoothing must lie in \[0, 1\], got 1\.1\.$"),
        (HeadConfig, {"probability_floor": -1e-4}, r"^head: probability_floor must lie in \[0, 1\], got -0\.0001\.$"),
    ],
)
def test_a_value_out_of_range_is_told_with_its_name(section: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**settings)
