# SPDX-License-Identifier: MIT
"""A missing package is told in words."""

from __future__ import annotations

import pytest

from hypersphere.data.extras import needed_for


def test_a_missing_package_says_what_to_install() -> None:
    message = r'reading tapes needs the package tape_reader: pip install "hypersphere\[train\]"'
    with pytest.raises(ImportError, match=message), needed_for("reading tapes"):
        import tape_reader  # noqa: F401


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="something else"), needed_for("reading tapes"):
        raise ValueError("something else")
