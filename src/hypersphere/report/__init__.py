# SPDX-License-Identifier: MIT
"""Pages that show what a run learnt, what the layers of any model do, and points at minimum energy."""

from hypersphere.report.comparison import write_comparison
from hypersphere.report.diagnosis import write_diagnosis
from hypersphere.report.story import write_report
from hypersphere.report.subjects import Subject, diagnose_paths, subject
from hypersphere.report.thomson import write_points

__all__ = [
    "Subject",
    "diagnose_paths",
    "subject",
    "write_comparison",
    "write_diagnosis",
    "write_points",
    "write_report",
]
