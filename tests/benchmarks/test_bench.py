"""The benchmark runs from end to end. What it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

ROWS = [
    f"{protocol} {row}"
    for protocol in ("v3", "v2")
    for row in (
        "get, 1 caller",
        "get, 64 callers",
        "put, 1 caller",
        "put, 64 callers",
        *(["get coalesced, 64 callers"] if protocol == "v3" else []),
        "watch, per change",
    )
]


def bench(*arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rounds", "1", "--count", "3", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
    return ran.stdout


def test_table_has_every_row_with_its_figures() -> None:
    """One line for each row, in order: CPU and rate of both contestants, and the goal where there is one."""
    lines = [line for line in bench().splitlines() if line.startswith(("v2 ", "v3 "))]
    assert [line.split("   ")[0] for line in lines] == ROWS
    for line, row in zip(lines, ROWS, strict=True):
        figures = line.removeprefix(row).split()
        assert all(float(figure) > 0 for figure in figures[:4])
        assert ("<=" in line) == (row.endswith(("64 callers", "get, 1 caller")) and "coalesced" not in row)


def test_json_has_every_row_and_what_it_depends_on() -> None:
    """A program gets the same rows, and the versions and circumstances with them."""
    told = json.loads(bench("--json"))
    assert [row["name"] for row in told["rows"]] == ROWS
    assert {"date", "python", "aiohttp", "etcd", "run"} <= told["about"].keys()
    for row in told["rows"]:
        assert row["aetcd"]["cpu_us"]["middle"] > 0
        assert row["ratio"]["cpu"]["low"] <= row["ratio"]["cpu"]["middle"] <= row["ratio"]["cpu"]["high"]
        assert row["goal"] is None or row["met"] == (
            row["ratio"][row["goal"]["figure"]]["middle"] <= row["goal"]["most"]
        )
