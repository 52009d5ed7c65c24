# SPDX-License-Identifier: MIT
"""How every benchmark measures: interleaved rounds, medians, peak memory of a fresh process, one result schema."""

from __future__ import annotations

import datetime
import json
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import hypersphere

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One line of the performance contract: a measured ratio (or size) beside its bound."""

    what: str
    against: str
    unit: str  # "ratio" | "MiB" | "s"
    value: float
    bound: float | None  # None: reported, no promise
    spread: tuple[float, float]  # quartiles of the per-round values
    detail: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether the value keeps its bound."""
        return self.bound is None or self.value <= self.bound


def seconds(function: Callable[[], object]) -> float:
    """Wall seconds of one call, the device synchronised on both sides."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(
    what: str,
    against: str,
    measured: Callable[[], object],
    reference: Callable[[], object],
    *,
    bound: float | None,
    factor: float = 1.0,
    rounds: int = 11,
) -> Row:
    """Ratio of two functions, run in turn: the median over rounds of measured / (factor × reference).

    Pairing each run with its neighbour cancels the slow drift of a machine's speed; the median drops interruptions.
    """
    measured(), reference()
    pairs = [(seconds(measured), seconds(reference)) for _ in range(rounds)]
    ratios = sorted(ours / (factor * theirs) for ours, theirs in pairs)
    return Row(
        what,
        against,
        "ratio",
        statistics.median(ratios),
        bound,
        _quartiles(ratios),
        {
            "measured_ms": 1e3 * statistics.median(ours for ours, _ in pairs),
            "reference_ms": 1e3 * statistics.median(theirs for _, theirs in pairs),
            "rounds": rounds,
        },
    )


def peak_memory(
    what: str, against: str, setup: Callable[[], Callable[[], object]], *, bound: float | None, rounds: int = 1
) -> Row:
    """Largest extra memory in MiB of the call that `setup` returns, in a fresh process (Linux: VmHWM).

    The median over `rounds` processes: what the allocator keeps from one block to the next is not always the same.
    """
    measured = sorted(_in_a_fresh_process(setup) for _ in range(rounds))
    extra = [one[0] for one in measured]
    elapsed = statistics.median(one[1] for one in measured)
    detail = {"seconds": elapsed, "rounds": rounds}
    return Row(what, against, "MiB", statistics.median(extra), bound, _quartiles(extra), detail)


def _in_a_fresh_process(setup: Callable[[], Callable[[], object]]) -> tuple[float, float]:
    """Extra MiB and seconds of one call."""
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_measure_peak, args=(setup, sender))
    process.start()
    sender.close()
    extra, elapsed = receiver.recv()
    process.join()
    return extra, elapsed


def _measure_peak(setup: Callable[[], Callable[[], object]], sender: Any) -> None:
    call = setup()
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status("VmRSS")
    elapsed = seconds(call)
    sender.send(((_status("VmHWM") - before) / 1024, elapsed))


def _status(field: str) -> int:
    """One figure of this process in KiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, field
    return int(found.group(1))


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def busy_percent(interval: float = 2.0) -> float:
    """Share of all processors that other work takes right now, in percent."""
    import psutil

    return float(psutil.cpu_percent(interval=interval))


def metadata(suite: str, busy: float) -> dict[str, Any]:
    """What a reader needs to judge a number."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=RESULTS.parent
    )
    return {
        "schema": 1,
        "suite": suite,
        "version": hypersphere.__version__,
        "commit": commit.stdout.strip() or None,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "allocator": allocator(),
        "device": "cpu",  # every suite so far makes its tensors there
        "busy_percent_before": busy,
    }


def processor() -> str:
    """Model name of the processor."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.machine()


def allocator() -> dict[str, str]:
    """The variables in the environment that change how memory of tensors is taken and given back; mostly none."""
    found = {name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "THP_MEM_ALLOC"))}
    if preloaded := os.environ.get("LD_PRELOAD"):
        found["LD_PRELOAD"] = " ".join(Path(word).name for word in re.split("[ :]+", preloaded))
    return found


def write_result(suite: str, rows: list[Row], busy: float) -> Path:
    """Write one suite's rows to results/<version>/<suite>--<machine>--<device>.json."""
    facts = metadata(suite, busy)
    words = f"{facts['processor']} {facts['instructions']} {os.cpu_count()} cores"
    if facts["allocator"]:
        words += " tuned allocator"
    machine = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    device = re.sub(r"[^a-z0-9]+", "-", facts["device"].lower()).strip("-")
    path = RESULTS / hypersphere.__version__ / f"{suite}--{machine}--{device}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts["rows"] = [asdict(row) | {"holds": row.holds} for row in rows]
    path.write_text(json.dumps(facts, indent=2) + "\n")
    return path


def show(row: Row) -> None:
    """One line on the terminal."""
    bound = "" if row.bound is None else f"  (bound {row.bound:g}: {'holds' if row.holds else 'BROKEN'})"
    low, high = row.spread
    print(f"{row.what:<64} / {row.against:<34} {row.value:8.3f} {row.unit} [{low:.3f}, {high:.3f}]{bound}", flush=True)
    sys.stdout.flush()
