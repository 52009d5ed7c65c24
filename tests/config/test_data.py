# SPDX-License-Identifier: MIT
"""Settings of images: each value out of range is told with its name."""

from __future__ import annotations

from typing import Any

import pytest

from hypersphere.config.data import DataConfig


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (DataConfig, {"validation": 1.0}, r"^data: validation must lie in \[0, 1\), got 1\.$"),
        (DataConfig, {"padding": -1}, r"^data: padding must be 0 or more, got -1\.$"),
        (DataConfig, {"std": [1.0, 0.0]}, r"^data: every number of std must be above 0, got \[1\.0, 0\.0\]\.$"),
        (DataConfig, {"std": []}, r"^data: every number of std must be above 0, got \[\]\.$"),
        (DataConfig, {"test_share": 1.0}, r"^data: test_share must lie in \[0, 1\), got 1\.$"),
        (DataConfig, {"min_images": -1}, r"^data: min_images must be 0 or more, got -1\.$"),
        (DataConfig, {"without_fold": 0}, r"^data: without_fold must be 1 or more, got 0\.$"),
        (DataConfig, {"images_per_identity": 0}, r"^data: images_per_identity must be 1 or more, got 0\.$"),
        (
            DataConfig,
            {"keep": {"cat": 1.5}},
            r"^data: every fraction of keep must lie in \[0, 1\], got {'cat': 1\.5}\.$",
        ),
    ],
)
def test_a_value_out_of_range_is_told_with_its_name(section: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**settings)
