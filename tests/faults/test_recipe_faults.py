"""Faults of those who hold locks, permits and leaderships, and of what they hold: on a cluster of three.

A first process holds one of each kind, a second one waits for each; something happens to the first. What both believed
is recorded, and judged by the checker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from attrs import define
from checker import Event, holds_of, judge
from workers import Worker, worker

import aetcd
from aetcd.recipes._store import Queue
from aetcd.testing import EtcdCluster, TCPProxy

PROTOCOLS: list[aetcd.Protocol] = ["v3", "v2"]
TTL = 3
LONG_TTL = 30  # where nobody's end is waited for: a machine that stands still for seconds shall end no session
NOTICE = 3.0  # seconds that a holder may take to hear of what an administrator did
LIMIT = 2
LATE = 20.0  # seconds: the end of a test's patience, on a machine that has others to serve


@pytest.fixture(scope="module")
def members() -> Iterator[EtcdCluster]:
    """Three members that no test of this file harms. Keep to keys under `prefix`."""
    with EtcdCluster(3) as cluster:
        yield cluster


@define
class Scene:
    """Two processes, the second of which waits for all that the first holds, on both protocols."""

    clients: dict[aetcd.Protocol, aetcd.Client]
    proxies: Sequence[TCPProxy]
    names: Sequence[tuple[aetcd.Protocol, str]]
    first: Worker
    second: Worker

    async def standing(self, protocol: aetcd.Protocol, name: str) -> Queue:
        return await self.clients[protocol]._store().queue(name)

    async def held_keys(self, protocol: aetcd.Protocol, name: str) -> Sequence[str]:
        """The first process's entries, which are older than any of the second."""
        entries = (await self.standing(protocol, name)).entries
        return [entry.key for entry in entries[: LIMIT if name.endswith("permit") else 1]]

    async def until_standing(self, count: int) -> None:
        """Until so many stand in all queues together."""
        async with asyncio.timeout(LATE):
            while sum([len((await self.standing(*name)).entries) for name in self.names]) != count:
                await asyncio.sleep(0.02)


# A semaphore's permits are all held by the first, and one is wanted by the second. A writer waits for a reader, and a
# reader for a writer.
HELD = ["lock:{}lock:1", "lead:{}lead:1", "read:{}shared:1", "write:{}alone:1", "permit:{}permit:2"]
WANTED = ["lock:{}lock:1", "lead:{}lead:1", "write:{}shared:1", "read:{}alone:1", "permit:{}permit:1"]
HOLDS = len(PROTOCOLS) * (len(HELD) - 1 + LIMIT)
WAITING = len(PROTOCOLS) * len(WANTED)


@asynccontextmanager
async def scene(members: EtcdCluster, prefix: str, *, ttl: int) -> AsyncIterator[Scene]:
    """The first holds everything and reaches the cluster through proxies, the second waits."""
    async with AsyncExitStack() as opened:
        proxies = [await opened.enter_async_context(TCPProxy(url)) for url in members.peers]
        clients = {
            protocol: await opened.enter_async_context(aetcd.Client(*members.peers, protocol=protocol))
            for protocol in PROTOCOLS
        }

        async def begin(name: str, peers: Sequence[str], contends: Sequence[str]) -> Worker:
            contending = [f"{p}:{contend.format(f'{prefix}{p}-')}" for p in PROTOCOLS for contend in contends]
            return await opened.enter_async_context(worker(name, peers, *contending, ttl=ttl, limit=LIMIT))

        first = await begin("first", [proxy.url for proxy in proxies], HELD)
        await first.until(lambda history: len(trusting(history)) == HOLDS, within=LATE)
        second = await begin("second", members.peers, WANTED)
        names = [(p, contend.format(f"{prefix}{p}-").split(":")[1]) for p in PROTOCOLS for contend in HELD]
        played = Scene(clients, proxies, names, first, second)
        await played.until_standing(HOLDS + WAITING)
        yield played


def trusting(history: Iterable[Event]) -> set[str]:
    """Who has trusted a hold at some time."""
    return {event.who for event in history if event.what == "trusted"}


async def killed(scene: Scene) -> None:
    await scene.first.kill()


async def paused(scene: Scene) -> None:
    scene.first.pause()


async def cut_off(scene: Scene) -> None:
    for proxy in scene.proxies:
        proxy.stall()


async def revoked(scene: Scene) -> None:
    for protocol, name in scene.names:
        for key in await scene.held_keys(protocol, name):
            if protocol == "v3":
                found = await scene.clients["v3"].get(key, full=True)
                assert found is not None
                assert found.node.lease is not None
                await scene.clients["v3"].v3.lease.revoke(found.node.lease)
            else:
                await scene.clients["v2"].delete(key)  # it has no leases, and so no other way


async def deleted(scene: Scene) -> None:
    for protocol, name in scene.names:
        for key in await scene.held_keys(protocol, name):
            await scene.clients[protocol].delete(key)


Trouble = Callable[[Scene], Awaitable[None]]


@pytest.mark.parametrize("trouble", [killed, paused, cut_off, revoked, deleted], ids=lambda trouble: trouble.__name__)
async def test_next_in_line(members: EtcdCluster, prefix: str, trouble: Trouble) -> None:
    """A holder that is killed, paused past its TTL, cut off from the cluster, or whose lease or key an administrator
    takes away: the next in line has it within the TTL and what etcd takes to notice, with a larger token; at no moment
    do two trust themselves who may not; the holder is told of its loss, once it can be; nothing is left over.
    """
    by_hand = trouble in {revoked, deleted}
    ttl = LONG_TTL if by_hand else TTL
    async with scene(members, prefix, ttl=ttl) as played:
        first, second = played.first, played.second
        await trouble(played)
        await second.until(lambda history: len(trusting(history)) >= WAITING, within=LATE)
        if trouble is not killed:
            first.resume()
            await first.until_said("lost", HOLDS, within=LATE)
            for proxy in played.proxies:
                proxy.resume()
            # It waits again, behind the other, who gives up first.
            second.finish()
            await first.stop(within=LATE)
        await second.stop(within=LATE)
        await played.until_standing(0)
    assert judge([*first.history, *second.history], ttl=ttl, notice=NOTICE if by_hand else 0.0) == []
    tokens = {hold.name: hold.token for hold in holds_of(first.history) if hold.who.endswith("/0")}
    assert {hold.name for hold in holds_of(second.history) if hold.token > tokens[hold.name]} == set(tokens)
