"""Three members: who leads, and what the loss of some does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from raw import b64, post, value_of
from remains import Remains

from aetcd.testing import EtcdCluster, EtcdNotReady, etcd_binaries


@pytest.fixture
async def quick() -> AsyncIterator[EtcdCluster]:
    """Three members with a raft so fast that a failover takes a fifth of a second."""
    async with EtcdCluster(3, heartbeat_ms=20) as cluster:
        yield cluster


@pytest.mark.parametrize("cluster_binary", etcd_binaries(), ids=str)
async def test_the_members_are_one_cluster(cluster: EtcdCluster) -> None:
    """What is written through one is read through the others; their names tell their places."""
    assert [member.name for member in cluster.members] == ["m0", "m1", "m2"]
    assert cluster.peers == [member.url for member in cluster.members]
    assert all(member.peers == [member.url] for member in cluster.members)
    assert len({member.pid for member in cluster.members}) == 3
    await post(cluster.peers[0], "/v3/kv/put", key=b64("a"), value=b64("b"))
    assert [await value_of(url, "a") for url in cluster.peers] == ["b", "b", "b"]


async def test_the_members_do_not_wait_for_each_other_at_their_start(quick: EtcdCluster) -> None:
    """The first answers its peers before the others begin, and is the one that they ask first."""
    logs = [[json.loads(line) for line in member.log.splitlines()] for member in quick.members]
    answers = next(line["ts"] for line in logs[0] if line["msg"] == "serving peer traffic")
    assert answers <= min(logs[1][0]["ts"], logs[2][0]["ts"])
    assert [member.peer_url for member in quick.members] == sorted(member.peer_url for member in quick.members)


@pytest.mark.parametrize("fault", ["kill", "pause", "stop"])
async def test_another_member_leads_when_the_leader_is_lost(quick: EtcdCluster, fault: str) -> None:
    """`leader()` never names one that is lost; the lost one comes back with all data."""
    lost = await quick.leader()
    await getattr(lost, fault)()
    leader = await quick.leader()
    assert leader is not lost
    await quick.wait_healthy(10)
    await post(leader.url, "/v3/kv/put", key=b64("a"), value=b64("b"))
    if fault == "pause":
        await lost.resume()
    else:
        await lost.restart()
    await quick.wait_healthy(10)
    assert await value_of(lost.url, "a") == "b"


async def test_without_a_majority_nobody_leads(quick: EtcdCluster) -> None:
    """Not even the old leader, which may believe so for a second."""
    leader = await quick.leader()
    for member in quick.members:
        if member is not leader:
            member.kill()
    with pytest.raises(EtcdNotReady, match=f"no leader after 1 s; running: {leader.name}"):
        await quick.leader(timeout=1)
    with pytest.raises(EtcdNotReady, match=f"not healthy after 0.5 s: {leader.name}"):
        await quick.wait_healthy(timeout=0.5)


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
async def test_all_members_can_go_and_come_back(quick: EtcdCluster, together: bool) -> None:
    """Restarted one after another the first cannot serve yet, and does not wait for that."""
    await post(quick.peers[0], "/v3/kv/put", key=b64("a"), value=b64("b"))
    await asyncio.gather(*(member.kill() for member in quick.members))
    with pytest.raises(EtcdNotReady, match="no member runs"):
        await quick.wait_healthy(timeout=0.1)
    if together:
        await asyncio.gather(*(member.restart() for member in quick.members))
    else:
        for member in quick.members:
            await member.restart()
    await quick.wait_healthy(10)
    assert [await value_of(url, "a") for url in quick.peers] == ["b", "b", "b"]


async def test_a_restart_without_hope_ends(quick: EtcdCluster) -> None:
    """A member whose cluster can serve, but that does not itself, is reported with its log."""
    member = quick.members[0]
    await member.kill()
    with pytest.raises(EtcdNotReady, match=rf"(?s)m0 at {member.url} does not serve after 0\.001 s\n.*log of m0"):
        await member.restart(timeout=0.001)


async def test_nothing_is_left_of_a_cluster_with_members_in_every_state(remains: Remains) -> None:
    """Dead, paused and well; none of the faults was awaited."""
    async with EtcdCluster(3, heartbeat_ms=20) as cluster:
        assert len(remains.processes()) == 4
        cluster.members[0].kill()
        cluster.members[1].pause()
    assert remains.nothing()
    assert [member.pid for member in cluster.members] == [None, None, None]


async def test_a_cluster_of_one_and_its_own_leader() -> None:
    """The smallest cluster."""
    async with EtcdCluster(1) as cluster:
        assert await cluster.leader() is cluster.members[0]
