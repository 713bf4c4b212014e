"""What is measured: each case drives one client and answers with figures. Its docstring says how it is fair."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.cases.failures import outage, silence, survival
from benchmarks.cases.keys import keys, reads
from benchmarks.cases.leases import renewals
from benchmarks.cases.locks import handovers
from benchmarks.cases.watches import flood, paced, standing

__all__ = ["CASES"]

CASES: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    case.__name__: case
    for case in (keys, reads, paced, flood, standing, handovers, renewals, outage, silence, survival)
}
