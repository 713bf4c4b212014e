"""What the figures depend on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.rows import Amount

__all__ = ["circumstances"]


def circumstances(amount: Amount, *, etcd: str, data: Path | None) -> dict[str, Any]:
    """Date, machine, versions, and how much was measured. The load is that of before the run: other people's."""
    system = f"{platform.system()} {platform.release()}"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory():.0f} GB, {system}",
        "load before": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "etcd": f"{etcd}, data in {'memory' if data else 'a temporary folder'}",
        "run": f"{amount.rounds} rounds"
        + (f" of {amount.seconds:g} s" if amount.count is None else f" of at most {amount.count} operations"),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
