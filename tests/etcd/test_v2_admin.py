from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from v2_servers import BINARIES, connected

import aetcd
from aetcd._wire.message import Effect, Request, Response
from aetcd.errors import InvalidRequest, MemberExists, MemberNotFound, ServerUnavailable
from aetcd.etcd.v2 import V2, V2LeaderStats, V2Member
from aetcd.testing import EtcdCluster, EtcdServer


@pytest.fixture
async def v2(etcd: EtcdServer) -> AsyncIterator[V2]:
    async with connected(etcd.url) as client:
        yield client


async def test_version(v2: V2, etcd: EtcdServer) -> None:
    """The peer's, and the cluster's."""
    version = await v2.version(peer=etcd.url)
    assert version.server == etcd.version
    assert version.cluster == version.server[:3] + ".0"


async def test_health(v2: V2) -> None:
    """A peer that is well is true."""
    health = await v2.health()
    assert health
    assert health.reason == ""


async def test_machines(v2: V2, etcd: EtcdServer) -> None:
    """The client URLs of the members."""
    assert await v2.machines() == [etcd.url]


async def test_members_and_leader(v2: V2, etcd: EtcdServer) -> None:
    """The one member of a cluster leads it."""
    [member] = await v2.members.list()
    assert (member.name, member.client_urls, len(member.peer_urls)) == (etcd.member.name, (etcd.url,), 1)
    assert int(member.id, 16)
    assert await v2.leader() == member


async def test_stats_of_itself(v2: V2, etcd: EtcdServer) -> None:
    """A member knows its name, its state and its leader, with aware times."""
    stats = await v2.stats.self()
    [member] = await v2.members.list()
    assert (stats.name, stats.id, stats.leader, stats.state) == (
        etcd.member.name,
        member.id,
        member.id,
        "StateLeader",
    )
    assert stats.leader_uptime
    assert (stats.append_requests_received, stats.append_requests_sent) == (0, 0)
    assert timedelta() <= stats.leader_start_time - stats.start_time < timedelta(minutes=1)
    assert stats.start_time < datetime.now(UTC)


async def test_stats_of_the_store(v2: V2) -> None:
    """Each operation is counted under its own name."""
    key = f"t{uuid.uuid4().hex}"
    before = await v2.stats.store()
    await v2.create(key, "1")
    await v2.set(key, "2")
    await v2.update(key, "3")
    await v2.compare_and_swap(key, "4", previous_value="3")
    await v2.get(key)
    await v2.compare_and_delete(key, previous_value="4")
    await v2.set(key, "5")
    await v2.delete(key)
    after = await v2.stats.store()
    grown = {
        name: getattr(after, name) - getattr(before, name)
        for name in ("create", "sets", "update", "compare_and_swap", "gets", "compare_and_delete", "delete")
        for name in (f"{name}_success",)
    }
    assert grown == {
        "create_success": 1,
        "sets_success": 2,
        "update_success": 1,
        "compare_and_swap_success": 1,
        "gets_success": 1,
        "compare_and_delete_success": 1,
        "delete_success": 1,
    }


async def test_stats_of_the_leader_alone(v2: V2) -> None:
    """A leader without followers."""
    [member] = await v2.members.list()
    assert await v2.stats.leader() == V2LeaderStats(leader=member.id, followers={})


@pytest.fixture(params=BINARIES, ids=str)
def lenient_cluster(request: pytest.FixtureRequest) -> Iterator[EtcdCluster]:
    """Three members that do not wait five seconds before they call each other healthy enough for a change.

    A change of leader on a machine with much to do would leave the fate of a change open, so the leader is given time.
    """
    settings: dict[str, Any] = {"election_ms": 3000, "extra_args": ["--strict-reconfig-check=false"]}
    with EtcdCluster(3, binary=request.param, **settings) as cluster:
        yield cluster


async def test_three_members(lenient_cluster: EtcdCluster) -> None:
    """What only a cluster of more than one tells, and then its members changed: added, moved, put out."""
    leader = await lenient_cluster.leader()
    follower = next(member for member in lenient_cluster.members if member is not leader)
    async with connected(leader.url) as v2, connected(follower.url) as second:
        await v2.set("k", "v")
        assert sorted(await v2.machines()) == sorted(lenient_cluster.peers)
        await followed(v2, second, leader=leader.name, follower=follower.name)
        await found(lenient_cluster, await v2.leader())
        await changed(v2, follower.name)


async def followed(v2: V2, second: V2, *, leader: str, follower: str) -> None:
    itself = await second.stats.self()
    leading = await second.leader()
    assert leading == await v2.leader()
    assert leading.name == leader
    assert (itself.name, itself.state, itself.leader) == (follower, "StateFollower", leading.id)
    assert itself.append_requests_received > 0
    stats = await v2.stats.leader()
    assert (stats.leader, len(stats.followers)) == (leading.id, 2)
    latencies = stats.followers[itself.id]
    assert latencies.successes > 0
    assert 0 < latencies.latency_minimum <= latencies.latency_average <= latencies.latency_maximum
    with pytest.raises(ServerUnavailable, match="not current leader"):
        await second.stats.leader()


