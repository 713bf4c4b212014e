from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field, frozen
from v3_partition import PartibleCluster
from v3_servers import connected

import aetcd
from aetcd.errors import HistoryLost
from aetcd.etcd.v3 import V3, Get, Header
from aetcd.etcd.v3._gateway import linearizable
from aetcd.etcd.v3._guard import GRACE, Doubt, Guard
from aetcd.etcd.v3._watch import RangeFeed
from aetcd.testing import EtcdBinary, EtcdMember, EtcdServer, TCPProxy, etcd_binaries


def answer(revision: int, *, cluster: int = 7, member: int = 1, term: int = 2, space: str = "") -> bytes:
    header = {"cluster_id": str(cluster), "member_id": str(member), "revision": str(revision), "raft_term": str(term)}
    separators = ("," + space, ":" + space)
    return json.dumps({"header": header, "kvs": [], "count": "0"}, separators=separators).encode()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def judge(clock: Clock) -> Guard:
    return Guard(clock)


class TestGuard:
    """The judge alone."""

    def test_what_goes_forward(self, judge: Guard) -> None:
        """And what stays where it is, from whichever member."""
        for revision, member, term in ((5, 1, 2), (5, 2, 2), (5, 2, 2), (6, 1, 2), (6, 2, 3), (100, 1, 3)):
            body = answer(revision, member=member, term=term)
            assert judge.look(f"http://m{member}", body, judge.seen) is None
            assert judge.seen == (7, revision, term, 0)

    def test_answers_overtake_each_other(self, judge: Guard) -> None:
        """Only what was seen before an answer was asked for counts."""
        judge.look("a", answer(5), judge.seen)
        before = judge.seen
        assert judge.look("a", answer(9), before) is None
        assert judge.look("a", answer(6), before) is None
        assert judge.seen == (7, 9, 2, 0)

    def test_an_older_revision(self, judge: Guard, clock: Clock) -> None:
        """A little behind at first; far behind where what it lacks was seen long ago."""
        judge.look("a", answer(5), judge.seen)
        assert judge.look("b", answer(4, member=2), judge.seen) is Doubt.LATE
        for _ in range(3):
            clock.now += GRACE
            doubt = judge.look("b", answer(4, member=2), judge.seen)
        assert doubt is Doubt.BEHIND
        judge.look("a", answer(50), judge.seen)
        assert judge.look("b", answer(49, member=2), judge.seen) is Doubt.LATE
        assert judge.look("b", answer(50, member=2), judge.seen) is None

    def test_an_older_term(self, judge: Guard) -> None:
        """The member has missed an election."""
        judge.look("a", answer(5, term=3), judge.seen)
        assert judge.look("b", answer(5, term=2), judge.seen) is Doubt.BEHIND

    def test_another_cluster(self, judge: Guard) -> None:
        """Whatever its revision; it is not remembered."""
        judge.look("a", answer(5), judge.seen)
        assert judge.look("b", answer(500, cluster=8), judge.seen) is Doubt.FOREIGN
        assert judge.seen == (7, 5, 2, 0)

    def test_the_first_answers_of_two_clusters(self, judge: Guard) -> None:
        """The second is the foreign one, also where both were asked before anything was known."""
        nothing = judge.seen
        assert judge.look("a", answer(5), nothing) is None
        assert judge.look("b", answer(5, cluster=8), nothing) is Doubt.FOREIGN

    def test_a_head_that_was_seen_before(self, judge: Guard) -> None:
        """Is no excuse when others have moved on."""
        judge.look("a", answer(5, member=1), judge.seen)
        judge.look("b", answer(6, member=2), judge.seen)
        assert judge.look("a", answer(5, member=1), judge.seen) is Doubt.LATE

    def test_reset(self, judge: Guard) -> None:
        """It begins anew, and what was asked before is not judged."""
        judge.look("a", answer(50), judge.seen)
        before = judge.seen
        assert judge.reset(answer(3, cluster=8))
        assert (judge.seen, judge.resets) == ((8, 3, 2, 1), 1)
        assert judge.look("a", answer(51), before) is None
        assert judge.look("a", answer(3, cluster=8), judge.seen) is None
        assert not judge.reset(b"{}")

    def test_other_bodies(self, judge: Guard) -> None:
        """Without a header nothing is said; spaces do not matter."""
        assert judge.look("a", b'{"count":"1"}', judge.seen) is None
        assert judge.seen == (0, 0, 0, 0)
        assert judge.look("a", answer(5, space=" "), judge.seen) is None
        assert judge.seen == (7, 5, 2, 0)


