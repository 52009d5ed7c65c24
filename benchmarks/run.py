# SPDX-License-Identifier: MIT
"""Run the benchmark suites: `python -m benchmarks.run [SUITE ...] [--anyway]`; exit 1 when a bound is broken."""

from __future__ import annotations

import argparse
import importlib
import sys

import torch

from benchmarks.common import busy_percent, show, write_result

SUITES = ("energy", "regularizer", "compressive", "sampling", "trainer", "uniformity", "operators", "heads")


def main() -> int:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", default=[], metavar="SUITE", help=f"which of {', '.join(SUITES)} (all)")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine too, recording nothing")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.suites) - set(SUITES))
    if unknown:
        parser.error(f"unknown suite {unknown[0]!r}: choose {', '.join(SUITES)}")
    busy = busy_percent()
    if busy > 15 and not arguments.anyway:
        print(
            f"bench: other work takes {busy:.0f} % of this machine; wait until it is quiet, or pass --anyway.",
            file=sys.stderr,
        )
        return 2
    torch.manual_seed(0)
    broken = 0
    for suite in arguments.suites or SUITES:
        measured = []
        for row in importlib.import_module(f"benchmarks.{suite}").rows():
            show(row)
            measured.append(row)
            broken += not row.holds
        if not arguments.anyway:
            print(f"written: {write_result(suite, measured, busy)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
