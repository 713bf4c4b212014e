"""The examples: each does what it shows, on real etcd, and ends in order when it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

import aetcd
from aetcd.testing import EtcdServer
from aetcd.testing._ports import HeldPort
from examples.cron_job import Refused, Reports

CHECKOUT = Path(__file__).parents[2]
WITHIN = 30.0
"""Seconds that an example has for its next line, and for its end."""


class Run:
    """A run of an example, and the lines that it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, pattern: str) -> re.Match[str]:
        """The next line in which the pattern is found."""
        assert self.process.stdout is not None
        async with asyncio.timeout(WITHIN):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line.rstrip())
                if found := re.search(pattern, line):
                    return found
        pytest.fail(f"it ended without {pattern!r}:\n" + "\n".join(self.lines))

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> list[str]:
        """The lines that it prints until it ends; that is without an error."""
        assert self.process.stdout is not None
        async with asyncio.timeout(WITHIN):
            rest = (await self.process.stdout.read()).decode().splitlines()
            assert await self.process.wait() == 0, "\n".join(self.lines + rest)
        self.lines += rest
        assert not [line for line in self.lines if "Traceback" in line or "Unclosed" in line], self.lines
        return rest


@asynccontextmanager
async def started(name: str, *arguments: str, etcd: str | None = None) -> AsyncIterator[Run]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"examples.{name}", *arguments),
        cwd=CHECKOUT,
        env=environment if etcd is None else {**environment, "ETCDCTL_ENDPOINTS": etcd},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Run(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@pytest.fixture
async def server() -> AsyncIterator[EtcdServer]:
    """One for each test, since the examples name their keys themselves."""
    async with EtcdServer() as server:
        yield server


@pytest.fixture
async def client(server: EtcdServer) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(server.url) as client:
        yield client


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN):
        while not await condition():
            await asyncio.sleep(0.02)


def reports(path: Path) -> list[tuple[int, int, str]]:
    """Token, tick and host of each report, in the order in which they were written."""
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT token, tick, host FROM reports ORDER BY rowid").fetchall()
    finally:
        database.close()


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("cron_job", "begins, token"),
        ("leader_worker", "has done step 1$"),
        ("live_config", "serving at"),
        ("service_registry", "cid serves"),
        ("graceful", "waits for orders"),
        ("watcher", "revision 2:"),
    ],
)
async def test_example_stops_in_order_on_an_etcd_of_its_own(name: str, moment: str, number: signal.Signals) -> None:
    """Without an endpoint each runs by itself; SIGTERM and Ctrl-C end it without an error, and its etcd with it."""
    async with started(name) as run:
        await run.until(moment)
        run.send(number)
        await run.end()
    own = re.search(r"ETCDCTL_ENDPOINTS=http://127.0.0.1:(\d+)", "\n".join(run.lines))
    assert (own is None) == (name == "watcher")
    if own is not None:
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", int(own[1]))


# The cron job


async def test_cron_job_runs_once_per_tick(server: EtcdServer, tmp_path: Path) -> None:
    """Three hosts, one report for each tick, under tokens that grow."""
    path = tmp_path / "reports.db"
    async with AsyncExitStack() as hosts:
        runs = [await hosts.enter_async_context(started("cron_job", str(path), etcd=server.url)) for _ in range(3)]

        async def take_part(run: Run) -> None:
            for _ in range(3):
                await run.until("is done|done elsewhere")

        await asyncio.gather(*map(take_part, runs))
        for run in runs:
            run.send(signal.SIGTERM)
        await asyncio.gather(*(run.end() for run in runs))
    written = reports(path)
    tokens, ticks = [token for token, _, _ in written], [tick for _, tick, _ in written]
    assert tokens == sorted(set(tokens))
    lines = [line for run in runs for line in run.lines]
    assert sum(line.endswith("is done") for line in lines) == len(written) >= 3
    # One that was told to stop in the middle of the last tick has left it to another.
    begun = [int(line.split()[1][:-1]) for line in lines if " begins, " in line]
    assert sorted(tick for tick in begun if tick < max(ticks)) == [tick for tick in ticks if tick < max(ticks)]


