# SPDX-License-Identifier: MIT
"""Pages that show what a run learnt, one run in depth or several side by side, and points at minimum energy."""

from hypersphere.report.comparison import write_comparison
from hypersphere.report.story import write_report
from hypersphere.report.thomson import write_points

__all__ = ["write_comparison", "write_points", "write_report"]
