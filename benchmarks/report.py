"""The figures, as a person reads them and as a program does."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import msgspec

from benchmarks.contest import Amount, Case, Spread

__all__ = ["as_json", "as_table", "circumstances"]

_WORDS = {"wall": "time", "cpu": "CPU"}


def circumstances(*, etcd: str, data: str, amount: Amount, rounds: int) -> dict[str, str]:
    """What the figures depend on."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "aiohttp": version("aiohttp"),
        "etcd": f"{etcd}, one member, data in {data}",
        "run": f"{rounds} x {amount} for each contestant and row, in turns, after a warm-up",
    }


def as_json(about: Mapping[str, str], cases: Sequence[Case]) -> str:
    """One JSON object."""
    told = {"about": about, "rows": [case.as_dict() for case in cases]}
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def as_table(about: Mapping[str, str], cases: Sequence[Case]) -> str:
    """Lines for a terminal."""
    head = [f"{name:8} {text}" for name, text in about.items()]
    return "\n".join([*head, "", *_HEADER, *map(_row, cases)])


_HEADER = (
    f"{'':24}{'raw aiohttp':>19}{'aetcd':>19}    aetcd / raw: median [quartiles of the rounds]",
    f"{'':24}{'CPU us':>9}{'per s':>10}{'CPU us':>9}{'per s':>10}    {'CPU':19}{'time':19}goal",
)


def _row(case: Case) -> str:
    figures = "".join(
        f"{case.cpu(slices).middle:9.0f}{case.rate(slices).middle:10.0f}"
        for slices in (case.raw_slices, case.aetcd_slices)
    )
    return f"{case.name:24}{figures}    {_shown(case.ratio('cpu'))}{_shown(case.ratio('wall'))}{_goal(case)}".rstrip()


def _shown(ratio: Spread) -> str:
    return f"{ratio.middle:.2f} [{ratio.low:.2f}-{ratio.high:.2f}]".ljust(19)


def _goal(case: Case) -> str:
    if case.goal is None:
        return ""
    return f"{_WORDS[case.goal.figure]} <= {case.goal.most:.2f}: {'met' if case.met else 'MISSED'}"
