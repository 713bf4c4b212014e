from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from v3_servers import connected

from aetcd.errors import (
    ClusterRefused,
    ConnectFailed,
    InvalidRequest,
    MemberExists,
    MemberNotFound,
    QuotaExceeded,
    Unsupported,
)
from aetcd.etcd.v3 import V3
from aetcd.testing import EtcdServer, etcd_binaries


@pytest.fixture
def server(etcd: EtcdServer) -> EtcdServer:
    return etcd


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


def newer(server: EtcdServer, *version: int) -> bool:
    return server.binary.at_least(*version)


async def test_status(v3: V3, server: EtcdServer) -> None:
    """The member that was named says how it is."""
    status = await v3.maintenance.status(peer=server.peers[0])
    assert status.version == server.version
    assert status.leader == status.header.member_id
    assert status.db_size >= status.db_size_in_use > 0
    assert status.raft_index >= status.raft_applied_index > 0
    assert status.raft_term == status.header.raft_term > 0
    assert (status.errors, status.is_learner) == ((), False)


async def test_status_of_a_member_that_is_down(v3: V3) -> None:
    """No other answers in its place."""
    with pytest.raises(ConnectFailed):
        await v3.maintenance.status(peer="http://127.0.0.1:1", timeout=5)


async def test_members(v3: V3, server: EtcdServer) -> None:
    """Who they are, and where."""
    for linearizable in (True, False):
        answer = await v3.cluster.members(linearizable=linearizable)
        (member,) = answer.members
        assert member.id == answer.header.member_id
        assert member.client_urls == tuple(server.peers)
        assert (len(member.peer_urls), member.is_learner) == (1, False)


async def test_defragment_and_hash(v3: V3, server: EtcdServer) -> None:
    """Two looks at one state have one hash."""
    await v3.maintenance.defragment(peer=server.peers[0], timeout=30)
    first, second = [await v3.maintenance.hash(peer=server.peers[0]) for _ in range(2)]
    assert first.hash == second.hash > 0


async def test_hash_kv(v3: V3, server: EtcdServer) -> None:
    """Where the gateway has it, one hash for one revision; else the version that it takes is named."""
    if newer(server, 3, 5, 10):
        assert (await v3.maintenance.hash_kv()).hash > 0
    else:
        with pytest.raises(Unsupported, match=r"needs etcd 3\.5\.10"):
            await v3.maintenance.hash_kv()


async def test_hash_kv_of_a_server_that_has_it() -> None:
    """None newer than 3.5.1 can be installed: what etcd 3.6's API says that one asks and answers."""
    asked: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        header = {"cluster_id": "1", "member_id": "2", "revision": "9", "raft_term": "2"}
        return web.json_response({"header": header, "hash": 7, "compact_revision": "3", "hash_revision": "5"})

    app = web.Application()
    app.router.add_post("/v3/maintenance/hashkv", answer)
    async with TestServer(app) as server, connected([str(server.make_url(""))], prefix="/v3") as v3:
        found = await v3.maintenance.hash_kv(5)
    assert asked == [{"revision": 5}]
    assert (found.hash, found.compact_revision, found.hash_revision, found.header.revision) == (7, 3, 5, 9)


async def test_move_leader(v3: V3) -> None:
    """To nobody is refused."""
    with pytest.raises(ClusterRefused, match="bad leader transferee"):
        await v3.maintenance.move_leader(3)


async def test_downgrade(v3: V3, server: EtcdServer) -> None:
    """Before 3.5 the version that it takes is named."""
    if not newer(server, 3, 5):
        with pytest.raises(Unsupported, match=r"needs etcd 3\.5"):
            await v3.maintenance.downgrade("VALIDATE", "3.4.0")
        return
    assert (await v3.maintenance.downgrade("VALIDATE", "3.4.0")).version.startswith("3.5")
    with pytest.raises(InvalidRequest):
        await v3.maintenance.downgrade("VALIDATE", "3.0.0")
    with pytest.raises(ClusterRefused, match="no inflight downgrade"):
        await v3.maintenance.downgrade("CANCEL")


async def test_member_that_is_not(v3: V3) -> None:
    """Neither promoted nor removed nor updated."""
    for call in (
        v3.cluster.promote(3),
        v3.cluster.remove(3),
        v3.cluster.update(3, ["http://127.0.0.1:1"]),
    ):
        with pytest.raises(MemberNotFound):
            await call