async def found(cluster: EtcdCluster, leader: V2Member) -> None:
    """A client of all members finds the leader, whoever's turn it is; one that was named is asked."""
    other = next(url for url in cluster.peers if url not in leader.client_urls)
    async with aetcd.Client(*cluster.peers, protocol="v2") as client:
        for _ in cluster.peers:
            assert (await client.v2.stats.leader()).leader == leader.id
        with pytest.raises(ServerUnavailable, match="not current leader"):
            await client.v2.stats.leader(peer=other)


async def changed(v2: V2, follower: str) -> None:
    for refused in (["not a URL"], ["ftp://h:1"]):
        with pytest.raises(InvalidRequest):
            await v2.members.add(refused)
    members = {member.name: member for member in await v2.members.list()}
    out = members[follower]
    with pytest.raises(MemberExists):
        await v2.members.add(out.peer_urls)
    with pytest.raises(MemberNotFound):
        await v2.members.remove("abc")
    with pytest.raises(MemberNotFound):
        await v2.members.update("abc", ["http://127.0.0.1:1"])

    added = await v2.members.add(["http://127.0.0.1:1"])
    assert (added.name, added.peer_urls, added.client_urls) == ("", ("http://127.0.0.1:1",), ())
    await v2.members.update(added.id, ["http://127.0.0.1:2", "http://127.0.0.1:3"])
    moved = next(member for member in await v2.members.list() if member.id == added.id)
    assert sorted(moved.peer_urls) == ["http://127.0.0.1:2", "http://127.0.0.1:3"]
    await v2.members.remove(added.id)
    await v2.members.remove(out.id)
    assert {member.name for member in await v2.members.list()} == {*members} - {follower}
    with pytest.raises(MemberNotFound, match="permanently removed"):
        await v2.members.remove(out.id)


@pytest.mark.parametrize("urls", [[], "http://h:1"])
async def test_member_without_urls(v2: V2, urls: Any) -> None:
    """None are refused, and one text is not taken for its letters."""
    with pytest.raises((ValueError, TypeError), match="peer_urls"):
        await v2.members.add(urls)


@pytest.mark.parametrize("member_id", ["", "xyz", "a/b", "../leader", "a" * 17])
async def test_member_id_that_is_none(v2: V2, member_id: str) -> None:
    """What would reach another address is not sent."""
    with pytest.raises(ValueError, match="member_id"):
        await v2.members.remove(member_id)


class Told:
    """A channel with one answer, for what a single server does not say."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer = Response(status=status, headers={}, body=body, peer="http://p")
        self.requests: list[Request] = []

    async def send(self, request: Request, **_: object) -> Response:
        self.requests.append(request)
        return self.answer

    def v2(self) -> V2:
        return V2(self)  # type: ignore[arg-type]


async def test_rates_of_a_member() -> None:
    """A member that takes part in replication tells its rates; the others are 0."""
    told = Told(
        200,
        b'{"name":"m","id":"1","state":"StateFollower","startTime":"2026-11-22T06:12:01.163722028Z",'
        b'"leaderInfo":{"leader":"2","uptime":"1s","startTime":"2026-11-22T06:12:01Z"},"recvAppendRequestCnt":3,'
        b'"recvPkgRate":1.5,"recvBandwidthRate":100.25,"sendAppendRequestCnt":4}',
    )
    stats = await told.v2().stats.self()
    assert (stats.receiving_packages, stats.receiving_bandwidth, stats.sending_packages) == (1.5, 100.25, 0)
    assert (stats.append_requests_received, stats.append_requests_sent) == (3, 4)


@pytest.mark.parametrize(
    ("status", "body", "healthy"),
    [
        (503, b'{"health":"false","reason":"RAFT NO LEADER"}', False),
        (503, b'{"health": "false"}', False),
        (200, b'{"health":true}', True),
    ],
)
async def test_health_that_is_told_otherwise(status: int, body: bytes, healthy: bool) -> None:
    """A peer that is not well answers 503, and that is an answer; older ones wrote true without quotes."""
    health = await Told(status, body).v2().health()
    assert health.healthy is healthy
    assert health.reason == ("RAFT NO LEADER" if b"reason" in body else "")


async def test_health_that_a_proxy_cannot_tell() -> None:
    """A gateway's own 503 is no answer about the peer."""
    with pytest.raises(ServerUnavailable):
        await Told(503, b"<html>").v2().health()


@pytest.mark.parametrize("body", [b"http://a:1, http://b:2\n", b"http://a:1,http://b:2"])
async def test_machines_of_three(body: bytes) -> None:
    """A list in plain text, with or without spaces."""
    assert await Told(200, body).v2().machines() == ["http://a:1", "http://b:2"]


async def test_effects_of_admin_requests() -> None:
    """Questions may be asked again, changes are sent once."""
    told = Told(200, b'{"id":"1","members":[]}')
    v2 = told.v2()
    await v2.members.list()
    await v2.leader()
    await v2.members.add(["http://h:1"])
    await v2.members.update("1", ["http://h:1"])
    await v2.members.remove("1")
    assert [request.effect for request in told.requests] == [Effect.READ] * 2 + [Effect.ONCE] * 3
