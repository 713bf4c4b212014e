from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from v3_servers import connected

from aetcd.errors import (
    ConnectFailed,
    KeyNotFound,
    LeaseNotFound,
    RequestTooLarge,
    RevisionCompacted,
    RevisionInFuture,
    ServerError,
)
from aetcd.etcd.v3 import V3, KeyValue
from aetcd.testing import EtcdCluster, EtcdServer, TCPProxy


@pytest.fixture
def server(etcd: EtcdServer) -> EtcdServer:
    return etcd


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


@pytest.fixture
def here(prefix: str) -> str:
    """A place of the test's own in the shared server."""
    return prefix


def keys(kvs: tuple[KeyValue, ...], here: str) -> list[str]:
    return [kv.key.decode().removeprefix(here) for kv in kvs]


async def test_version_and_prefix(v3: V3, server: EtcdServer) -> None:
    """What the server says it is decides where its gateway stands."""
    version = await v3.version()
    assert version.server == server.version
    assert version.cluster.rsplit(".", 1)[0] == server.version.rsplit(".", 1)[0]
    assert await v3.prefix() == "/v3"


async def test_version_is_asked_for_once(server: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefix is kept, and given by the caller it is not asked for at all."""
    async with connected(server.peers) as v3:
        sent: list[str] = []
        send = type(v3.gateway.channel).send

        async def spy(self: Any, request: Any, **options: Any) -> Any:
            sent.append(request.path)
            return await send(self, request, **options)

        monkeypatch.setattr(type(v3.gateway.channel), "send", spy)
        await v3.range("a")
        await v3.range("a")
        await V3(v3.gateway.channel, prefix="/v3beta").range("a")
    assert sent == ["/version", "/v3/kv/range", "/v3/kv/range", "/v3beta/kv/range"]


async def test_put_and_range(v3: V3, here: str) -> None:
    """A key comes back as it was written, with its revisions."""
    first = await v3.put(here + "a", "1")
    second = await v3.put(here + "a", b"\xff\0", prev_kv=True)
    assert second.header.revision == first.header.revision + 1
    assert (first.prev_kv, second.prev_kv and second.prev_kv.value) == (None, b"1")
    answer = await v3.range(here + "a")
    assert answer.kvs == (
        KeyValue(
            key=(here + "a").encode(),
            value=b"\xff\0",
            create_revision=first.header.revision,
            mod_revision=second.header.revision,
            version=2,
        ),
    )
    assert (answer.count, answer.more) == (1, False)
    assert answer.header.cluster_id > 0
    assert answer.header.member_id > 0
    assert answer.header.raft_term > 0


async def test_missing_key_and_empty_value(v3: V3, here: str) -> None:
    """Nothing there is an empty answer; an empty value is a key all the same."""
    missing = await v3.range(here + "a")
    assert (missing.kvs, missing.count) == ((), 0)
    await v3.put(here + "a", "")
    assert (await v3.range(here + "a")).kvs[0].value == b""


async def test_range_shapes(v3: V3, here: str) -> None:
    """One key, up to a key, all below a prefix, all from a key on."""
    for name in ("a", "b", "b/1", "b/2", "c"):
        await v3.put(here + name, name)
    assert keys((await v3.range(here + "b")).kvs, here) == ["b"]
    assert keys((await v3.range(here + "b", range_end=here + "c")).kvs, here) == ["b", "b/1", "b/2"]
    assert keys((await v3.range(here + "b/", prefix=True)).kvs, here) == ["b/1", "b/2"]
    assert keys((await v3.range(here + "b/2", from_key=True, limit=2)).kvs, here) == ["b/2", "c"]
    everything = await v3.range("", prefix=True, count_only=True)
    assert everything.count >= 5
    assert everything.count == (await v3.range("", from_key=True, keys_only=True)).count


async def test_prefix_of_highest_bytes(v3: V3) -> None:
    """A prefix without a successor reads to the end of the key space."""
    key = b"\xff\xff" + uuid.uuid4().bytes
    await v3.put(key, "1")
    assert key in [kv.key for kv in (await v3.range(b"\xff\xff", prefix=True)).kvs]
    assert (await v3.delete_range(key)).deleted == 1


async def test_limit_count_keys_only(v3: V3, here: str) -> None:
    """`more` and `count` tell of what `limit` cut off."""
    for name in "abc":
        await v3.put(here + name, name)
    limited = await v3.range(here, prefix=True, limit=2)
    assert (keys(limited.kvs, here), limited.more, limited.count) == (["a", "b"], True, 3)
    counted = await v3.range(here, prefix=True, count_only=True)
    assert (counted.kvs, counted.count) == ((), 3)
    named = await v3.range(here, prefix=True, keys_only=True)
    assert [kv.value for kv in named.kvs] == [b"", b"", b""]


@pytest.mark.parametrize(
    ("sort_by", "expected"),
    [
        ("key", ["a", "b", "c"]),
        ("value", ["b", "c", "a"]),
        ("version", ["b", "c", "a"]),
        ("create_revision", ["c", "a", "b"]),
        ("mod_revision", ["b", "a", "c"]),
    ],
)
async def test_sorting(v3: V3, here: str, sort_by: Any, expected: list[str]) -> None:
    """By each field of a key, both ways."""
    for name, value in (("c", "x"), ("a", "x"), ("a", "x"), ("b", "1"), ("a", "3"), ("c", "2")):
        await v3.put(here + name, value)
    ascending = await v3.range(here, prefix=True, sort_by=sort_by)
    descending = await v3.range(here, prefix=True, sort_by=sort_by, descending=True)
    assert keys(ascending.kvs, here) == expected
    assert keys(descending.kvs, here) == expected[::-1]


async def test_descending_alone_is_by_key(v3: V3, here: str) -> None:
    """No field named: the last key comes first."""
    for name in "abc":
        await v3.put(here + name, name)
    assert keys((await v3.range(here, prefix=True, descending=True)).kvs, here) == ["c", "b", "a"]


async def test_bounds_of_revisions(v3: V3, here: str) -> None:
    """Only what was created or written between two revisions."""
    a, b, c = [(await v3.put(here + name, "1")).header.revision for name in "abc"]
    later = (await v3.put(here + "a", "2")).header.revision

    async def found(**bounds: int) -> list[str]:
        return keys((await v3.range(here, prefix=True, **bounds)).kvs, here)  # type: ignore[arg-type]

    assert await found(min_mod_revision=c) == ["a", "c"]
    assert await found(max_mod_revision=c) == ["b", "c"]
    assert await found(min_create_revision=b) == ["b", "c"]
    assert await found(max_create_revision=b) == ["a", "b"]
    assert await found(min_mod_revision=later, max_create_revision=a) == ["a"]


async def test_reading_the_past(v3: V3, here: str) -> None:
    """A revision shows what stood then; one that is not there yet is refused."""
    then = (await v3.put(here + "a", "1")).header.revision
    now = (await v3.put(here + "a", "2")).header.revision
    assert (await v3.range(here + "a", revision=then)).kvs[0].value == b"1"
    with pytest.raises(RevisionInFuture):
        await v3.range(here + "a", revision=now + 1000)


async def test_serializable_and_pinned(v3: V3, here: str, server: EtcdServer) -> None:
    """The peer's own copy, of the peer that was named."""
    await v3.put(here + "a", "1")
    answer = await v3.range(here + "a", serializable=True, peer=server.peers[0], timeout=5)
    assert answer.kvs[0].value == b"1"


async def test_ignore_value_and_lease(v3: V3, here: str) -> None:
    """Each half of a key can be kept while the other is written."""
    lease = (await v3.lease.grant(60)).id
    await v3.put(here + "a", "1")
    await v3.put(here + "a", "", lease=lease, ignore_value=True)
    kv = (await v3.range(here + "a")).kvs[0]
    assert (kv.value, kv.lease) == (b"1", lease)
    await v3.put(here + "a", "2", ignore_lease=True)
    kv = (await v3.range(here + "a")).kvs[0]
    assert (kv.value, kv.lease) == (b"2", lease)
    with pytest.raises(KeyNotFound):
        await v3.put(here + "missing", "", ignore_value=True)


async def test_put_under_a_lease_that_is_not(v3: V3, here: str) -> None:
    """Refused, and nothing is written."""
    with pytest.raises(LeaseNotFound):
        await v3.put(here + "a", "1", lease=12345)
    assert (await v3.range(here + "a")).count == 0


@pytest.mark.parametrize("size", [1_700_000, 2_300_000])
async def test_value_too_large(v3: V3, here: str, size: int) -> None:
    """etcd refuses one above 1.5 MiB, gRPC before it one above 2 MiB: the same to the caller."""
    with pytest.raises(RequestTooLarge):
        await v3.put(here + "a", b"x" * size)
    assert (await v3.range(here + "a")).count == 0


async def test_delete_range(v3: V3, here: str) -> None:
    """How many went, and on request what they were; nothing there is no error."""
    for name in ("a", "b/1", "b/2"):
        await v3.put(here + name, name)
    assert (await v3.delete_range(here + "none")).deleted == 0
    gone = await v3.delete_range(here + "b/", prefix=True, prev_kv=True)
    assert (gone.deleted, [kv.value for kv in gone.prev_kvs]) == (2, [b"b/1", b"b/2"])
    gone = await v3.delete_range(here + "a", range_end=here + "b")
    assert (gone.deleted, gone.prev_kvs) == (1, ())
    assert (await v3.range(here, prefix=True)).count == 0


async def test_pages_are_of_one_revision(v3: V3, here: str) -> None:
    """What is written between two pages is not in them, and what is deleted still is."""
    for i in range(7):
        await v3.put(f"{here}{i}", str(i))
    seen: list[str] = []
    counts, revisions = [], []
    async for page in v3.range_pages(here, prefix=True, page_size=3):
        seen += keys(page.kvs, here)
        counts.append(page.count)
        revisions.append(len(page.kvs))
        await v3.put(here + "6x", "late")
        await v3.delete_range(here + "5")
    assert seen == ["0", "1", "2", "3", "4", "5", "6"]
    assert revisions == [3, 3, 1]
    assert counts == [7, 7, 7]


async def test_pages_of_nothing_and_of_the_past(v3: V3, here: str) -> None:
    """One empty page; and a past revision is paged as it stood."""
    pages = [page async for page in v3.range_pages(here, prefix=True)]
    assert [page.kvs for page in pages] == [()]
    for name in "ab":
        then = (await v3.put(here + name, name)).header.revision
    await v3.delete_range(here, prefix=True)
    pages = [page async for page in v3.range_pages(here, prefix=True, page_size=1, revision=then, keys_only=True)]
    assert [keys(page.kvs, here) for page in pages] == [["a"], ["b"]]
    with pytest.raises(ValueError, match="page_size"):
        await anext(v3.range_pages(here, page_size=0))


async def test_pages_compacted_in_between(v3: V3, here: str) -> None:
    """The reader is told, and gets no page of another revision."""
    for serializable in (False, True):
        for i in range(3):
            await v3.put(f"{here}{i}", "1")
        pages = v3.range_pages(here, prefix=True, page_size=1, serializable=serializable)
        assert keys((await anext(pages)).kvs, here) == ["0"]
        await v3.put(here + "1", "2")
        await v3.compact((await v3.put(here + "1", "3")).header.revision)
        with pytest.raises(RevisionCompacted):
            await anext(pages)


async def test_pages_within_bounds(v3: V3, here: str) -> None:
    """As `range` with the same ones gives it; `count` ignores them, and is the whole range's on each page."""
    for name in "abcdefg":
        await v3.put(here + name, "1")
    first = (await v3.put(here + "b", "2")).header.revision
    for name in "eg":
        last = (await v3.put(here + name, "2")).header.revision
    for bounds in (
        {"min_mod_revision": first},
        {"max_mod_revision": last - 1},
        {"min_create_revision": first - 4},
        {"max_create_revision": first - 4},
        {"min_mod_revision": first, "max_create_revision": first - 3},
    ):
        whole = await v3.range(here, prefix=True, **bounds)
        pages = [page async for page in v3.range_pages(here, prefix=True, page_size=1, **bounds)]
        assert [kv for page in pages for kv in page.kvs] == list(whole.kvs)
        assert [page.count for page in pages] == [7] * len(whole.kvs)
        assert 1 < len(whole.kvs) < 7


async def fill(v3: V3, here: str, count: int, *peers: str) -> list[str]:
    """The names of keys that all members have: of servers by themselves, in each of them."""
    names = [f"{i}" for i in range(count)]
    for peer in peers or (None,):
        for name in names:
            await v3.put(here + name, "1", peer=peer)
    for known in v3.gateway.channel.pool.peers:
        await v3.range(here, peer=known.url)  # a member catches up before it answers this
    return names


async def test_local_pages_stay_with_a_member(cluster: EtcdCluster, here: str) -> None:
    """With the one that gave the first, for another may not have its revision yet; without `serializable` any will."""
    async with connected(cluster.peers) as v3:
        names = await fill(v3, here, 6)
        written = 0

        async def write() -> None:
            nonlocal written
            while True:
                await v3.put(here + "0", "2")
                written += 1

        writer = asyncio.ensure_future(write())
        try:
            for _ in range(50):
                pages = [page async for page in v3.range_pages(here, prefix=True, page_size=2, serializable=True)]
                assert [name for page in pages for name in keys(page.kvs, here)] == names
                assert len({page.header.member_id for page in pages}) == 1
        finally:
            writer.cancel()
            await asyncio.wait([writer])
        assert written > 50
        pages = [page async for page in v3.range_pages(here, prefix=True, page_size=2)]
        assert len({page.header.member_id for page in pages}) == 3


def cut_off(proxy: TCPProxy) -> None:
    proxy.refuse()
    proxy.cut()


@pytest.mark.parametrize("fault", [cut_off, TCPProxy.stall])
async def test_local_pages_go_on_at_another_member(cluster: EtcdCluster, here: str, fault: Any) -> None:
    """Where the one that gave the first answers no more, and then at that one; within the time of a page."""
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(TCPProxy(peer)) for peer in cluster.peers]
        v3 = await stack.enter_async_context(connected([proxy.url for proxy in proxies], timeout=3))
        ids = [(await v3.maintenance.status(peer=proxy.url)).header.member_id for proxy in proxies]
        names = await fill(v3, here, 4)
        pages = v3.range_pages(here, prefix=True, page_size=1, serializable=True)
        first = await anext(pages)
        fault(proxies[ids.index(first.header.member_id)])
        others = [page async for page in pages]
        assert [name for page in (first, *others) for name in keys(page.kvs, here)] == names
        assert len({page.header.member_id for page in others} | {first.header.member_id}) == 2