async def test_bad_input(v3: V3) -> None:
    """Named before it is sent."""
    for call, error, named in (
        (v3.cluster.add([]), ValueError, "peer_urls"),
        (v3.cluster.add("http://a:1"), TypeError, "peer_urls"),
        (v3.cluster.add([5]), TypeError, "peer_urls"),  # type: ignore[list-item]
        (v3.cluster.add(5), TypeError, "peer_urls"),  # type: ignore[arg-type]
        (v3.cluster.update(1, None), TypeError, "peer_urls"),  # type: ignore[arg-type]
        (v3.cluster.add(["http://a:1"], learner="no"), TypeError, "learner"),  # type: ignore[arg-type]
        (v3.cluster.members(linearizable=1), TypeError, "linearizable"),  # type: ignore[arg-type]
        (v3.cluster.remove(0), ValueError, "member_id"),
        (v3.cluster.promote(-1), ValueError, "member_id"),
        (v3.cluster.update(1 << 64, ["http://a:1"]), ValueError, "member_id"),
        (v3.cluster.remove(True), TypeError, "member_id"),
        (v3.maintenance.move_leader(0), ValueError, "target_id"),
        (v3.maintenance.hash_kv(-1), ValueError, "revision"),
        (v3.maintenance.disarm("FIRE"), ValueError, "alarm"),  # type: ignore[arg-type]
        (v3.maintenance.disarm([]), ValueError, "alarm"),  # type: ignore[arg-type]
        (v3.maintenance.disarm(member_id="7"), TypeError, "member_id"),  # type: ignore[arg-type]
        (v3.maintenance.downgrade("UP", "3.4.0"), ValueError, "action"),  # type: ignore[arg-type]
        (v3.maintenance.downgrade(["UP"], "3.4.0"), ValueError, "action"),  # type: ignore[arg-type]
        (v3.maintenance.downgrade("VALIDATE", 5), TypeError, "version"),  # type: ignore[arg-type]
        (v3.maintenance.downgrade("ENABLE"), ValueError, "version"),
        (v3.maintenance.downgrade("CANCEL", "3.4.0"), ValueError, "version"),
    ):
        with pytest.raises(error, match=rf"\b{named}\b"):
            await call


@pytest.mark.parametrize("peer", ["", 5, "ftp://a", ["http://a"]])
async def test_bad_peer(v3: V3, peer: Any) -> None:
    """It is named as the argument that it is."""
    for call in (v3.maintenance.status, v3.maintenance.alarms, partial(v3.maintenance.move_leader, 1)):
        with pytest.raises((TypeError, ValueError), match=r"^peer\b"):
            await call(peer=peer)


async def test_any_peer(v3: V3, server: EtcdServer) -> None:
    """Whichever the pool picks, in every call: no host of that name is looked up."""
    assert (await v3.maintenance.status(peer="any")).version == server.version
    assert (await v3.maintenance.alarms(peer="any")).alarms == ()
    assert (await v3.maintenance.disarm("CORRUPT", peer="any")).alarms == ()
    with pytest.raises(ClusterRefused, match="bad leader transferee"):
        await v3.maintenance.move_leader(3, peer="any")
    with pytest.raises((InvalidRequest, Unsupported)):
        await v3.maintenance.downgrade("VALIDATE", "3.0.0", peer="any")


class TestOwnServer:
    """What must not be done to a server that others use."""

    @pytest.fixture(params=etcd_binaries(), ids=str)
    def server(self, request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
        arguments = [f"--quota-backend-bytes={1 << 20}", "--strict-reconfig-check=false"]
        with EtcdServer(binary=request.param, protocols=("v3",), extra_args=arguments) as server:
            yield server

    async def test_alarm(self, v3: V3) -> None:
        """A full store raises one, refuses writes, and forgives when it is taken back."""
        assert (await v3.maintenance.alarms()).alarms == ()
        with suppress(QuotaExceeded):
            for i in range(100):
                await v3.put(f"big/{i}", b"x" * 100_000)
        with pytest.raises(QuotaExceeded):
            await v3.put("small", "x")
        (alarm,) = (await v3.maintenance.alarms()).alarms
        me = (await v3.range("a")).header.member_id
        assert (alarm.alarm, alarm.member_id) == ("NOSPACE", me)
        assert (await v3.maintenance.status()).errors != ()
        await v3.delete_range("big/", prefix=True)
        await v3.compact((await v3.range("a")).header.revision, physical=True)
        await v3.maintenance.defragment()
        others: Any
        for others in ({"alarm": "CORRUPT"}, {"member_id": 7}):
            assert (await v3.maintenance.disarm(**others)).alarms == ()
        assert (await v3.maintenance.disarm("NOSPACE", member_id=me)).alarms == (alarm,)
        assert (await v3.maintenance.alarms()).alarms == ()
        await v3.put("small", "x")

    async def test_membership(self, v3: V3) -> None:
        """A learner is added, refused as a voter while it is not up, told of a new address, and removed."""
        added = await v3.cluster.add(["http://127.0.0.1:1"], learner=True)
        assert added.member is not None
        learner: Any = next(m for m in added.members if m.id == added.member.id)
        assert (learner.is_learner, learner.name, learner.peer_urls) == (True, "", ("http://127.0.0.1:1",))
        with pytest.raises(MemberExists):
            await v3.cluster.add(["http://127.0.0.1:1"], learner=True)
        with pytest.raises(ClusterRefused):
            await v3.cluster.promote(learner.id)
        updated = await v3.cluster.update(learner.id, ["http://127.0.0.1:2"])
        assert [m.peer_urls for m in updated.members if m.id == learner.id] == [("http://127.0.0.1:2",)]
        removed = await v3.cluster.remove(learner.id)
        assert [m.id for m in removed.members] == [removed.header.member_id]
