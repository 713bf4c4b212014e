"""The servers that are measured against, the keys in them, and what happens to them from outside."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from attrs import frozen

from aetcd import Client
from aetcd.etcd.v3 import Put
from aetcd.testing import EtcdCluster, EtcdMember, EtcdServer, TCPProxy
from benchmarks.cases.keys import KEYS, MANY, VALUE
from benchmarks.cases.watches import FLOOD, PACED

__all__ = ["Arena", "Protocol", "memory"]

Protocol = Literal["v3", "v2"]
Progress = asyncio.Queue[int]

PACE = 0.01  # seconds between two changes of the paced writer
WRITERS = 128
WINDOW = 500  # changes that the flood may be ahead of its reader: a server of v2 remembers 1,000
AT_ONCE = 100  # keys of one transaction while they are made
CALM, DOWN = 1.0, 2.0  # seconds before a member is killed, and for which it stays so


def memory() -> Path | None:
    """A folder whose files are in memory, so that no disk is measured; None where the system has none."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and os.access(shared, os.W_OK) else None


@frozen(kw_only=True)
class Arena:
    """A server, or a cluster whose first member does not lead.

    members: Those that clients are told of, in this order.
    """

    servers: EtcdServer | EtcdCluster
    members: Sequence[EtcdMember]

    @classmethod
    @asynccontextmanager
    async def server(cls) -> AsyncIterator[Arena]:
        """One server."""
        async with EtcdServer() as server:
            yield cls(servers=server, members=server.members)

    @classmethod
    @asynccontextmanager
    async def cluster(cls) -> AsyncIterator[Arena]:
        """Three members."""
        async with EtcdCluster(3) as cluster:
            leader = await cluster.leader()
            yield cls(servers=cluster, members=sorted(cluster.members, key=lambda member: member is leader))

    @property
    def urls(self) -> list[str]:
        """Where clients reach it."""
        return [member.url for member in self.members]

    def cpu(self) -> float:
        """Seconds of CPU that its members have used."""
        return sum(_cpu(member.pid) for member in self.members if member.pid)

    async def fill(self, keys: int) -> None:
        """Have the keys that the cases read, on both protocols."""
        names = [*KEYS, *(f"{MANY}/{number}" for number in range(keys))]
        await self.keep(names)
        async with Client(*self.urls, protocol="v2") as client:
            for first in range(0, len(names), AT_ONCE):
                await asyncio.gather(*(client.set(name, VALUE) for name in names[first : first + AT_ONCE]))

    async def keep(self, names: Sequence[str]) -> None:
        """These keys, on v3."""
        async with Client(*self.urls, protocol="v3") as client:
            for first in range(0, len(names), AT_ONCE):
                await client.v3.txn().then(*(Put(name, VALUE) for name in names[first : first + AT_ONCE]))

    async def mend(self) -> None:
        """Start again who was killed."""
        for member in self.members:
            if not member.running:
                await member.restart()
        await self.servers.wait_healthy()

    @asynccontextmanager
    async def proxies(self, count: int) -> AsyncIterator[list[str]]:
        """So many addresses of the first member: a client takes them for peers."""
        async with AsyncExitStack() as entered:
            yield [(await entered.enter_async_context(TCPProxy(self.urls[0]))).url for _ in range(count)]

    # What happens from outside

    async def write_paced(self, protocol: Protocol, progress: Progress) -> None:
        """A hundred changes a second, each with its time, by those members that are not killed."""
        async with Client(*self.urls[-1:], protocol=protocol) as client:
            began = time.monotonic()
            for number in range(1_000_000):
                await asyncio.sleep(began + number * PACE - time.monotonic())
                await client.set(f"{PACED}/{number % 10}", repr(time.monotonic()))

    async def write_flood(self, protocol: Protocol, progress: Progress) -> None:
        """As many changes as go, within the window before the reader."""
        allowed = asyncio.Semaphore(WINDOW)

        async def write(client: Client, place: int) -> None:
            while True:
                await allowed.acquire()
                await client.set(f"{FLOOD}/{place}", VALUE)

        # Each write by itself, so that each change has a revision of its own.
        async with Client(*self.urls, protocol=protocol) as client, asyncio.TaskGroup() as group:
            for place in range(WRITERS):
                group.create_task(write(client, place))
            seen = 0
            while True:
                read = await progress.get()
                for _ in range(read - seen):
                    allowed.release()
                seen = read

    async def kill_first(self, protocol: Protocol, progress: Progress) -> None:
        """The member that the client was given first."""
        await asyncio.sleep(CALM)
        self.members[0].kill()

    async def kill_first_and_write(self, protocol: Protocol, progress: Progress) -> None:
        """The same, while others write."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.write_paced(protocol, progress))
            group.create_task(self.kill_first(protocol, progress))

    async def kill_in_turn(self, protocol: Protocol, progress: Progress) -> None:
        """One after the other, the leader too; each is back before the next one goes."""
        while True:
            for member in self.members:
                await asyncio.sleep(CALM)
                member.kill()
                await asyncio.sleep(DOWN)
                await self.mend()


def _cpu(pid: int) -> float:
    # The name, in parentheses, may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
