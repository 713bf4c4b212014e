"""The contest of feeds runs from end to end, and what contests share keeps its word. No figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import aiohttp
import pytest
from doubles.couchdb import CouchDBDouble

from benchmarks import contest
from benchmarks.contest import Contestant, Double, Row, compete, read_rows, tell, turn
from benchmarks.contract import Absent
from benchmarks.feeds import Recorder
from benchmarks.results import Results

ROOT = Path(__file__).parents[2]
FEEDS = ["_changes, continuous", "_changes, normal", "_db_updates, continuous"]
ROWS = [*FEEDS, *(f"{feed}, recorded" for feed in FEEDS)]
MEASURED = ["raw aiohttp", "aetcd"]
HEADERS = {"Authorization": "Basic YWRtaW46c2VjcmV0"}
COUNT = 130  # more than the first rows, which are read twice


class Told(NamedTuple):
    printed: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One run of one round, with no peer installed."""
    folder, venvs = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("venvs")
    sizes = ["--rounds", "1", "--count", str(COUNT), "--venvs", str(venvs), "--results", str(folder)]
    command = [sys.executable, "-m", "benchmarks.feeds", "--json", *sizes]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    return Told(json.loads(ran.stdout), folder)


def test_every_feed_has_the_figures_of_every_client(told: Told) -> None:
    """All rows that were asked for, with the CPU of the client and of the double."""
    assert list(told.printed["rows"]) == ROWS
    for found in told.printed["rows"].values():
        for name in MEASURED:
            assert [once["operations"] for once in found[name]] == [COUNT]
            assert all(once[figure] > 0 for once in found[name] for figure in ("wall", "cpu", "server"))


def test_peer_that_is_not_installed_stands_in_every_row(told: Told) -> None:
    """It is reported as such, and never dropped."""
    assert all(found["aiocouch"] == "not installed" for found in told.printed["rows"].values())
    assert told.printed["about"]["versions"]["aiocouch"] == "did not start"


def test_run_names_what_it_depends_on(told: Told) -> None:
    """Date, machine, load, and the version of everyone who was measured."""
    assert {"date", "machine", "load before", "python", "run"} <= told.printed["about"].keys()
    assert all(told.printed["about"]["versions"][name][0].isdigit() for name in MEASURED)


def test_results_are_written_as_json_and_as_tables(told: Told) -> None:
    """The JSON is what was printed; each feed has a table, with a line for everyone."""
    assert json.loads((told.folder / "feeds.json").read_text()) == told.printed
    lines = (told.folder / "feeds.md").read_text().splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == ROWS
    for name in [*MEASURED, "aiocouch"]:
        assert sum(line.startswith(f"| {name} |") for line in lines) == len(ROWS)


async def test_recorded_feed_is_asked_for_once_and_sent_whole_to_all() -> None:
    """However else it is asked for; what is no feed is passed on each time."""
    couch = CouchDBDouble(admin=("admin", "secret"))
    couch.create("bench")
    for number in range(3):
        couch.write("bench", {"_id": f"doc-{number}"})
    async with Recorder(couch) as recorder, aiohttp.ClientSession(headers=HEADERS) as session:
        for path in ("_changes?limit=2", "_changes?feed=normal&limit=2&heartbeat=1000", "_changes?limit=3", "", ""):
            async with session.get(f"{recorder.url}/bench{'/' if path else ''}{path}") as answer:
                assert answer.status == 200
                told = await answer.json(content_type=None)
                if path:
                    assert len(told["results"]) == (3 if path.endswith("3") else 2)
        asked = [f"{seen.path}?{seen.query}" for seen in couch.requests]
    assert asked == ["/bench/_changes?limit=2", "/bench/_changes?limit=3", "/bench?", "/bench?"]


# What contests share


def contestant(name: str, *, python: Path = Path(sys.executable)) -> Contestant:
    return Contestant(name, "peer", f"benchmarks.peers.pypi_{name}", "measure", name, python=python)


def test_peer_whose_environment_is_broken_stands_there_with_the_reason(tmp_path: Path) -> None:
    """Python is there, and the client is not."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    results = Results(about={})
    field = [contestant("aiocouch", python=python)]
    compete([Row("row", {}, field)], Double("http://127.0.0.1:1", 1), rounds=1, into=results)
    assert results.rows["row"]["aiocouch"] == "failed: ModuleNotFoundError: No module named 'aiocouch'"


def test_everyone_goes_first_in_turn_and_who_failed_once_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds after one that is not counted; `b` fails in the second of them, and shows no other figures."""
    asked: list[str] = []

    def ask(one: Contestant, given: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(one.name)
        assert given == {"count": 7, "url": "http://double", "double": 4711}
        fails = one.name == "b" and asked.count("b") == 3
        return {"version": "1", **({"reason": "failed: why"} if fails else {"figures": {"operations": 7}})}

    monkeypatch.setattr(contest, "_ask", ask)
    results = Results(about={})
    field = [contestant(name) for name in "abc"]
    row = Row("row", {"count": 7}, field, warm=True)
    compete([row], Double("http://double", 4711), rounds=3, into=results)
    assert "".join(asked) == "cab" + "abc" + "bca" + "ca"
    assert results.rows["row"] == {"a": [{"operations": 7}] * 3, "b": "failed: why", "c": [{"operations": 7}] * 3}


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Absent("no feed"), "no feed"), (ValueError("of the test"), "failed: ValueError: of the test")],
)
def test_client_that_lacks_something_or_fails_says_why(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version is told all the same."""

    def measure(count: int) -> None:
        assert count == 3
        raise error

    module = ModuleType("client_of_the_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(module, "measure", measure, raising=False)
    turn(module.__name__, "measure", "pytest", '{"count": 3}')
    assert json.loads(capsys.readouterr().out) == {"version": pytest.__version__, "reason": reason}


async def names(limit: int) -> AsyncGenerator[str, None]:
    """A feed of two rows."""
    for name in ["a", "b"][:limit]:
        yield name


async def test_feed_that_ends_early_has_no_figures() -> None:
    """Rows that never came are not counted."""
    assert (await read_rows(names, 2, double=1))["operations"] == 2
    with pytest.raises(EOFError, match="after 2 of 3 rows"):
        await read_rows(names, 3, double=1)


def test_table_shows_quartiles_and_the_cpu_beside_the_floor(capsys: pytest.CaptureFixture[str]) -> None:
    """Three rounds of 10, 20 and 40 operations a second, and as many ms for each: twice what the floor takes."""
    floor = [{"operations": 10, "wall": 0.1, "cpu": cpu} for cpu in (0.05, 0.1, 0.2)]
    ours = [{"operations": 10, "wall": 1 / rate, "cpu": 0.1 * rate} for rate in (1, 2, 4)]
    results = Results(about={}, rows={"row": {"floor": floor, "ours": ours, "other": "no row"}})
    options = Namespace(json=False, results=None)
    tell(results, options, module="feeds", text="Of the test.", columns={"a second": "per second", "us": "CPU us"})
    shown = capsys.readouterr().out.splitlines()
    assert "|  | a second | us | CPU / floor |" in shown
    assert "| ours | 20 [15-30] | 20,000 [15,000-30,000] | 2.00 |" in shown
    assert "| floor | 100 | 10,000 [7,500-15,000] | 1.00 |" in shown
    assert "| other | no row |  |  |" in shown
