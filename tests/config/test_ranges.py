# SPDX-License-Identifier: MIT
"""What the numbers of a section must fulfil: nothing is said when all holds, everything at once when not."""

from __future__ import annotations

import pytest

from hypersphere.config.ranges import layer_weights, require


def test_all_that_does_not_hold_is_said_at_once() -> None:
    require("data", {"a must be 1.": True, "b must be 2.": True})
    with pytest.raises(ValueError, match=r"^data: b must be 2\.$"):
        require("data", {"a must be 1.": True, "b must be 2.": False})
    with pytest.raises(ValueError, match=r"^data: 2 problems:\n  - a must be 1\.\n  - b must be 2\.$"):
        require("data", {"a must be 1.": False, "b must be 2.": False})


def test_a_term_that_is_on_needs_a_weight() -> None:
    assert all(layer_weights(0.0, 0.0, active=False).values())
    assert all(layer_weights(0.0, 0.1, active=True).values())
    assert [sentence for sentence, holds in layer_weights(0.0, 0.0, active=True).items() if not holds] == [
        "one of hidden_weight and output_weight must be above 0."
    ]
