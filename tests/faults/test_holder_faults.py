"""Faults of those who hold a lock or lead: paused, killed, cut off from the cluster."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import aetcd
from aetcd.testing import EtcdCluster, EtcdServer, TCPProxy

PROTOCOLS = ["v3", "v2"]
TTL = 2
HOLDER = Path(__file__).with_name("holder.py")


class Holder:
    """A child process that holds a lock or leads."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[dict[str, float | str]] = []

    async def until(self, fact: str, *, within: float) -> dict[str, float | str]:
        """The next line with a fact in it."""
        async with asyncio.timeout(within):
            while True:
                line = await self.process.stdout.readline()
                assert line, "the holder ended"
                self.said.append(json.loads(line))
                if fact in self.said[-1]:
                    return self.said[-1]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def holder(what: str, name: str, peers: list[str], protocol: str, *, ttl: int = TTL) -> AsyncIterator[Holder]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOLDER),
        what,
        name,
        f"--ttl={ttl}",
        f"--protocol={protocol}",
        *peers,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Holder(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_paused_holder_has_lost_its_lock(etcd35: EtcdServer, protocol: aetcd.Protocol, prefix: str) -> None:
    """A holder that is paused past its TTL: the next one has a larger token, at no moment do two believe that they hold
    it, and when the first wakes up its block is cancelled and LockLost raised.
    """
    name = f"{prefix}paused"
    async with (
        aetcd.Client(etcd35.url, protocol=protocol) as client,
        holder("lock", name, [etcd35.url], protocol) as first,
    ):
        token = (await first.until("token", within=10))["token"]
        await first.until("held_at", within=5)
        first.signal(signal.SIGSTOP)
        async with client.lock(name, ttl=TTL, timeout=10) as lock:
            assert lock.fencing_token > token
            held_from = time.clock_gettime(time.CLOCK_BOOTTIME)
            first.signal(signal.SIGCONT)
            ended = await first.until("error", within=10)
            assert lock.held
    assert ended["error"] == "LockLost"
    beliefs = [line["held_at"] for line in first.said if "held_at" in line]
    assert beliefs
    assert max(beliefs) < held_from


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_next_leader_takes_over_from_a_killed_one(
    etcd35: EtcdServer, protocol: aetcd.Protocol, prefix: str
) -> None:
    """A leader whose process is killed leads until its TTL is over; then the next in line does, with a larger token."""
    name = f"{prefix}killed"
    async with (
        aetcd.Client(etcd35.url, protocol=protocol) as client,
        holder("election", name, [etcd35.url], protocol) as first,
    ):
        token = (await first.until("token", within=10))["token"]
        assert (await client.election(name).leader()).value == "child"
        first.signal(signal.SIGKILL)
        async with client.election(name, value="next", ttl=TTL, timeout=15) as leadership:
            assert leadership.fencing_token > token
            assert (await client.election(name).leader()).value == "next"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_cut_off_holder_has_lost_its_lock(
    etcd35: EtcdServer,
    protocol: aetcd.Protocol,
    prefix: str,
    proxy: Callable[[str], Awaitable[TCPProxy]],
) -> None:
    """A holder that can reach no peer for its TTL is told by the time that another may hold the lock."""
    between = await proxy(etcd35.url)
    name = f"{prefix}cut-off"
    clock = asyncio.get_running_loop().time
    async with (
        aetcd.Client(between.url, protocol=protocol, timeout=3) as cut_off,
        aetcd.Client(etcd35.url, protocol=protocol) as other,
    ):
        first = cut_off.lock(name, ttl=TTL)

        async def take() -> tuple[bool, int]:
            async with other.lock(name, ttl=TTL, timeout=4 * TTL) as taken:
                return first.held, taken.fencing_token

        with pytest.raises(aetcd.LockLost) as told:
            async with first:
                token = first.fencing_token
                between.stall()
                stalled_at = clock()
                rival = asyncio.create_task(take())
                async with asyncio.timeout(4 * TTL):
                    await asyncio.Event().wait()
        assert clock() - stalled_at < 2 * TTL
        # An exception of the block's own, such as the end of its patience, would be chained.
        assert told.value.__cause__ is None
        both_held, next_token = await rival
        assert not both_held
        assert next_token > token
        between.resume()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_holder_stays_the_holder_while_the_leader_dies(cluster: EtcdCluster, protocol: aetcd.Protocol) -> None:
    """The death of etcd's leader is no loss of the lock: renewals go on at the other members."""
    async with aetcd.Client(*cluster.peers, protocol=protocol) as client:
        async with client.lock("steady", ttl=8) as lock:
            token = lock.fencing_token
            await (await cluster.leader()).kill()
            clock = asyncio.get_running_loop().time
            until = clock() + 10  # longer than the TTL: only renewals keep it
            while clock() < until:
                assert lock.held
                assert await client.get("nothing") is None
                await asyncio.sleep(0.2)
            assert lock.fencing_token == token
        assert not lock._holdings
