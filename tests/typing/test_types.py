"""What mypy and pyright say of the facade's answers. pytest runs it too: the types are true at run time."""

from __future__ import annotations

from typing import Any, assert_type

from attrs import frozen

import aetcd
from aetcd.testing import EtcdServer


@frozen
class Database:
    host: str
    port: int = 5432


async def test_reading(etcd35: EtcdServer, prefix: str) -> None:
    """`type=` and `full=` decide."""
    async with aetcd.Client(etcd35.url, namespace=prefix) as client:
        assert_type(client, aetcd.Client)
        assert_type(await client.get("key"), str | None)
        assert_type(await client.get("key", type=int), int | None)
        assert_type(await client.get("key", type=bytes), bytes | None)
        assert_type(await client.get("key", type=Database), Database | None)
        assert_type(await client.get("key", type=list[int]), list[int] | None)
        assert_type(await client.get("key", full=True), aetcd.Result | None)
        assert_type(await client.get("key", type=int, full=True), aetcd.Result | None)
        assert_type(await client.get("key", consistent=False, timeout=5), str | None)
        assert_type(await client.exists("key"), bool)
        assert_type(await client.exists("key", full=True), aetcd.Result | None)
        await client.set("key", "x")
        assert_type(await client.ttl("key"), int | None)
        assert_type(await client.ttl("key", full=True), aetcd.Result)
        assert_type(await client.ls(), list[aetcd.Node])
        assert_type(await client.ls("", full=True), aetcd.Result)
        assert_type(await client.tree(), aetcd.Node)
        assert_type(await client.tree("", full=True), aetcd.Result)


async def test_writing(etcd35: EtcdServer, prefix: str) -> None:
    """A write answers None, or the whole."""
    async with aetcd.Client(etcd35.url, namespace=prefix, protocol="v2") as client:
        assert_type(await client.set("key", "1"), None)
        result = assert_type(await client.set("key", "1", full=True), aetcd.Result)
        assert_type(result.action, str)
        assert_type(result.node, aetcd.Node)
        assert_type(result.previous, aetcd.Node | None)
        assert_type(result.revision, int)
        assert_type(result.as_dict(), dict[str, Any])
        assert_type(await client.create("fresh", {"any": "thing"}), None)
        assert_type(await client.create("other", "1", ttl=5, full=True), aetcd.Result)
        assert_type(await client.update("key", "2"), None)
        assert_type(await client.update("key", "2", full=True), aetcd.Result)
        assert_type(await client.compare_and_swap("key", "3", previous_value="2"), None)
        assert_type(await client.compare_and_swap("key", "4", previous_value="3", full=True), aetcd.Result)
        assert_type(await client.refresh("key", 5), None)
        assert_type(await client.refresh("key", ttl=False, full=True), aetcd.Result)
        assert_type(await client.compare_and_delete("key", previous_value="4"), None)
        assert_type(await client.delete("fresh"), None)
        assert_type(await client.delete("other", full=True), aetcd.Result)
        assert_type(await client.mkdir("dir"), None)
        assert_type(await client.mkdir("dir2", full=True), aetcd.Result)
        assert_type(await client.rmdir("dir"), None)
        assert_type(await client.rmdir("dir2", full=True), aetcd.Result)


async def test_nodes(etcd35: EtcdServer, prefix: str) -> None:
    """What a node tells."""
    async with aetcd.Client(etcd35.url, namespace=prefix) as client:
        node = (await client.set("key", "1", full=True)).node
        assert_type(node.key, str)
        assert_type(node.raw, bytes | None)
        assert_type(node.created_revision, int)
        assert_type(node.modified_revision, int)
        assert_type(node.version, int | None)
        assert_type(node.ttl, int | None)
        assert_type(node.lease, int | None)
        assert_type(node.is_directory, bool)
        assert_type(node.nodes, tuple[aetcd.Node, ...] | None)


