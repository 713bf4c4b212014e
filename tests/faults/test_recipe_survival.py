"""What recipes survive: a leader that dies in mid-hand-over, a whole cluster that does, workers that died, clocks that
jump, and callers that give up at any moment.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from checker import Kind
from contender import place

import aetcd
from aetcd._trust import boot_clock
from aetcd.testing import EtcdCluster, EtcdServer, TCPProxy

PROTOCOLS: list[aetcd.Protocol] = ["v3", "v2"]
KINDS: list[Kind] = ["lock", "lead", "read", "write", "permit"]
BEHIND: dict[Kind, Kind] = {"lock": "lock", "lead": "lead", "read": "write", "write": "read", "permit": "permit"}
OCCUPANT = Path(__file__).with_name("occupant.py")
LATE = 20.0  # seconds: the end of a test's patience, on a machine that has others to serve
LOST = (aetcd.LockLost, aetcd.LeadershipLost)


async def eventually(condition: Callable[[], Awaitable[bool]], otherwise: str = "it did not come about") -> None:
    until = boot_clock() + LATE
    while not await condition():
        assert boot_clock() < until, otherwise
        await asyncio.sleep(0.01)


async def queued(client: aetcd.Client, name: str) -> Sequence[str]:
    return [entry.key for entry in (await client._store().queue(name)).entries]


# The leader dies in the middle of a hand-over


@define
class Handover:
    """One who holds, and one who waits for it."""

    holder: aetcd.Client
    waiter: aetcd.Client
    kind: Kind
    name: str
    release: asyncio.Event = field(factory=asyncio.Event)
    held: asyncio.Event = field(factory=asyncio.Event)
    tokens: list[int] = field(factory=list)
    overlapped: bool = False

    async def hold(self) -> None:
        async with place(self.holder, self.kind, self.name, ttl=8) as hold:
            self.tokens.append(hold.fencing_token)
            self.held.set()
            await self.release.wait()

    async def wait(self) -> None:
        await self.held.wait()
        async with place(self.waiter, BEHIND[self.kind], self.name, ttl=8) as hold:
            self.overlapped = not self.release.is_set()
            self.tokens.append(hold.fencing_token)

    async def is_set(self) -> bool:
        return len(await queued(self.waiter, self.name)) == 2


async def test_leader_dies_in_the_middle_of_a_hand_over(cluster: EtcdCluster) -> None:
    """Killed at the moment when the holders' releases are sent: each waiter has its turn, and not before, with a larger
    token; no caller is told of a fault, and nothing is left over.
    """
    doomed: list[aetcd.testing.EtcdMember] = []

    def kill(_event: aetcd.RequestEvent) -> None:
        while doomed:
            doomed.pop().kill()

    async with AsyncExitStack() as opened:
        scenes: list[Handover] = []
        for protocol in PROTOCOLS:
            trace = aetcd.Trace(on_request=kill)
            holder = aetcd.Client(*cluster.peers, protocol=protocol, trace=trace)
            waiter = aetcd.Client(*cluster.peers, protocol=protocol)
            for client in (holder, waiter):
                await opened.enter_async_context(client)
            scenes += [Handover(holder, waiter, kind, f"{protocol}-{kind}") for kind in KINDS]
        async with asyncio.timeout(3 * LATE), asyncio.TaskGroup() as group:
            for scene in scenes:
                group.create_task(scene.hold())
                group.create_task(scene.wait())
            for scene in scenes:
                await eventually(scene.is_set)
            doomed.append(await cluster.leader())
            for scene in scenes:
                scene.release.set()
        assert doomed == []
        for scene in scenes:
            assert not scene.overlapped, scene.name
            assert len(scene.tokens) == 2
            assert scene.tokens == sorted(set(scene.tokens)), scene.name
            assert await queued(scene.waiter, scene.name) == []


# The whole cluster dies


async def test_no_barrier_opens_because_its_cluster_died(cluster: EtcdCluster) -> None:
    """Those who wait for a barrier, and for a double one, wait on when all members are killed and come back, and so do
    those who come in between, whose looks fail; they go through once it is opened for them.
    """
    async with AsyncExitStack() as opened:
        clients = [
            await opened.enter_async_context(aetcd.Client(*cluster.peers, protocol=protocol)) for protocol in PROTOCOLS
        ]
        waits: list[asyncio.Future[None]] = []
        for client in clients:
            await client.barrier("barrier").hold()
            waits.append(asyncio.ensure_future(client.barrier("barrier").wait()))
            waits.append(asyncio.ensure_future(client.double_barrier("double", count=2, ttl=30).enter()))

        async def watching(state: str) -> bool:
            states = [watch.state for client in clients for watch in client.status().watches]
            return len(states) >= len(waits) and set(states) == {state}

        await eventually(lambda: watching("live"))
        for member in cluster.members:
            await member.kill()
        await eventually(lambda: watching("resuming"))
        for protocol in PROTOCOLS:
            impatient = aetcd.Client(*cluster.peers, protocol=protocol, timeout=0.4)
            late = await opened.enter_async_context(impatient)
            waits.append(asyncio.ensure_future(late.barrier("barrier").wait()))
        done, _ = await asyncio.wait(waits, timeout=1.2, return_when=asyncio.FIRST_COMPLETED)
        assert not done
        async with asyncio.TaskGroup() as group:
            for member in cluster.members:
                group.create_task(member.restart())
        await cluster.wait_healthy()
        await eventually(lambda: watching("live"))
        assert not any(wait.done() for wait in waits)
        for client in clients:
            await client.barrier("barrier").release()
            await client.double_barrier("double", count=2, ttl=30).enter(timeout=LATE)
        async with asyncio.timeout(LATE):
            await asyncio.gather(*waits)


# A worker dies


@asynccontextmanager
async def occupant(prefix: str, ttl: int, peers: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has one of each."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(OCCUPANT), prefix, str(ttl), *peers, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(LATE):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_what_a_dead_worker_had(etcd35: EtcdServer, prefix: str) -> None:
    """When its process is killed, its item comes back, another runs what it had begun, it no longer serves, nor is it
    counted, and its barrier opens: all within the TTL, and not while it lived.
    """
    async with AsyncExitStack() as opened:
        clients = [
            await opened.enter_async_context(aetcd.Client(etcd35.url, protocol=protocol)) for protocol in PROTOCOLS
        ]
        for client in clients:
            await client.queue(f"{prefix}queue").put("work")
        process = await opened.enter_async_context(occupant(prefix, 3, etcd35.peers))
        for client in clients:
            with pytest.raises(aetcd.LockTimeout):
                await client.queue(f"{prefix}queue").get(timeout=0)
            with pytest.raises(aetcd.LockTimeout):
                await client.once(f"{prefix}once").result(timeout=0)
            assert [found.address for found in await client.registry(f"{prefix}registry").instances()] == ["here"]
            assert await client.barrier(f"{prefix}barrier").held()
            assert len(await queued(client, f"{prefix}double/members")) == 1
        process.kill()
        async with asyncio.timeout(LATE):
            await asyncio.gather(*(taken_over(client, prefix) for client in clients))


async def taken_over(client: aetcd.Client, prefix: str) -> None:
    """All that the dead one had, had by another."""
    runs: list[str] = []

    async def run() -> str:
        runs.append("mine")
        return "result"

    item = await client.queue(f"{prefix}queue").get()
    assert item.value == "work"
    await item.ack()
    await client.barrier(f"{prefix}barrier").wait()
    assert await client.once(f"{prefix}once").run(run) == "result"
    assert runs == ["mine"]
    await eventually(lambda: nobody(client, prefix))
    with pytest.raises(aetcd.LockTimeout):
        await client.double_barrier(f"{prefix}double", count=2).enter(timeout=0)


async def nobody(client: aetcd.Client, prefix: str) -> bool:
    return not await client.registry(f"{prefix}registry").instances() and not await queued(
        client, f"{prefix}double/members"
    )


# Clocks jump


class Clock:
    """The machine's, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return boot_clock() + self.ahead


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_clock_that_jumps(etcd35: EtcdServer, protocol: aetcd.Protocol, prefix: str) -> None:
    """A machine that slept for longer than the TTL trusts none of its holds once it wakes, and its blocks are
    cancelled; one that slept for a moment goes on.
    """
    clock = Clock()
    async with aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix, clock=clock) as client:
        holding: list[Kind] = []
        napped: list[Kind] = []
        everybody = asyncio.Event()

        async def hold(kind: Kind) -> None:
            async with place(client, kind, kind, ttl=30) as got:
                holding.append(kind)
                if len(holding) == len(KINDS):
                    everybody.set()
                await everybody.wait()
                clock.ahead = 20.0
                assert got.held
                napped.append(kind)
                if len(napped) == len(KINDS):
                    clock.ahead = 31.0
                    assert not got.held
                await asyncio.Event().wait()

        async with asyncio.timeout(LATE):
            outcomes = await asyncio.gather(*(hold(kind) for kind in KINDS), return_exceptions=True)
        assert [type(outcome) in LOST for outcome in outcomes] == [True] * len(KINDS), outcomes
        for kind in KINDS:
            assert await queued(client, kind) == []


