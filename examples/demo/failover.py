"""etcd's leader is killed, under writes, reads, a watch and a lock."""

from __future__ import annotations

import asyncio
import itertools
import math
import time

from attrs import define, field

import aetcd
from aetcd.testing import EtcdCluster, EtcdMember
from examples.demo.promises import Promise, say

TTL = 8
HELD_FOR = TTL + 1.0  # seconds after the kill: longer than the TTL, so that only renewals keep the lock
WRITE_EVERY = 0.025


@define
class Load:
    """What was asked of the cluster, and what became of it.

    writes: When each key's write began.
    first: Seconds from the kill to the first answer of each kind that was asked for after it.
    """

    client: aetcd.Client
    writes: dict[str, float] = field(factory=dict)
    acknowledged: set[str] = field(factory=set)
    unknown: set[str] = field(factory=set)
    reads: int = 0
    failed_reads: int = 0
    changes: list[aetcd.Change] = field(factory=list)
    first: dict[str, float] = field(factory=dict)
    killed_at: float = math.inf

    async def write(self, stop: asyncio.Event) -> None:
        """Begin a write every 25 ms, whatever became of those before."""
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                if stop.is_set():
                    return
                group.create_task(self._write_one(f"load/{number:04}"))
                await asyncio.sleep(WRITE_EVERY)

    async def _write_one(self, key: str) -> None:
        began = self.writes[key] = time.monotonic()
        try:
            await self.client.set(key, key, timeout=4)
        except aetcd.OutcomeUnknown:
            self.unknown.add(key)
        else:
            self.acknowledged.add(key)
            self._answered("write", began)

    async def read(self, what: str, stop: asyncio.Event, *, consistent: bool) -> None:
        """One read after another: of what the cluster has agreed on, or of the peer's own copy."""
        while not stop.is_set():
            began = time.monotonic()
            self.reads += 1
            try:
                await self.client.get("load/0000", consistent=consistent)
            except aetcd.AetcdError:
                self.failed_reads += 1
            else:
                self._answered(what, began)
            await asyncio.sleep(WRITE_EVERY)

    async def follow(self, watch: aetcd.Watch) -> None:
        """Collect changes, until that of `load/end`."""
        async for change in watch:
            assert isinstance(change, aetcd.Change)
            if change.key == "load/end":
                return
            self.changes.append(change)
            self._answered("watch event", self.writes[change.key])

    def _answered(self, what: str, began: float) -> None:
        if began >= self.killed_at and what not in self.first:
            self.first[what] = time.monotonic() - self.killed_at
            say(f"the next {what}", f"{self.first[what]:.2f} s after the kill")


@define
class Tenure:
    """One lock, its holder, and a rival who waits for it."""

    client: aetcd.Client
    looks: int = 0
    held: int = 0
    inside: bool = False
    tokens: list[int] = field(factory=list)
    overlapped: bool = False

    async def hold(self, kill: asyncio.Event, seconds: float) -> None:
        """Have the lock, give the sign for the kill, and look again and again whether it is held."""
        async with self.client.lock("service", ttl=TTL) as lock:
            self.inside = True
            self.tokens.append(lock.fencing_token)
            say("the holder has its lock", f"fencing token {lock.fencing_token}, TTL {TTL} s")
            kill.set()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                self.looks += 1
                self.held += lock.held and lock.fencing_token == self.tokens[0]
                await asyncio.sleep(0.01)
            self.inside = False
        say("the holder gives its lock up")

    async def wait_in_line(self) -> None:
        """Have it next."""
        async with self.client.lock("service", ttl=TTL) as lock:
            self.overlapped = self.inside
            self.tokens.append(lock.fencing_token)
            say("its rival has it", f"fencing token {lock.fencing_token}")


async def failover(cluster: EtcdCluster, client: aetcd.Client) -> list[Promise]:
    """Kill the leader, and see what a program notices of it."""
    leader = await cluster.leader()
    others = [member.url for member in cluster.members if member is not leader]
    load, tenure = Load(client), Tenure(client)
    # This client stays with its first peer, so that its watch hangs on the very member that dies.
    async with (
        aetcd.Client(leader.url, *others, balance="sticky") as sticky,
        sticky.watch("load", recursive=True) as changes,
        asyncio.TaskGroup() as group,
    ):
        stop, locked = asyncio.Event(), asyncio.Event()
        group.create_task(load.follow(changes))
        holding = group.create_task(tenure.hold(locked, HELD_FOR))
        await locked.wait()
        waiting = group.create_task(tenure.wait_in_line())
        writing = group.create_task(load.write(stop))
        reading = group.create_task(load.read("read", stop, consistent=True))
        reading_here = group.create_task(load.read("local read", stop, consistent=False))
        say("writes, reads, a watch at the leader, and a rival who waits for the lock")
        await asyncio.sleep(1)
        await kill(cluster, leader, load)
        await asyncio.wait([holding, waiting])
        stop.set()
        await asyncio.wait([writing, reading, reading_here])
        await client.set("load/end", "")
    return [*await promises_of_load(load), *promises_of_tenure(tenure)]


async def kill(cluster: EtcdCluster, leader: EtcdMember, load: Load) -> None:
    """SIGKILL, and wait for the next leader."""
    load.killed_at = time.monotonic()
    leader.kill()
    say(f"etcd's leader {leader.name} is killed")
    successor = await cluster.leader()
    say(f"etcd has a new leader: {successor.name}", f"{time.monotonic() - load.killed_at:.2f} s after the kill")


async def promises_of_load(load: Load) -> list[Promise]:
    """Compare what was acknowledged, what is there, and what the watch told."""
    end = await load.client.get("load/end", full=True)
    assert end is not None
    nodes = [node for node in await load.client.ls("load") if node.modified_revision < end.node.modified_revision]
    there = [node.key for node in sorted(nodes, key=lambda node: node.modified_revision)]
    told = [change.key for change in load.changes]
    lost = load.acknowledged.difference(there)
    applied = load.unknown.intersection(there)
    twice = [node.key for node in nodes if node.version != 1]
    after = {what: load.first.get(what, math.inf) for what in ("local read", "read", "write", "watch event")}
    return [
        *(
            Promise(f"leader killed: the next {what} within 10 s", f"{after[what]:.2f} s", after[what] < 10)
            for what in after
        ),
        Promise("no read fails", f"{load.failed_reads} of {load.reads} failed", load.reads > load.failed_reads == 0),
        Promise("no acknowledged write is lost", f"{len(lost)} of {len(load.acknowledged)} lost", not lost),
        Promise("no write is applied twice", f"{len(twice)} of {len(there)} twice", not twice),
        Promise(
            "a write whose fate is open says so",
            f"{len(load.unknown)} OutcomeUnknown, {len(applied)} of them applied",
            load.writes.keys() == load.acknowledged | load.unknown,
        ),
        Promise("the watch gives every change once and in order", f"{len(told)} of {len(there)}", told == there),
    ]


def promises_of_tenure(tenure: Tenure) -> list[Promise]:
    """What became of the lock."""
    first, second = tenure.tokens
    held = f"at {tenure.held} of {tenure.looks} looks"
    waited = first < second and not tenure.overlapped
    return [
        Promise("the lock's holder stays the holder", held, tenure.held == tenure.looks),
        Promise("its rival waits, and gets a larger token", f"{first} < {second}", waited),
    ]