async def test_watching(etcd35: EtcdServer, prefix: str) -> None:
    """What comes out of a watch."""
    async with aetcd.Client(etcd35.url, namespace=prefix) as client:
        first = await client.set("key", "1", full=True)
        async with client.watch("key", initial=True) as changes:
            assert_type(changes, aetcd.Watch)
            assert_type(changes.revision, int)
            async for item in changes:
                assert_type(item, aetcd.Change | aetcd.Synced | aetcd.Resynced)
                if isinstance(item, aetcd.Change):
                    assert_type(item.key, str)
                    assert_type(item.revision, int)
                    assert_type(item.is_create, bool)
                    assert_type(item.previous, aetcd.Node | None)
                else:
                    assert_type(item.revision, int)
                    break
        async with client.watch("key", since=first.revision) as changes:
            async for batch in changes.batches():
                assert_type(batch, list[aetcd.Change | aetcd.Synced | aetcd.Resynced])
                break


async def test_coordination(etcd35: EtcdServer, prefix: str) -> None:
    """Locks, elections, sessions."""
    async with aetcd.Client(etcd35.url, namespace=prefix) as client:
        async with client.lock("job", ttl=5, timeout=3, on_lost="flag") as lock:
            assert_type(lock, aetcd.Lock)
            assert_type(lock.fencing_token, int)
            assert_type(lock.held, bool)
            assert_type(lock.lost.is_set(), bool)
        election = client.election("post", value="me")
        async with election as leadership:
            assert_type(leadership, aetcd.Leadership)
            assert_type(leadership.fencing_token, int)
            assert_type(await leadership.proclaim("still me"), None)
            assert_type(await election.leader(), aetcd.Leader | None)
            async for leader in election.observe():
                assert_type(leader, aetcd.Leader | None)
                break
        async with client.session(ttl=5) as session:
            assert_type(session, aetcd.Session)
            assert_type(session.granted_ttl, int)
            assert_type(session.expires_in, float)
            await client.set("tied", "x", session=session)
        assert_type(client.status(), aetcd.Status)


async def test_the_shelf(etcd35: EtcdServer, prefix: str) -> None:
    """The other recipes: `type=` decides there too."""

    async def work() -> int:
        return 3

    async with aetcd.Client(etcd35.url, namespace=prefix) as client, client.session(ttl=5) as session:
        assert_type(session.state, aetcd.SessionState)
        async for state in session.states():
            assert_type(state, aetcd.SessionState)
            break
        assert_type(client.rwlock("shared"), aetcd.RWLock)
        assert_type(client.semaphore("some", limit=2), aetcd.Semaphore)
        assert_type(await client.barrier("gate", session=session).held(), bool)
        async with client.double_barrier("phase", count=1) as barrier:
            assert_type(barrier, aetcd.DoubleBarrier)
        queue = assert_type(client.queue("mail", type=int, session=session), aetcd.WorkQueue[int])
        assert_type(await queue.put(3), str)
        async with queue.claim(timeout=1) as item:
            assert_type(item, aetcd.WorkItem[int])
            assert_type(item.value, int)
        assert_type(client.queue("mail"), aetcd.WorkQueue[str])
        assert_type(client.priority_queue("urgent", type=list[int]), aetcd.PriorityQueue[list[int]])
        assert_type(await client.counter("orders").add(1), int)
        assert_type(await client.once("work", type=int).run(work), int)
        registry = assert_type(client.registry("api", type=Database), aetcd.Registry[Database])
        async with (
            registry.register("http://here", metadata=Database("h")) as registration,
            registry.picker() as picker,
        ):
            assert_type(registration.instance.metadata, Database)
            assert_type(picker.choose(), aetcd.Instance[Database])
        async with client.mirror("config", type=Database) as mirror:
            assert_type(mirror, aetcd.Mirror[Database])
            assert_type(mirror.get("config/db"), Database | None)
            assert_type(mirror.fresh, bool)
            assert_type(mirror.age, float)
        assert_type(client.mirror("config"), aetcd.Mirror[str])