def test_linearizable() -> None:
    """The wish for a member's own copy is taken out, wherever it stands."""
    message: dict[str, Any] = {"key": b"a", "serializable": True}
    assert linearizable(message) == {"key": b"a"}
    assert linearizable({"success": [{"request_range": message}]}) == {"success": [{"request_range": {"key": b"a"}}]}


@define
class Member:
    """A member that says what it is told to."""

    url: str = ""
    revision: int = 10
    cluster: int = 7
    own_revision: int | None = None
    asked: list[bool] = field(factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        local = '"serializable":true' in body
        self.asked.append(local)
        revision = self.own_revision if local and self.own_revision is not None else self.revision
        return web.Response(body=answer(revision, cluster=self.cluster, member=id(self)))


@pytest.fixture
async def members() -> AsyncIterator[list[Member]]:
    """Three of one cluster."""
    members = [Member() for _ in range(3)]
    async with AsyncExitStack() as stack:
        for member in members:
            app = web.Application()
            for path in ("range", "put", "deleterange", "txn"):
                app.router.add_post(f"/v3/kv/{path}", member.answer)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            member.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield members


@pytest.fixture
async def v3(members: list[Member]) -> AsyncIterator[V3]:
    async with connected([member.url for member in members], prefix="/v3", guard=True) as v3:
        yield v3


async def read(v3: V3) -> int:
    return (await v3.range("a", serializable=True)).header.revision


def states(v3: V3) -> list[str]:
    return [status.state for status in v3.gateway.channel.pool.status()]


async def test_reads_do_not_go_back_while_a_quorum_answers(v3: V3, members: list[Member]) -> None:
    """A member that is a little behind is asked, and what it says is read again by quorum; it stays."""
    await v3.put("a", "1")
    members[1].own_revision = 9
    assert [await read(v3) for _ in range(6)] == [10] * 6
    assert True in members[1].asked
    assert states(v3) == ["healthy"] * 3
    result = await v3.txn().then(Get("a", serializable=True))
    assert result.revision == 10


async def test_a_member_left_behind(v3: V3, members: list[Member]) -> None:
    """One that does not catch up is ejected."""
    await v3.put("a", "1")
    members[1].own_revision = 9
    async with asyncio.timeout(10):
        while "ejected" not in states(v3):
            assert await read(v3) == 10
            await asyncio.sleep(0.02)
    assert v3.gateway.guard is not None
    assert v3.gateway.guard.resets == 0


async def test_a_member_of_another_cluster(v3: V3, members: list[Member]) -> None:
    """It is ejected at its first answer, and not asked again, however well it answers."""
    for _ in range(3):
        await v3.range("a")
    members[2].cluster = 8
    assert {(await v3.range("a")).header.cluster_id for _ in range(30)} == {7}
    assert states(v3) == ["healthy", "healthy", "ejected"]
    assert len(members[2].asked) <= 2
    assert (await v3.range("a", peer=members[2].url)).header.cluster_id == 8
    assert states(v3) == ["healthy", "healthy", "ejected"]


async def test_a_write_to_another_cluster(v3: V3, members: list[Member]) -> None:
    """What is done is done and answered as it is, but there is no second one."""
    for _ in range(3):
        await v3.range("a")
    members[2].cluster = 8
    clusters = [(await v3.put("a", "1")).header.cluster_id for _ in range(30)]
    assert (clusters.count(8), clusters.count(7)) == (1, 29)


async def test_a_restored_cluster(v3: V3, members: list[Member]) -> None:
    """Confirmed by a second member, the older state is the new one: nobody stays ejected, nothing is asked twice."""
    await v3.put("a", "1")
    for member in members:
        member.revision, member.cluster = 4, 8
    assert (await v3.range("a")).header.revision == 4
    assert v3.gateway.guard is not None
    assert v3.gateway.guard.resets == 1
    assert states(v3) == ["healthy"] * 3
    for member in members:
        member.asked.clear()
    for _ in range(6):
        assert (await v3.range("a")).header.cluster_id == 8
    assert sum(len(member.asked) for member in members) == 6


async def test_a_peer_that_was_named(v3: V3, members: list[Member]) -> None:
    """Its answer is what was asked for, whatever it is."""
    await v3.put("a", "1")
    members[1].revision = 3
    answered = await v3.range("a", peer=members[1].url)
    assert answered.header.revision == 3
    assert states(v3) == ["healthy"] * 3


async def test_off(members: list[Member]) -> None:
    """Without a guard everything is believed."""
    async with connected([member.url for member in members], prefix="/v3") as v3:
        await v3.put("a", "1")
        members[0].own_revision = members[1].own_revision = members[2].own_revision = 2
        assert await read(v3) == 2


async def test_a_real_cluster_that_was_replaced(etcd: EtcdServer, prefix: str) -> None:
    """Watches end with HistoryLost, and calls go on with the new one."""
    async with (
        EtcdServer(binary=etcd.binary, protocols=("v3",)) as new,
        TCPProxy(new.url) as elsewhere,
        TCPProxy(etcd.url) as proxy,
    ):
        async with connected([proxy.url], guard=True) as v3:
            async with v3.watch(prefix, prefix=True) as events:
                old = (await v3.put(prefix + "a", "1")).header
                await anext(events)
                proxy.refuse()
                proxy.cut()
                proxy._address = elsewhere._address
                proxy.resume()
                async with asyncio.timeout(10):
                    while (await v3.range("a")).header.cluster_id == old.cluster_id:
                        await asyncio.sleep(0.02)
                    with pytest.raises(HistoryLost):
                        await anext(events)
            assert v3.gateway.guard is not None
            assert v3.gateway.guard.resets == 1
            await v3.put(prefix + "b", "1")
            assert v3.gateway.guard.resets == 1


async def test_a_watch_that_begins_again_after_a_reset(v3: V3) -> None:
    """Its history is lost, also where the restored cluster has come beyond its cursor; a new watch may begin."""
    guard = v3.gateway.guard
    assert guard is not None
    old, new = (RangeFeed("a", v3.gateway, v3, "a", None, lambda _: None) for _ in range(2))
    assert not old.in_doubt(Header(cluster_id=7, revision=10), None)
    guard.reset(answer(4))
    with pytest.raises(HistoryLost, match="restored"):
        old.in_doubt(Header(cluster_id=7, revision=20), 11)
    assert not old.in_doubt(Header(cluster_id=7, revision=20), 15)
    assert not new.in_doubt(Header(cluster_id=7, revision=20), 11)


def restore(server: EtcdServer, file: Path) -> None:
    """Put a snapshot in the place of the data of a server that is stopped, as the same cluster."""
    tool = server.binary.etcdutl or server.binary.etcdctl
    assert tool is not None
    assert server.data_dir is not None
    shutil.rmtree(server.data_dir)
    member = server.member
    wanted = ("--name=", "--initial-cluster=", "--initial-cluster-token=", "--initial-advertise-peer-urls=")
    subprocess.run(
        [
            *(tool, "snapshot", "restore", file, f"--data-dir={server.data_dir}"),
            *(argument for argument in member._command if argument.startswith(wanted)),
        ],
        env={"ETCDCTL_API": "3"},
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("binary", etcd_binaries(), ids=str)
async def test_a_real_server_that_was_restored(binary: EtcdBinary, tmp_path: Path) -> None:
    """It is the same cluster, at an older revision: that is found out by itself, and told to whoever watches."""
    async with (
        asyncio.timeout(60),
        EtcdServer(binary=binary, protocols=("v3",), data_dir=tmp_path / "data") as server,
        aetcd.Client(server.url, protocol="v3") as client,
    ):
        guard = client.v3.gateway.guard
        assert guard is not None
        await client.set("kept", "1")
        saved = (await client.set("changed", "1", full=True)).revision
        await client.v3.maintenance.snapshot(tmp_path / "snapshot.db")
        async with (
            client.watch("", recursive=True) as changes,
            client.v3.watch("changed") as events,
            client.watch("", recursive=True, on_history_lost="resync") as resynced,
        ):
            await client.set("changed", "2")
            await client.set("lost", "1")
            for watch, count in ((changes, 2), (resynced, 2), (events, 1)):
                for _ in range(count):
                    await anext(watch)
            before = guard.seen
            await server.stop()
            restore(server, tmp_path / "snapshot.db")
            await server.restart()
            assert await client.get("changed") == "1"
            assert guard.seen == (before[0], saved, guard.seen[2], 1)
            for ended in (changes, events):
                with pytest.raises(HistoryLost, match="restored"):
                    await anext(ended)
            difference = [await anext(resynced) for _ in range(3)]
            told = {(item.kind, item.key, item.value) for item in difference if isinstance(item, aetcd.Change)}
            assert told == {("put", "changed", "1"), ("delete", "lost", None)}
            assert difference[-1] == aetcd.Resynced(revision=saved)
            await client.set("lost", "2")
            following = await anext(resynced)
            assert isinstance(following, aetcd.Change)
            assert (following.key, following.value) == ("lost", "2")
        assert guard.resets == 1


# Of three real members one is cut off from the others, and clients reach all of them


@frozen
class Parted:
    """Its leader and one other agree on what comes, and the lonely one has heard nothing since `k` became `old`."""

    cluster: PartibleCluster
    lonely: EtcdMember
    leader: EtcdMember
    other: EtcdMember

    async def renew(self) -> None:
        """Now it is `new`."""
        async with connected([self.leader.url]) as v3:
            await v3.put("k", "new")


@pytest.fixture(params=etcd_binaries(), ids=str)
async def parted(request: pytest.FixtureRequest) -> AsyncIterator[Parted]:
    """The cluster, in which nothing more was written."""
    async with PartibleCluster(request.param) as cluster:
        leader = await cluster.leader()
        lonely, other = (member for member in cluster.members if member is not leader)
        async with connected([lonely.url]) as v3:
            await v3.put("k", "old")
            asked = await v3.range("k")  # and so it has it
        await cluster.cut_off(lonely, asked.header.member_id)
        yield Parted(cluster, lonely, leader, other)


@define
class Log:
    """What a client has asked, and what it came to think of its peers."""

    asked: list[str] = field(factory=list)
    ejected: list[tuple[str, str | None]] = field(factory=list)

    def trace(self) -> aetcd.Trace:
        return aetcd.Trace(on_request=lambda event: self.asked.append(event.peer), on_peer_state=self._thought)

    def _thought(self, event: aetcd.PeerEvent) -> None:
        if event.after == "ejected":
            self.ejected.append((event.peer, event.error))


async def until_new(client: aetcd.Client) -> None:
    """The first time that it is told so."""
    while await client.get("k") != "new":
        pass


async def test_reads_go_back_to_no_member_that_is_behind(parted: Parted) -> None:
    """It is asked, and what it says is not taken; where it stays behind it is left out. Without a guard it is taken."""
    await parted.renew()
    log = Log()
    async with (
        asyncio.timeout(30),
        aetcd.Client(*parted.cluster.peers, consistent=False, trace=log.trace()) as client,
        aetcd.Client(*parted.cluster.peers, consistent=False, guard=False) as careless,
    ):
        await until_new(careless)
        assert "old" in [await careless.get("k") for _ in range(3)]
        await until_new(client)
        log.asked.clear()
        assert [await client.get("k") for _ in range(6)] == ["new"] * 6
        assert parted.lonely.url in log.asked
        guard = client.v3.gateway.guard
        assert guard is not None
        clock, ahead = guard.clock, 0.0
        guard.clock = lambda: clock() + ahead
        while (parted.lonely.url, Doubt.BEHIND.value) not in log.ejected:
            ahead += GRACE
            assert await client.get("k") == "new"
        assert guard.resets == 0


async def test_a_member_that_missed_an_election(parted: Parted) -> None:
    """It has an older term at the same revision: what it says is not taken, and it is left out at once."""
    log = Log()
    async with (
        asyncio.timeout(30),
        connected([parted.leader.url, parted.other.url]) as admin,
        aetcd.Client(*parted.cluster.peers, trace=log.trace()) as client,
    ):
        target = (await admin.range("k", peer=parted.other.url)).header.member_id
        await admin.maintenance.move_leader(target, peer=parted.leader.url)
        now = (await admin.range("k")).header
        then = (await client.v3.range("k", serializable=True, peer=parted.lonely.url)).header
        assert then.revision == now.revision
        assert then.raft_term < now.raft_term
        while (await client.v3.range("k", serializable=True)).header.raft_term < now.raft_term:
            pass
        log.asked.clear()
        terms = [(await client.v3.range("k", serializable=True)).header.raft_term for _ in range(6)]
        assert terms == [now.raft_term] * 6
        assert parted.lonely.url in log.asked
        assert (parted.lonely.url, Doubt.BEHIND.value) in log.ejected
        guard = client.v3.gateway.guard
        assert guard is not None
        assert guard.resets == 0


async def test_nobody_is_left_but_a_member_that_is_behind(parted: Parted) -> None:
    """Its own copy is better than nothing where that was asked for, and is given; a linearizable read never is."""
    await parted.renew()
    async with asyncio.timeout(30), aetcd.Client(*parted.cluster.peers, consistent=False) as client:
        await until_new(client)
        for member in (parted.leader, parted.other):
            await member.kill()
        assert await client.get("k", timeout=2) == "old"
        with pytest.raises(aetcd.TransportError):
            await client.get("k", timeout=1, consistent=True)