async def test_a_wall_clock_that_is_set(etcd35: EtcdServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting the time of day of a holder's machine, forward and then back, ends no hold."""
    ttl = 3
    day = 86400.0
    async with AsyncExitStack() as opened:
        holds = []
        for protocol in PROTOCOLS:
            client = aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix)
            await opened.enter_async_context(client)
            holds += [await opened.enter_async_context(place(client, kind, kind, ttl=ttl)) for kind in KINDS]
        real = time.time
        began = boot_clock()
        # Longer than the TTL: only renewals keep them.
        while (since := boot_clock() - began) < ttl + 0.7:
            ahead = day if since < ttl / 2 else -day
            monkeypatch.setattr(time, "time", lambda ahead=ahead: real() + ahead)
            assert all(hold.held for hold in holds)
            await asyncio.sleep(0.05)


# Callers give up


class CancelledAt:
    """Awaits something, and has its task cancelled as it comes to wait for the n-th time. `waits`: how often it did."""

    def __init__(self, work: Coroutine[Any, Any, None], place: int) -> None:
        self.waits = 0
        self._work = work
        self._place = place

    def __await__(self) -> Generator[Any, None, None]:
        work = self._work.__await__()
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                waited_for = next(work) if cancelled is None else work.throw(cancelled)
            except StopIteration:
                return
            cancelled = None
            self.waits += 1
            if self.waits == self._place:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield waited_for
            except asyncio.CancelledError as e:
                cancelled = e


