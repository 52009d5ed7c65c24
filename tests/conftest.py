# SPDX-License-Identifier: MIT
"""What every test run shares: annotations checked at run time, the same examples each time, one thread a process."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

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


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone; what it wrapped is collected first, as it hangs when destroyed later."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    gc.collect()
    dist.destroy_process_group()


@pytest.fixture
def real_sets(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real sets that HYPERSPHERE_TEST_DATA names, which is also where names of sets lead."""
    folder = os.environ.get("HYPERSPHERE_TEST_DATA")
    if not folder:
        pytest.skip("HYPERSPHERE_TEST_DATA names no folder of real sets")
    monkeypatch.setenv("HYPERSPHERE_DATA", folder)
    return Path(folder)
