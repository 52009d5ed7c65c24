# SPDX-License-Identifier: MIT
"""What every test run shares: annotations checked at run time, the same examples each time, one thread a process."""

from __future__ import annotations

import os
import sys

import hypothesis

# tensors in tests are small, and threads of several processes would wait for each other; before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import annotation_checks

if "hypersphere" in sys.modules:
    raise RuntimeError("hypersphere was imported before its annotations could be checked: see tests/conftest.py.")
annotation_checks.install("hypersphere")

# examples are drawn from the test's own name, so a failure repeats; HYPOTHESIS_PROFILE=explore looks further
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True, max_examples=50)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