@pytest.mark.parametrize("is_free", [True, False], ids=["free", "held"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_acquire_cancelled_at_each_await(
    etcd35: EtcdServer, protocol: aetcd.Protocol, prefix: str, is_free: bool
) -> None:
    """Wherever a contender of any kind is cancelled, its task ends so, and nothing of it stands in the queue."""
    async with aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix) as client, asyncio.timeout(4 * LATE):
        for kind in KINDS:
            async with AsyncExitStack() as opened:
                if not is_free:
                    await opened.enter_async_context(place(client, BEHIND[kind], kind, ttl=30))
                before = await queued(client, kind)
                # No cancel comes after the last wait of one who finds it free.
                points = await cancel_at_each(client, kind, before)
                assert points >= 2, kind


async def cancel_at_each(client: aetcd.Client, kind: Kind, before: Sequence[str]) -> int:
    """How many awaits there were."""
    for point in itertools.count(1):
        acquiring = CancelledAt(enter_and_leave(client, kind), point)
        task = asyncio.ensure_future(awaited(acquiring))
        if before:
            # One who waits for its turn comes to no other await.
            await asyncio.wait([task], timeout=0.3)
            if acquiring.waits < point:
                task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled() or acquiring.waits < point, f"{kind}: the cancel at await {point} was swallowed"
        # One that comes while it leaves, perhaps as the second, has the rest done in the background.
        await eventually(lambda: stands(client, kind, before), f"{kind}, cancelled at await {point}, left something")
        if acquiring.waits < point:
            return point - 1
    raise AssertionError


async def stands(client: aetcd.Client, name: str, wanted: Sequence[str]) -> bool:
    return await queued(client, name) == wanted


async def awaited(work: CancelledAt) -> None:
    await work


async def enter_and_leave(client: aetcd.Client, kind: Kind) -> None:
    async with place(client, kind, kind, ttl=60):
        pass


async def test_a_release_that_gets_no_answer(
    etcd35: EtcdServer, prefix: str, proxy: Callable[[str], Awaitable[TCPProxy]]
) -> None:
    """Its deletion is lost on its way (v2): the end of its session deletes the entry, long before its TTL is over."""
    between = await proxy(etcd35.url)
    async with (
        aetcd.Client(between.url, protocol="v2", namespace=prefix) as client,
        aetcd.Client(etcd35.url, protocol="v2", namespace=prefix) as other,
    ):
        lock = client.lock("job", ttl=6)
        await lock.acquire()
        between.stall_after(sent=0, match=b"DELETE /v2/keys")
        await lock.release()
        assert await other.lock("job").contenders() == []
        between.resume()
