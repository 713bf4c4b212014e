"""A node's statistics: counters, gauges and histograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import field, frozen

from aetcd.errors import DecodeError

__all__ = ["Counter", "Gauge", "Histogram", "Statistic", "Statistics", "SystemStats", "read_stats"]


@frozen(kw_only=True)
class Counter:
    """A count that only grows, from the node's start on."""

    value: float
    desc: str = ""


@frozen(kw_only=True)
class Gauge:
    """A number that goes up and down."""

    value: float
    desc: str = ""


@frozen(kw_only=True)
class Histogram:
    """How values were spread over the node's last collection interval (10 s by default). Times are milliseconds.

    percentiles: By rank: 50, 75, 90, 95, 99, and 999 for 99.9.
    histogram: Lower end of each bin, and the values in it; 3.5.0 sends one empty bin.
    """

    n: int = 0
    min: float = 0.0
    max: float = 0.0
    arithmetic_mean: float = 0.0
    geometric_mean: float = 0.0
    harmonic_mean: float = 0.0
    median: float = 0.0
    variance: float = 0.0
    standard_deviation: float = 0.0
    skewness: float = 0.0
    kurtosis: float = 0.0
    percentile: tuple[tuple[float, float], ...] = ()
    histogram: tuple[tuple[float, float], ...] = ()
    desc: str = ""

    @property
    def percentiles(self) -> dict[float, float]:
        """Values by rank."""
        return dict(self.percentile)


Statistic = Counter | Gauge | Histogram
Statistics = Mapping[str, "Statistic | Statistics"]


@frozen(kw_only=True)
class SystemStats:
    """A node's Erlang machine, for those who develop CouchDB.

    uptime: Seconds.
    memory: Bytes by kind.
    message_queues: Lengths of the queues: a number, or a spread over queues of one kind. A node in trouble shows here.
    """

    uptime: int = 0
    memory: dict[str, int] = field(factory=dict)
    run_queue: int = 0
    process_count: int = 0
    process_limit: int = 0
    os_proc_count: int = 0
    message_queues: dict[str, Any] = field(factory=dict)
    extra: dict[str, Any] = field(factory=dict)


def read_stats(raw: object) -> Statistic | Statistics | None:
    """One statistic, or a group of them by name; None where there is none of that name (the server answers null)."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise DecodeError(f"statistics do not read: {raw!r:.80}")
    if isinstance(raw.get("type"), str) and "value" in raw:
        return _statistic(raw)
    return {name: found for name, one in raw.items() if (found := read_stats(one)) is not None}


def _statistic(raw: dict[str, Any]) -> Statistic:
    desc = raw.get("desc", "")
    try:
        match raw["type"]:
            case "counter":
                return Counter(value=raw["value"], desc=desc)
            case "gauge":
                return Gauge(value=raw["value"], desc=desc)
            case "histogram":
                return msgspec.convert({**raw["value"], "desc": desc}, Histogram)
            case other:
                raise DecodeError(f"a statistic of unknown type {other!r}")
    except (msgspec.ValidationError, TypeError) as e:
        raise DecodeError(f"a statistic does not read: {e}") from e