async def test_pages_of_a_named_peer(cluster: EtcdCluster, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are of that one only, which is asked for each once."""
    async with TCPProxy(cluster.peers[0]) as proxy, connected(cluster.peers) as v3:
        await fill(v3, here, 3)
        pages = v3.range_pages(here, prefix=True, page_size=1, serializable=True, peer=proxy.url)
        seen = {(await anext(pages)).header.member_id, (await anext(pages)).header.member_id}
        assert seen == {(await v3.maintenance.status(peer=proxy.url)).header.member_id}
        asked: list[Any] = []
        send = type(v3.gateway.channel).send

        async def spy(self: Any, request: Any, **options: Any) -> Any:
            asked.append(options["peer"])
            return await send(self, request, **options)

        monkeypatch.setattr(type(v3.gateway.channel), "send", spy)
        cut_off(proxy)
        with pytest.raises(ConnectFailed):
            await anext(pages)
        assert asked == [proxy.url]


@pytest.mark.parametrize("catches_up", [True, False])
async def test_local_pages_at_a_member_that_is_behind(
    here: str, catches_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for a linearizable page, before which a member catches up, and then for its own copy again.

    Two servers by themselves play the members, one with fewer writes, for a member of a cluster is not behind for long.
    """
    async with EtcdServer() as ahead, EtcdServer() as behind, TCPProxy(ahead.url) as proxy:
        async with connected([proxy.url, behind.url], prefix="/v3") as v3:
            names = await fill(v3, here, 4, proxy.url, behind.url)
            await v3.put(here + "0", "2", peer=proxy.url)
            local: list[bool] = []
            send = type(v3.gateway.channel).send

            async def spy(self: Any, request: Any, **options: Any) -> Any:
                if request.path.endswith("/range"):
                    local.append(b"serializable" in request.body)
                    if catches_up and not local[-1]:
                        await v3.put(here + "0", "2", peer=behind.url)
                return await send(self, request, **options)

            monkeypatch.setattr(type(v3.gateway.channel), "send", spy)
            pages = v3.range_pages(here, prefix=True, page_size=1, serializable=True)
            read = keys((await anext(pages)).kvs, here)
            cut_off(proxy)
            if catches_up:
                read += [name async for page in pages for name in keys(page.kvs, here)]
                assert read == names
                # The first page; then the lost member, the other's own copy, what is agreed on, and that copy twice.
                assert local == [True, True, True, False, True, True]
            else:
                with pytest.raises(RevisionInFuture):
                    await anext(pages)
                assert local == [True, True, True, False]


async def test_compact(v3: V3, here: str) -> None:
    """The past before the revision is gone, the revision itself is not."""
    old = (await v3.put(here + "a", "1")).header.revision
    now = (await v3.put(here + "a", "2")).header.revision
    assert (await v3.compact(now, physical=True)).header.revision >= now
    assert (await v3.range(here + "a", revision=now)).kvs[0].value == b"2"
    with pytest.raises(RevisionCompacted):
        await v3.range(here + "a", revision=old)
    with pytest.raises(RevisionCompacted):
        await v3.compact(old)
    with pytest.raises(RevisionInFuture):
        await v3.compact(now + 100_000)


async def test_bad_input_sends_nothing(here: str) -> None:
    """It is refused before a peer is looked for: this one does not exist."""
    async with connected(["http://127.0.0.1:1"], prefix="/v3") as v3:
        for call, named in (
            (v3.range(""), "key"),
            (v3.range("a", range_end="b", prefix=True), "only one"),
            (v3.range("a", limit=-1), "limit"),
            (v3.range("a", revision=-1), "revision"),
            (v3.put("", "v"), "key"),
            (v3.put("a", "v", lease=-1), "lease"),
            (v3.delete_range(""), "key"),
            (v3.compact(0), "revision"),
            (v3.compact(-1), "revision"),
            (v3.range("\ud800"), "key"),
            (v3.put("\ud800", "v"), "key"),
            (v3.put("a", "\ud800"), "value"),
            (v3.range("a", sort_by=""), "sort_by"),  # type: ignore[arg-type]
        ):
            with pytest.raises(ValueError, match=named):
                await call
        for call, named in (
            (v3.range(7), "key"),  # type: ignore[arg-type]
            (v3.put("a", {}), "value"),  # type: ignore[arg-type]
            (v3.put("a", "v", lease=1.0), "lease"),  # type: ignore[arg-type]
            (v3.compact(True), "revision"),
            (v3.compact(1, physical=1), "physical"),  # type: ignore[arg-type]
            (v3.range("a", prefix="x"), "prefix"),  # type: ignore[arg-type]
            (v3.range("a", limit=None), "limit"),  # type: ignore[arg-type]
            (v3.range("a", sort_by=[]), "sort_by"),  # type: ignore[arg-type]
            (v3.delete_range("a", prefix=2), "prefix"),  # type: ignore[arg-type]
            (v3.delete_range("a", prev_kv="x"), "prev_kv"),  # type: ignore[arg-type]
            (v3.put("a", "v", lease=None), "lease"),  # type: ignore[arg-type]
            (anext(v3.range_pages("a", prefix="x")), "prefix"),  # type: ignore[arg-type]
            (anext(v3.range_pages("a", keys_only="x")), "keys_only"),  # type: ignore[arg-type]
            (anext(v3.range_pages("a", serializable=None)), "serializable"),  # type: ignore[arg-type]
        ):
            with pytest.raises(TypeError, match=named):
                await call


async def test_errors_name_the_operation_and_the_peer(v3: V3, server: EtcdServer) -> None:
    """With the server's own words, number and status."""
    with pytest.raises(ServerError) as caught:
        await v3.range("a", revision=1 << 62)
    error = caught.value
    assert (error.operation, error.peer, error.status, error.code) == ("v3 range", server.peers[0], 400, 11)
    assert error.message == "etcdserver: mvcc: required revision is a future revision"


async def test_ten_thousand_keys(v3: V3, here: str) -> None:
    """One answer holds them all, in order."""
    from aetcd.etcd.v3 import Put, Txn

    for start in range(0, 10_000, 100):
        await v3.commit(Txn(then=[Put(f"{here}{i:05}", f"value {i}") for i in range(start, start + 100)]))
    answer = await v3.range(here, prefix=True)
    assert answer.count == 10_000
    assert [kv.value for kv in answer.kvs] == [b"value %d" % i for i in range(10_000)]
    assert keys(answer.kvs, here) == [f"{i:05}" for i in range(10_000)]