async def test_cron_host_that_slept_through_its_lock_writes_nothing(server: EtcdServer, tmp_path: Path) -> None:
    """Stopped in the middle of its job, until another host has done one: its own report is not there afterwards."""
    path = tmp_path / "reports.db"
    async with started("cron_job", str(path), etcd=server.url) as sleeper:
        slept = int((await sleeper.until(r"tick \d+: host-\d+ begins, token (\d+)"))[1])
        sleeper.send(signal.SIGSTOP)
        async with started("cron_job", str(path), etcd=server.url) as other:
            await other.until("is done")
            sleeper.send(signal.SIGCONT)
            await sleeper.until(r"not done here: .*(lost before it was released|larger token)")
            for run in (sleeper, other):
                run.send(signal.SIGTERM)
                await run.end()
    tokens = [token for token, _, _ in reports(path)]
    assert slept not in tokens
    assert tokens == sorted(set(tokens))
    assert min(tokens) > slept


def test_reports_refuse_a_smaller_token(tmp_path: Path) -> None:
    """What the lock cannot do: the database itself turns down who comes late, and keeps what is there."""
    mine, late = Reports(str(tmp_path / "reports.db")), Reports(str(tmp_path / "reports.db"))
    mine.write(7, token=5)
    for token in (4, 5):
        with pytest.raises(Refused):
            late.write(8, token)
    late.write(8, token=6)
    assert (mine.last(), [token for token, _, _ in reports(tmp_path / "reports.db")]) == (8, [5, 6])


# The leader-elected worker


async def test_worker_takes_over_from_one_that_was_killed(server: EtcdServer, client: aetcd.Client) -> None:
    """One works at a time; the next goes on where the dead one was, with a larger token; who is stopped resigns."""
    async with started("leader_worker", etcd=server.url) as first:
        token = int((await first.until(r"leads, token (\d+)"))[1])
        await first.until("has done step 2$")
        async with started("leader_worker", etcd=server.url) as second:

            async def queued() -> bool:
                return len(await client.ls("sums/leader")) == 2

            await eventually(queued)
            await first.until("has done step")
            first.send(signal.SIGKILL)
            after = int((await second.until(r"leads, token (\d+)"))[1])
            assert not [line for line in second.lines if "done" in line]
            begins = int((await second.until(r"has done step (\d+)"))[1])
            assert after > token
            assert begins > 2
            assert (await client.get("sums/done", type=int) or 0) >= begins
            second.send(signal.SIGTERM)
            await second.end()
    assert await client.election("sums/leader").leader() is None


# The live-configured web service


async def test_service_is_configured_while_it_serves(server: EtcdServer, client: aetcd.Client) -> None:
    """A change is served at once; while etcd does not answer the last one serves on, and `/ready` says so."""
    async with started("live_config", etcd=server.url) as run, aiohttp.ClientSession() as session:
        url = (await run.until(r"serving at (\S+)"))[1]

        async def get(path: str) -> tuple[int, str]:
            async with session.get(url + path) as response:
                return response.status, await response.text()

        async def readiness(status: int) -> None:
            async def is_so() -> bool:
                return (await get("/ready"))[0] == status

            await eventually(is_so)

        assert await get("/greet/Ann") == (200, "Hello, Ann")
        await readiness(200)
        await client.set("greeter/config", json.dumps({"greeting": "Ahoy", "loud": True}))
        await run.until("configured: .*Ahoy")
        assert await get("/greet/Ann") == (200, "AHOY, ANN")

        server.members[0].pause()
        await readiness(503)
        assert await get("/greet/Ann") == (200, "AHOY, ANN")
        server.members[0].resume()
        await readiness(200)
        run.send(signal.SIGTERM)
        await run.end()


async def test_configuration_that_is_no_configuration(server: EtcdServer, client: aetcd.Client) -> None:
    """Somebody writes nonsense: the service goes on with what it had."""
    async with started("live_config", etcd=server.url) as run, aiohttp.ClientSession() as session:
        url = (await run.until(r"serving at (\S+)"))[1]
        await client.set("greeter/config", json.dumps({"greeting": "Ahoy"}))
        await run.until("configured: .*Ahoy")
        await client.set("greeter/config", "{nonsense")
        await run.until("not used")
        async with session.get(f"{url}/greet/Ann") as response:
            assert (response.status, await response.text()) == (200, "Ahoy, Ann")
        run.send(signal.SIGTERM)
        await run.end()


