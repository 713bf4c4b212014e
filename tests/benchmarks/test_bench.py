"""The benchmark runs from end to end. What it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ROWS = ["get, 1 caller", "get, 64 callers", "watch, flood", "3 of 1,000 watches", "lock, 20 contenders"]
CONTESTANTS = ["aetcd v3", "aetcd v2", "raw aiohttp v3"]
ABSENT = "etcetra"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run, with no peer installed."""
    chosen = [argument for row in ROWS for argument in ("--row", row)]
    chosen += [argument for name in [*CONTESTANTS, ABSENT] for argument in ("--contestant", name)]
    sizes = ["--rounds", "1", "--count", "3", "--venvs", str(tmp_path_factory.mktemp("venvs"))]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--json", *sizes, *chosen],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return found


def test_every_row_has_the_figures_of_every_contestant(told: dict[str, Any]) -> None:
    """Operations, wall, and CPU of the client and the server, once for each round; a floor has no locks and says so."""
    assert list(told["rows"]) == ROWS
    for row, found in told["rows"].items():
        for name in CONTESTANTS:
            if name.startswith("raw") and row.startswith("lock"):
                assert found[name] == "no lock"
                continue
            assert len(found[name]) == (3 if row.endswith("1 caller") else 1)
            for once in found[name]:
                assert once["operations"] > 0
                assert once["wall"] > 0
                assert once["cpu"] > 0
                assert once["server"] >= 0


def test_settings_of_one_client_take_part_where_single_keys_are_read(told: dict[str, Any]) -> None:
    """What coalescing gains is seen beside a client without it, and nowhere else."""
    assert "aetcd v3, coalesce=False" in told["rows"]["get, 1 caller"]
    assert "aetcd v3, coalesce=False" not in told["rows"]["watch, flood"]


def test_run_names_what_it_depends_on(told: dict[str, Any]) -> None:
    """Date, machine, load, and the version of everyone."""
    assert {"date", "machine", "load before", "python", "etcd", "run", "versions"} <= told["about"].keys()
    assert set(told["about"]["versions"]) >= set(CONTESTANTS)


def test_goals_without_figures_are_not_called_met(told: dict[str, Any]) -> None:
    """What was measured has a verdict; what was not, such as all that is beside peers, says that it was not."""
    sequential, *_ = [line for line in told["goals"] if line.startswith("| v3 get, 1 caller")]
    assert "met" in sequential or "MISSED" in sequential
    beside_peers = [line for line in told["goals"] if "best peer" in line or "aio-etcd" in line]
    assert beside_peers
    assert all("not measured" in line for line in beside_peers)


def test_peer_that_is_not_installed_stands_in_the_table(told: dict[str, Any]) -> None:
    """It is reported as such, and never dropped; the others are measured."""
    assert all(found[ABSENT] == "not installed" for found in told["rows"].values())
    assert told["about"]["versions"][ABSENT] == "did not start"
