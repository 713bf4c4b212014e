"""What the contests against the tests' doubles share: the double, whose turn it is, what is measured, and the tables.

Each measurement is a process of its own, in the environment of its contestant. There this file runs too, with nothing
but the standard library; what only the program itself needs is imported where it is used.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

from benchmarks.contract import Absent
from benchmarks.stage import Meter
from benchmarks.tables import line, spread

if TYPE_CHECKING:
    from benchmarks.results import Results

__all__ = [
    "Contestant",
    "Double",
    "Figures",
    "Gauge",
    "Listening",
    "Row",
    "about",
    "arguments",
    "compete",
    "double",
    "peer",
    "read_rows",
    "stand",
    "tell",
    "transferred",
    "turn",
]

ROOT = Path(__file__).parents[1]
LIMIT = 120.0  # seconds until a measurement is given up
MIB = float(1 << 20)
FIRST_ROWS = 100  # of a feed, before what is measured

# The project's folder comes last, so that a client which has a name of this project is found in its own environment.
RUN = "import sys; sys.path.append(sys.argv[1]); from benchmarks.contest import turn; turn(*sys.argv[2:])"

Figures = dict[str, float]


# In the process of a contestant


class Gauge(Meter):
    """A Meter that also takes the CPU of the double, whose process is given."""

    server: float

    def __init__(self, double: int) -> None:
        self._double = double

    def __enter__(self) -> Self:
        self._server = _cpu(self._double)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.server = _cpu(self._double) - self._server

    def of(self, operations: float) -> Figures:
        """What it took to do so many."""
        taken = {"wall": self.wall, "cpu": self.cpu, "server": self.server, "memory": self.memory}
        return {"operations": operations, **taken}


def _cpu(process: int) -> float:
    """Seconds of CPU that another process has used: what `clock_getcpuclockid` makes of its ID, in nanoseconds."""
    return time.clock_gettime((~process << 3) | 2)


def transferred(gauge: Gauge, size: int, read: int) -> Figures:
    """The figures of an object, each MiB an operation. Raises EOFError where not all of it came."""
    if read != size:
        raise EOFError(f"{read} of {size} bytes were read")
    return gauge.of(size / MIB)


async def read_rows(feed: Callable[[int], AsyncGenerator[str, None]], count: int, *, double: int) -> Figures:
    """Open a feed of at most so many rows, and read them; of a few rows first, so that all code is there.

    What is measured begins with the request, and ends when the connection is left.
    """
    for rows in (min(count, FIRST_ROWS), count):
        with Gauge(double) as gauge:
            await _read(feed(rows), rows)
    return gauge.of(count)


async def _read(feed: AsyncGenerator[str, None], count: int) -> None:
    read = 0
    async with aclosing(feed):
        async for name in feed:
            read += bool(name)
            if read == count:
                return
    raise EOFError(f"the feed ended after {read} of {count} rows")


def turn(module: str, function: str, distribution: str, given: str) -> None:
    """One measurement: a line of JSON with the figures, or with the reason why there are none."""
    measure = getattr(importlib.import_module(module), function)
    told: dict[str, Any] = {"version": version(distribution)}
    try:
        told["figures"] = measure(**json.loads(given))
    except Absent as e:
        told["reason"] = str(e)
    except Exception as e:  # noqa: BLE001 - whatever a client raises is told
        told["reason"] = f"failed: {type(e).__name__}: {str(e)[:200]}".rstrip(": ")
    print(json.dumps(told))


# Who competes


class Contestant(NamedTuple):
    """One client, floor or peer.

    module, function: What measures it, called with what the row gives and with `settings`.
    distribution: Whose version is told.
    python: The interpreter of its environment.
    """

    name: str
    kind: Literal["ours", "floor", "peer"]
    module: str
    function: str
    distribution: str
    settings: Mapping[str, Any] = {}
    python: Path = Path(sys.executable)


def peer(name: str, venvs: Path | None) -> Contestant:
    """One of PyPI, whose adapter and environment have the same name; without `venvs` it stands there as absent."""
    adapter = f"pypi_{name}"
    python = (venvs or Path("nowhere")) / adapter / "bin" / "python"
    return Contestant(name, "peer", f"benchmarks.peers.{adapter}", "measure", name, python=python)


class Row(NamedTuple):
    """One row.

    given: To each contestant.
    warm: Whether one more round, which is not counted, comes first.
    """

    name: str
    given: Mapping[str, Any]
    contestants: Sequence[Contestant]
    warm: bool = False


class Double(NamedTuple):
    """The server, which runs in a process of its own."""

    url: str
    process: int


class Listening(Protocol):
    """What a double tells."""

    @property
    def url(self) -> str: ...


async def stand(double: AbstractAsyncContextManager[Listening]) -> None:
    """Be the double until the input ends. Its first line is the URL."""
    # Who has all that it wanted closes in the midst of an answer, and aiohttp tells that as an error.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    async with double as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def double(*command: str) -> Iterator[Double]:
    """A double that this module of Python serves."""
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        if not (url := process.stdout.readline().strip()):
            raise SystemExit("the double did not start")
        yield Double(url, process.pid)


def compete(rows: Sequence[Row], against: Double, *, rounds: int, into: Results) -> None:
    """Every contestant in turn, in rounds.

    Who goes first changes with each round: a machine that slows down or warms up would favour somebody. Who failed once
    is not tried again in this row, and its place tells why.
    """
    versions: dict[str, str] = into.about.setdefault("versions", {})
    for row in rows:
        field = row.contestants
        found: dict[str, list[Figures] | str] = {one.name: [] for one in field}
        into.rows[row.name] = found
        for number in range(-row.warm, rounds):
            first = number % len(field)
            for one in (*field[first:], *field[:first]):
                if isinstance(so_far := found[one.name], str):
                    continue
                told = _ask(one, {**row.given, **one.settings, "url": against.url, "double": against.process})
                versions[one.name] = told.get("version") or versions.get(one.name, "did not start")
                if "figures" not in told:
                    found[one.name] = told["reason"]
                elif number >= 0:
                    so_far.append(told["figures"])
        print(f"{time.strftime('%H:%M:%S')} {row.name}", file=sys.stderr)


def _ask(one: Contestant, given: Mapping[str, Any]) -> dict[str, Any]:
    """Its `version`, as far as it came, and its `figures` or a `reason`."""
    if not one.python.exists():
        return {"reason": "not installed"}
    command = [str(one.python), "-I", "-c", RUN, str(ROOT), one.module, one.function, one.distribution]
    try:
        ran = subprocess.run([*command, json.dumps(given)], capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return {"reason": f"failed: no end after {LIMIT:g} s"}
    for said in reversed(ran.stdout.splitlines()):
        with suppress(json.JSONDecodeError):  # some libraries print
            if isinstance(told := json.loads(said), dict):
                return told
    last = ran.stderr.strip().splitlines()
    return {"reason": f"failed: {last[-1] if last else 'its process ended'}"[:200]}


# The program


def arguments(module: str, text: str | None) -> argparse.ArgumentParser:
    """What both programs can be told."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=text)
    parser.add_argument("--rounds", type=int, default=5, help="how often each row is measured (%(default)s)")
    parser.add_argument("--venvs", type=Path, help="where the peers are installed")
    parser.add_argument("--results", type=Path, help=f"a folder for {module}.json and {module}.md")
    parser.add_argument("--json", action="store_true", help="print JSON in place of Markdown")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser


