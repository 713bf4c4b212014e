"""What takes three members."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from registries import DiscoveredCluster, new_token
from v3_servers import connected

from aetcd import Client, Trace
from aetcd.errors import ClusterRefused, InvalidRequest, NoPeerAvailable, OutcomeUnknown, Unsupported
from aetcd.etcd.v3 import V3, Maintenance, Member
from aetcd.testing import EtcdBinary, EtcdCluster, EtcdServer, etcd_binaries
from aetcd.testing._ports import HOST, HeldPort
from aetcd.testing._settings import etcd_environment

pytestmark = pytest.mark.parametrize("cluster_binary", etcd_binaries(), ids=str)


@pytest.fixture
async def v3(cluster: EtcdCluster) -> AsyncIterator[V3]:
    async with connected(cluster.peers) as v3:
        yield v3


@contextmanager
def joining(cluster: EtcdCluster, name: str, peer_url: str, client_url: str, folder: Path) -> Iterator[None]:
    """A further member's process."""
    known = {member.name: member.peer_url for member in cluster.members} | {name: peer_url}
    command = [
        str(cluster.binary.path),
        f"--name={name}",
        f"--data-dir={folder / name}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        "--initial-cluster=" + ",".join(f"{name}={url}" for name, url in known.items()),
        "--initial-cluster-state=existing",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=etcd_environment(), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def test_move_leader(v3: V3, cluster: EtcdCluster) -> None:
    """The leader hands over to the member that was named; no other member does it for it."""
    leader = await cluster.leader()
    ids = {member.url: (await v3.maintenance.status(peer=member.url)).header.member_id for member in cluster.members}
    target = next(url for url in ids if url != leader.url)
    with pytest.raises(ClusterRefused, match="not leader"):
        await v3.maintenance.move_leader(ids[leader.url], peer=target)
    await v3.maintenance.move_leader(ids[target], peer=leader.url)
    await all_follow(v3, ids, target)
    # Without a name the leader is found, whoever's turn it is to answer.
    for heir, member_id in ids.items():
        await v3.maintenance.move_leader(member_id)
        await all_follow(v3, ids, heir)


async def all_follow(v3: V3, ids: dict[str, int], leader: str) -> None:
    async with asyncio.timeout(10):
        while {(await v3.maintenance.status(peer=url)).leader for url in ids} != {ids[leader]}:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def growing(binary: EtcdBinary) -> AsyncIterator[tuple[EtcdCluster, V3, str, str]]:
    """Three members, and the addresses that a fourth may have for its peers and for clients."""
    ports = [HeldPort(), HeldPort()]
    peer_url, client_url = (f"http://{HOST}:{port.number}" for port in ports)
    # Without that check members must have known each other for five seconds.
    lenient = EtcdCluster(3, binary=binary, extra_args=["--strict-reconfig-check=false"])
    try:
        async with lenient as cluster, connected(cluster.peers) as v3:
            yield cluster, v3, peer_url, client_url
    finally:
        for port in ports:
            port.release()


async def test_learner(cluster_binary: EtcdBinary, tmp_path: Path) -> None:
    """It is added, follows without a vote, is promoted once it has caught up, and votes."""
    async with growing(cluster_binary) as (cluster, v3, peer_url, client_url):
        for i in range(50):
            await v3.put(f"key/{i}", "1")
        added = await v3.cluster.add([peer_url], learner=True)
        assert added.member is not None
        with joining(cluster, "learner", peer_url, client_url, tmp_path):
            promoted = await promote(v3, added.member.id)
            assert (promoted.name, promoted.is_learner) == ("learner", False)
            async with connected([client_url]) as other:
                assert (await other.range("key/", prefix=True, count_only=True)).count == 50
                assert (await other.maintenance.status()).is_learner is False
            with pytest.raises(ClusterRefused, match="can only promote a learner"):
                await v3.cluster.promote(promoted.id)
            removed = await v3.cluster.remove(promoted.id)
        assert {member.name for member in removed.members} == {member.name for member in cluster.members}


async def test_voter(cluster_binary: EtcdBinary, tmp_path: Path) -> None:
    """It counts from the moment that it is added, joins when it is started, and is removed again."""
    async with growing(cluster_binary) as (cluster, v3, peer_url, client_url):
        added = await v3.cluster.add([peer_url])
        assert added.member is not None
        voter = added.member.id
        assert [(m.name, m.is_learner) for m in added.members if m.id == voter] == [("", False)]
        await v3.put("key", "1")  # three of four are a quorum
        with joining(cluster, "voter", peer_url, client_url, tmp_path):
            async with asyncio.timeout(30):
                while "voter" not in {member.name for member in (await v3.cluster.members()).members}:
                    await asyncio.sleep(0.05)
            async with connected([client_url]) as other:
                status = await other.maintenance.status()
                assert (status.header.member_id, status.is_learner) == (voter, False)
            removed = await v3.cluster.remove(voter)
        assert {member.name for member in removed.members} == {member.name for member in cluster.members}


async def promote(v3: V3, learner: int) -> Member:
    """As soon as it has caught up; until then it is refused."""
    async with asyncio.timeout(30):
        while True:
            try:
                promoted = await v3.cluster.promote(learner)
            except ClusterRefused as e:
                assert "in sync with leader" in str(e)
                await asyncio.sleep(0.05)
            else:
                return next(member for member in promoted.members if member.id == learner)


async def known(v3: V3, peer: str) -> dict[int, list[str]]:
    """The members' peer URLs, as one of them knows them."""
    return {member.id: sorted(member.peer_urls) for member in (await v3.cluster.members(peer=peer)).members}


async def test_update_member(v3: V3, cluster: EtcdCluster) -> None:
    """All are told of another way to a member, which goes on."""
    (first, *_) = (await v3.cluster.members()).members
    urls = [*first.peer_urls, "http://127.0.0.1:1"]
    await v3.cluster.update(first.id, urls)
    # Up to 3.4 a member tells what it has applied itself, which may be a moment behind.
    async with asyncio.timeout(10):
        for peer in cluster.peers:
            while (await known(v3, peer))[first.id] != sorted(urls):
                await asyncio.sleep(0.01)
    await v3.put("a", "1")


async def test_members_without_a_quorum(v3: V3, cluster: EtcdCluster) -> None:
    """A member's own list is had (3.5), that of the cluster is not."""
    alone, *others = cluster.members
    for member in others:
        await member.kill()
    assert len((await v3.cluster.members(linearizable=False, peer=alone.url)).members) == 3
    if cluster.binary.at_least(3, 5):
        with pytest.raises((NoPeerAvailable, ClusterRefused, TimeoutError)):
            await v3.cluster.members(peer=alone.url, timeout=2)
    with pytest.raises((OutcomeUnknown, ClusterRefused)):
        await v3.cluster.add(["http://127.0.0.1:1"], timeout=2)


async def test_hashes_are_of_one_state(v3: V3, cluster: EtcdCluster) -> None:
    """Where the gateway has it, the keys' hash at one revision is the same on all; the other is of each member."""
    revision = (await v3.put("a", "1")).header.revision
    for peer in cluster.peers:
        await v3.range("a", peer=peer)  # linearizable, so that the member has come to this revision
        assert (await v3.maintenance.hash(peer=peer)).hash > 0
    if cluster.binary.at_least(3, 5, 10):
        hashes = {(await v3.maintenance.hash_kv(revision, peer=peer)).hash for peer in cluster.peers}
        assert len(hashes) == 1
    else:
        with pytest.raises(Unsupported, match=r"needs etcd 3\.5\.10"):
            await v3.maintenance.hash_kv(revision, peer=cluster.peers[0])


async def test_downgrade(v3: V3, cluster: EtcdCluster) -> None:
    """Only one minor version back; a job that was begun is called off."""
    if not cluster.binary.at_least(3, 5):
        with pytest.raises(Unsupported, match=r"needs etcd 3\.5"):
            await v3.maintenance.downgrade("VALIDATE", "3.3.0")
        return
    assert (await v3.maintenance.downgrade("VALIDATE", "3.4.0")).version.startswith("3.5")
    for wrong in ("3.3.0", "3.6.0"):
        with pytest.raises(InvalidRequest, match="invalid downgrade target"):
            await v3.maintenance.downgrade("VALIDATE", wrong)
    with pytest.raises(InvalidRequest, match="wrong downgrade target version format"):
        await v3.maintenance.downgrade("VALIDATE", "soon")


async def test_each_member_says_how_it_is_itself(v3: V3, cluster: EtcdCluster) -> None:
    """Status, defragmentation and snapshot are of the member that was named."""
    ids = {(await v3.maintenance.status(peer=peer)).header.member_id for peer in cluster.peers}
    assert len(ids) == 3
    for peer in cluster.peers:
        await v3.maintenance.defragment(peer=peer, timeout=30)
        async with v3.maintenance.snapshot_stream(peer=peer) as pieces:
            assert pieces.peer == peer
            assert sum([len(piece) async for piece in pieces]) == pieces.done + 32


@pytest.fixture
async def discovered(etcd35: EtcdServer, cluster_binary: EtcdBinary) -> AsyncIterator[DiscoveredCluster]:
    """Three members that found each other by a token."""
    if cluster_binary.at_least(3, 6):
        pytest.skip("etcd 3.6 knows no such tokens")
    async with DiscoveredCluster(3, token=new_token(etcd35.url, 3), binary=cluster_binary) as cluster:
        yield cluster


async def test_first_call_of_a_client_that_knows_nobody_yet(discovered: DiscoveredCluster, tmp_path: Path) -> None:
    """It finds the members, and then is as any later one: whose upkeep is meant is to be said."""
    calls: list[Callable[[Maintenance], Awaitable[object]]] = [
        lambda maintenance: maintenance.status(),
        lambda maintenance: maintenance.defragment(),
        lambda maintenance: maintenance.hash(),
        lambda maintenance: maintenance.hash_kv(),
        lambda maintenance: maintenance.snapshot(tmp_path / "snapshot.db"),
    ]
    for call in calls:
        sent: list[str] = []
        trace = Trace(on_request=lambda event, sent=sent: sent.append(event.operation))  # type: ignore[misc]
        async with Client(discovery=discovered.token, trace=trace) as client:
            for _ in range(2):
                with pytest.raises(ValueError, match="peer must name"):
                    await call(client.v3.maintenance)
            assert [operation for operation in sent if operation.startswith("v3")] == []
    assert list(tmp_path.iterdir()) == []


async def test_first_call_that_moves_the_leader(discovered: DiscoveredCluster) -> None:
    """The leader is found among members that were found by this call, whoever it is."""
    async with connected(discovered.peers) as v3:
        statuses = [await v3.maintenance.status(peer=peer) for peer in discovered.peers]
        ids = {peer: status.header.member_id for peer, status in zip(discovered.peers, statuses, strict=True)}
        for heir, member_id in ids.items():
            async with Client(discovery=discovered.token) as client:
                await client.v3.maintenance.move_leader(member_id)
            await all_follow(v3, ids, heir)
