"""Which reads may be stale: shown on three members, one of which has missed what the others agreed on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

import aetcd
from aetcd.testing import EtcdCluster, EtcdMember, etcd_binaries

PROTOCOLS = ["v3", "v2"]

# A leader sends a follower that does not answer at most 512 messages (raft's `MaxInflightMsgs`): these wait in the
# kernel of the paused member, which reads them when it is resumed. What was written after them it has never been sent.
MORE_THAN_IN_FLIGHT = 700


@asynccontextmanager
async def member_that_missed(cluster: EtcdCluster, protocol: aetcd.Protocol) -> AsyncIterator[EtcdMember]:
    """A follower that was paused while `k` went from `old` to `new`, and is all that is left of the cluster."""
    async with aetcd.Client(*cluster.peers, protocol=protocol) as client:
        await client.set("k", "old")
    leader = await cluster.leader()
    follower = next(member for member in cluster.members if member is not leader)
    async with aetcd.Client(follower.url, protocol=protocol) as client:
        assert await client.get("k") == "old"  # and so it has it
    await follower.pause()
    others = [member for member in cluster.members if member is not follower]
    async with aetcd.Client(*(member.url for member in others), protocol=protocol) as client:
        for number in range(MORE_THAN_IN_FLIGHT):
            await client.set("filler", str(number))
        await client.set("k", "new")
        assert await client.get("k") == "new"
    for member in others:
        await member.kill()
    await follower.resume()
    yield follower


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("cluster_binary", etcd_binaries(), ids=str)
async def test_a_member_that_missed_a_write(cluster: EtcdCluster, protocol: aetcd.Protocol) -> None:
    """With `consistent=False` it answers what it has, which is stale; with True it never does, and raises when the time
    is over. When the others are back, both say what is true.
    """
    async with member_that_missed(cluster, protocol) as follower:
        async with aetcd.Client(follower.url, protocol=protocol, timeout=2) as client:
            assert await client.get("k", consistent=False) == "old"
            for _ in range(2):
                clock = asyncio.get_running_loop().time
                asked = clock()
                with pytest.raises(aetcd.TransportError):
                    await client.get("k", consistent=True)
                assert 1.5 < clock() - asked < 4
                assert await client.get("k", consistent=False) == "old"
            with pytest.raises(aetcd.TransportError):
                await client.get("k")  # consistent is what is meant where nothing is said
        # The same said once for the whole client; it answers at once.
        async with aetcd.Client(follower.url, protocol=protocol, consistent=False) as client:
            assert await client.get("k", timeout=1) == "old"
            with pytest.raises(aetcd.TransportError):
                await client.get("k", consistent=True, timeout=1)
        # Among all peers: the one that answers is the one that is stale.
        async with aetcd.Client(*cluster.peers, protocol=protocol, timeout=2) as client:
            assert await client.get("k", consistent=False) == "old"
            with pytest.raises(aetcd.TransportError):
                await client.get("k", consistent=True)
        async with asyncio.TaskGroup() as group:
            for member in cluster.members:
                if member is not follower:
                    group.create_task(member.restart())
        await cluster.wait_healthy()
        async with aetcd.Client(follower.url, protocol=protocol) as client:
            assert await client.get("k", consistent=True) == "new"
            assert await client.get("k", consistent=False) == "new"  # it has applied what it confirmed


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_consistent_reads_while_members_pause(cluster: EtcdCluster, protocol: aetcd.Protocol) -> None:
    """Through whichever member, while one after the other is paused for a while: what was acknowledged before the
    question is in the answer.

    By revisions, for a write whose outcome is unknown may be applied late, and over newer ones.
    """
    rng = random.Random(7)
    writes = newest = answers = 0
    done = asyncio.Event()

    async def write(client: aetcd.Client) -> None:
        nonlocal writes, newest
        while not done.is_set():
            with suppress(aetcd.OutcomeUnknown):
                newest = (await client.set("n", "x", full=True)).node.modified_revision
                writes += 1

    async def read(client: aetcd.Client) -> None:
        nonlocal answers
        while not done.is_set():
            before = newest
            # By a member that is paused or has no leader, with no other to ask.
            with suppress(aetcd.TransportError, aetcd.ServerUnavailable, aetcd.NoLeader):
                found = await client.get("n", consistent=True, full=True, timeout=1)
                assert found is not None
                assert found.node.modified_revision >= before
                answers += 1

    async def pause() -> None:
        for _ in range(6):
            member = rng.choice(cluster.members)
            enough = writes + 20
            await member.pause()
            async with asyncio.timeout(20):
                while writes < enough:
                    await asyncio.sleep(0.01)
            await member.resume()
        done.set()

    async with (
        aetcd.Client(*cluster.peers, protocol=protocol, timeout=2) as writer,
        aetcd.Client(cluster.members[0].url, protocol=protocol) as first,
        aetcd.Client(cluster.members[1].url, protocol=protocol) as second,
        aetcd.Client(cluster.members[2].url, protocol=protocol) as third,
    ):
        await writer.set("n", "x")
        async with asyncio.TaskGroup() as group:
            group.create_task(write(writer))
            for reader in (first, second, third):
                group.create_task(read(reader))
            group.create_task(pause())
    assert answers > 100
