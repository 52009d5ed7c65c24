# SPDX-License-Identifier: MIT
"""Pages that show what a run learnt: one run in depth, or several side by side. Reads run folders, nothing else."""

from hypersphere.report.comparison import write_comparison
from hypersphere.report.story import write_report

__all__ = ["write_comparison", "write_report"]