# The registry and its client


async def test_client_balances_over_instances_that_live(server: EtcdServer, client: aetcd.Client) -> None:
    """Each of three has its share, and after one has left each of two; no request fails, and no entry is left."""
    async with started("service_registry", etcd=server.url) as run:
        before, after = [line for line in await run.end() if line.startswith("answered by")]
    assert before == "answered by ann: 10, bob: 10, cid: 10"
    shares = dict(re.findall(r"(\w+): (\d+)", after))
    assert shares.keys() == {"ann", "bob"}
    assert sum(map(int, shares.values())) == 30
    assert await client.registry("services/names").instances() == []


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, and nobody will."""
    port = HeldPort()
    yield f"http://127.0.0.1:{port.number}"
    port.release()


async def test_client_goes_on_to_an_instance_that_answers(
    server: EtcdServer, client: aetcd.Client, nobody: str
) -> None:
    """One is registered at an address where nobody listens: no request fails."""
    dead = client.registry("services/names").register(nobody, id="dead", metadata={"version": "0"})
    async with dead, started("service_registry", etcd=server.url) as run:
        answers = [line for line in await run.end() if line.startswith("answered by")]
    shares = [dict(re.findall(r"(\w+): (\d+)", answer)) for answer in answers]
    assert [set(share) for share in shares] == [{"ann", "bob", "cid"}, {"ann", "bob"}]
    assert [sum(map(int, share.values())) for share in shares] == [30, 30]


# The service that leaves in order


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_service_leaves_in_order(server: EtcdServer, client: aetcd.Client, number: signal.Signals) -> None:
    """The order in hand is done to its end, the next is not begun, and who waits for the lock has it at once."""
    async with started("graceful", etcd=server.url) as first, started("graceful", etcd=server.url) as second:
        found = {run: asyncio.ensure_future(run.until("waits for orders")) for run in (first, second)}
        await asyncio.wait(found.values(), return_when=asyncio.FIRST_COMPLETED)
        holder, waiter = (first, second) if found[first].done() else (second, first)

        async def queued() -> bool:
            return len(await client.ls("packer")) == 2

        await eventually(queued)
        await client.set("orders/1", "two chairs")
        await client.set("orders/2", "a table")
        await holder.until("packing orders/1")
        holder.send(number)
        told = [line.partition(": ")[2] for line in await holder.end()]
        assert told == ["packed orders/1", "left its watch", "gave its lock up", "closed its client"]
        async with asyncio.timeout(5):  # of a TTL of 15 s
            await found[waiter]
            await waiter.until("packed orders/2")
        assert not [line for line in waiter.lines if "orders/1" in line]
        waiter.send(number)
        await waiter.end()
    assert not any([await client.exists(f"orders/{number}") for number in (1, 2)])


async def test_service_that_waits_for_the_lock_leaves_too(server: EtcdServer, client: aetcd.Client) -> None:
    """It is told to stop before its turn has come: nothing of it is left in the queue."""
    async with client.lock("packer"):
        async with started("graceful", etcd=server.url) as run:

            async def queued() -> bool:
                return len(await client.ls("packer")) == 2

            await eventually(queued)
            run.send(signal.SIGTERM)
            assert [line.partition(": ")[2] for line in await run.end()] == ["gave its lock up", "closed its client"]
        assert len(await client.ls("packer")) == 1


# The watcher


async def test_watcher_misses_nothing() -> None:
    """etcd's leader dies in the middle: each revision is told once and in order, and each write among them."""
    async with started("watcher") as run:
        await run.until("the leader, is dead")
        await run.end()
    told = [re.findall(r"\d+", line) for line in run.lines if line.startswith("revision ")]
    revisions = [int(numbers[0]) for numbers in told]
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))
    values = [int(numbers[-1]) for numbers in told]
    assert values == sorted(values)
    assert set(values) == set(range(1, 31))