def about(run: str) -> dict[str, Any]:
    """Date, machine, load, and how much was measured."""
    from benchmarks.machine import circumstances
    from benchmarks.rows import Amount

    found = circumstances(Amount(), etcd="", data=None)
    return {name: found[name] for name in ("date", "machine", "load before", "python")} | {"run": run}


def tell(results: Results, options: argparse.Namespace, *, module: str, text: str, columns: Mapping[str, str]) -> None:
    """Print the results, and write them where that was asked for.

    columns: Headings of the tables, and which figure of `benchmarks.results` is under each.
    """
    measured = json.dumps({"about": results.about, "rows": results.rows}, indent=1) + "\n"
    tables = "\n".join(_markdown(results, module, text, columns)) + "\n"
    if folder := options.results:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{module}.json").write_text(measured)
        (folder / f"{module}.md").write_text(tables)
    sys.stdout.write(measured if options.json else tables)


def _markdown(results: Results, module: str, text: str, columns: Mapping[str, str]) -> Iterator[str]:
    yield f"# {module.capitalize()}\n"
    yield f"{text} Written by `python -m benchmarks.{module}`; [how it is measured](../README.md).\n"
    yield "Middle of the rounds, and their quartiles. Last, the CPU beside that of the floor, round by round.\n"
    for name, told in results.about.items():
        shown = ", ".join(f"{who} {what}" for who, what in told.items()) if isinstance(told, dict) else told
        yield f"- {name}: {shown}"
    for row, found in results.rows.items():
        floor = next(iter(found))
        headings = ["", *columns, f"CPU / {floor}"]
        yield f"\n## {row}\n"
        yield line(headings)
        yield line(["-"] * len(headings))
        for name, measured in found.items():
            if isinstance(measured, str):
                yield line([name, measured, *[""] * len(columns)])
            else:
                cells = [spread(results.spread(row, name, figure)) for figure in columns.values()]
                yield line([name, *cells, _beside(results, row, name, floor)])


def _beside(results: Results, row: str, name: str, floor: str) -> str:
    try:
        return f"{results.ratio(row, name, floor, 'CPU us'):.2f}"
    except LookupError:
        return ""
