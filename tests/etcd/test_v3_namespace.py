from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from v3_servers import connected

import aetcd
from aetcd._transport.channel import Channel
from aetcd.errors import AetcdError, CompareFailed, PermissionDenied, RevisionCompacted
from aetcd.etcd.v3 import (
    V3,
    CreateRevision,
    Delete,
    DeleteRangeResponse,
    Event,
    EventWatch,
    Get,
    Key,
    KeyValue,
    LeaderKey,
    LeaderResponse,
    LockResponse,
    ModRevision,
    Put,
    PutResponse,
    RangeResponse,
    Transaction,
    Txn,
    TxnResult,
    Value,
    Version,
    Won,
)
from aetcd.etcd.v3._codec import key_range
from aetcd.etcd.v3._models import LeaseGrant, ResponseOp, TxnResponse
from aetcd.etcd.v3._namespace import Namespace
from aetcd.testing import EtcdBinary, EtcdServer, TCPProxy, etcd_binaries

# The mapping of keys

# Few letters, so that keys often share a beginning; the lowest and the highest byte, where ends of ranges turn.
KEYS = st.lists(st.sampled_from([b"\0", b"a", b"b", b"\xff"]), max_size=4).map(b"".join)
NAMES = KEYS.filter(bool)
PREFIXES = NAMES
RANGES = st.one_of(
    st.builds(lambda key: key_range(key, None, False, False), NAMES),
    st.builds(lambda key, end: key_range(key, end, False, False), NAMES, NAMES),
    st.builds(lambda key: key_range(key, None, True, False), KEYS),
    st.builds(lambda key: key_range(key, None, False, True), KEYS),
)


def holds(first: bytes, end: bytes, key: bytes) -> bool:
    """Whether etcd has a key in a range."""
    if not end:
        return key == first
    return key >= first and (end == b"\0" or key < end)


@given(PREFIXES, NAMES)
def test_there_and_back(prefix: bytes, key: bytes) -> None:
    """A key is below the prefix on the server, and what it was when it is told."""
    namespace = Namespace(prefix)
    sent = namespace.enter({"key": key})["key"]
    assert (sent.startswith(prefix), len(sent)) == (True, len(prefix) + len(key))
    assert namespace.leave(KeyValue(key=sent, value=sent)) == KeyValue(key=key, value=sent)
    assert namespace.shown([sent]) == (key,)


@given(PREFIXES, KEYS, KEYS)
def test_order_is_kept(prefix: bytes, one: bytes, other: bytes) -> None:
    """Keys sort in a namespace as on the server, so that sorted answers and pages are right as they come."""
    sent = [Namespace(prefix).enter({"key": key})["key"] for key in (one, other)]
    assert (sent[0] < sent[1], sent[0] == sent[1]) == (one < other, one == other)


@given(PREFIXES, RANGES, st.one_of(KEYS, st.none()), KEYS)
@example(b"\xff", (b"\0", b"\0"), None, b"\xff\xff")
@example(b"a", (b"\xff", b"\0"), None, b"b")
@example(b"a", (b"\0", b"\0"), None, b"a")
def test_ranges_never_reach_outside(
    prefix: bytes, given_range: tuple[bytes, bytes], below: bytes | None, other: bytes
) -> None:
    """A key of the server is in the range sent, exactly if it is in the namespace and there in the range asked for."""
    key = other if below is None else prefix + below
    sent = Namespace(prefix).range(*given_range)
    inside = key.startswith(prefix) and holds(*given_range, key[len(prefix) :])
    assert holds(*sent, key) == inside
    told = Namespace(prefix).enter({"key": given_range[0], "range_end": given_range[1]} if given_range[1] else {})
    assert not told or (told["key"], told["range_end"]) == sent


@given(PREFIXES, st.lists(KEYS))
def test_only_what_is_inside_is_shown(prefix: bytes, keys: list[bytes]) -> None:
    """Of any keys, those below the prefix; the bare prefix is none of them."""
    shown = Namespace(prefix).shown(keys)
    assert list(shown) == [key[len(prefix) :] for key in keys if key.startswith(prefix) and len(key) > len(prefix)]


@given(PREFIXES, PREFIXES, RANGES)
@example(b"a", b"\xff", (b"a", b"\0"))
def test_one_within_another(outer: bytes, inner: bytes, given_range: tuple[bytes, bytes]) -> None:
    """Is the namespace of both prefixes, ends of ranges included."""
    both = Namespace(outer + inner)
    assert Namespace(outer).range(*Namespace(inner).range(*given_range)) == both.range(*given_range)


@given(RANGES, NAMES)
def test_without_a_prefix_nothing_changes(given_range: tuple[bytes, bytes], key: bytes) -> None:
    """The empty namespace is the whole key space."""
    everything = Namespace()
    assert everything.range(*given_range) == given_range
    assert everything.shown([key]) == (key,)
    assert everything.leave(KeyValue(key=key)) == KeyValue(key=key)


def test_messages_in_depth() -> None:
    """Every key of a transaction is put below the prefix, at any depth; values and all else stay, and so does it."""
    inner = Txn(
        when=[Version("c", prefix=True) > 1], then=[Delete("d", range_end="e")], otherwise=[Get("", prefix=True)]
    )
    body = Txn(when=[Value("a") == b"a"], then=[Put("b", "key", lease=7), inner], otherwise=[Get("f", from_key=True)])
    before = body.body()
    assert Namespace(b"n/").enter(before) == {
        "compare": [{"key": b"n/a", "target": "VALUE", "result": "EQUAL", "value": b"a"}],
        "success": [
            {"request_put": {"key": b"n/b", "value": b"key", "lease": 7}},
            {
                "request_txn": {
                    "compare": [
                        {"key": b"n/c", "range_end": b"n/d", "target": "VERSION", "result": "GREATER", "version": 1}
                    ],
                    "success": [{"request_delete_range": {"key": b"n/d", "range_end": b"n/e"}}],
                    "failure": [{"request_range": {"key": b"n/\0", "range_end": b"n0"}}],
                }
            },
        ],
        "failure": [{"request_range": {"key": b"n/f", "range_end": b"n0"}}],
    }
    assert before == body.body()


KV, BARE = KeyValue(key=b"n/a", value=b"n/a", version=3, lease=4), KeyValue(key=b"a", value=b"n/a", version=3, lease=4)
LEADER, BARE_LEADER = LeaderKey(name=b"n/e", key=b"n/e/1", rev=2), LeaderKey(name=b"e", key=b"e/1", rev=2)


@pytest.mark.parametrize(
    ("told", "bare"),
    [
        (RangeResponse(kvs=(KV, KV), count=2), RangeResponse(kvs=(BARE, BARE), count=2)),
        (PutResponse(prev_kv=KV), PutResponse(prev_kv=BARE)),
        (PutResponse(), PutResponse()),
        (DeleteRangeResponse(deleted=1, prev_kvs=(KV,)), DeleteRangeResponse(deleted=1, prev_kvs=(BARE,))),
        (Event(type="DELETE", kv=KV, prev_kv=KV), Event(type="DELETE", kv=BARE, prev_kv=BARE)),
        (LockResponse(key=b"n/l/1"), LockResponse(key=b"l/1")),
        (Won(leader=LEADER), Won(leader=BARE_LEADER)),
        (LeaderResponse(kv=KV), LeaderResponse(kv=BARE)),
        (LeaseGrant(id=5, ttl=6), LeaseGrant(id=5, ttl=6)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_answers(told: Any, bare: Any) -> None:
    """Every key of an answer is told without the prefix, and nothing else is touched."""
    assert Namespace(b"n/").leave(told) == bare


def test_answers_of_nested_transactions() -> None:
    """At any depth."""

    def answer(kv: KeyValue) -> TxnResponse:
        inner = TxnResponse(responses=(ResponseOp(response_put=PutResponse(prev_kv=kv)),))
        read, gone = RangeResponse(kvs=(kv,)), DeleteRangeResponse(prev_kvs=(kv,))
        operations = ResponseOp(response_range=read), ResponseOp(response_delete_range=gone)
        return TxnResponse(succeeded=True, responses=(*operations, ResponseOp(response_txn=inner)))

    assert Namespace(b"n/").leave(answer(KV)) == answer(BARE)


# Real servers


@pytest.fixture
def server(etcd: EtcdServer) -> EtcdServer:
    return etcd


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


@pytest.fixture
async def ns(v3: V3, prefix: str) -> V3:
    """A namespace with keys of others right before it and right behind it."""
    await write_strangers(v3, prefix)
    return v3.namespace(prefix)


def strangers(prefix: str) -> dict[str, bytes]:
    """Keys outside a namespace: those next to it, its bare prefix, and the names that tests use inside."""
    base = prefix.removesuffix("/")
    return {base: b"!", base + "/": b"!", base + ".~": b"!", base + "0": b"!", base + "0a": b"!", base + "-a": b"!"}


async def write_strangers(v3: V3, prefix: str) -> None:
    await v3.commit(Txn(then=[Put(key, value) for key, value in strangers(prefix).items()]))


async def untouched(v3: V3, prefix: str) -> bool:
    """Whether the keys outside are as they were written, once."""
    answer = await v3.commit(Txn(then=[Get(key) for key in strangers(prefix)]))
    kvs = [kv for read in answer.results if isinstance(read, RangeResponse) for kv in read.kvs]
    return [(kv.key.decode(), kv.value, kv.version) for kv in kvs] == [(*i, 1) for i in strangers(prefix).items()]


async def fill(ns: V3, *keys: str) -> None:
    await ns.commit(Txn(then=[Put(key, key) for key in keys]))


def names(kvs: tuple[KeyValue, ...]) -> list[str]:
    return [kv.key.decode() for kv in kvs]


SHAPES: dict[str, tuple[Key, dict[str, Any], list[str]]] = {
    "a key": ("b", {}, ["b"]),
    "a missing key": ("x", {}, []),
    "to an end": ("b", {"range_end": "c"}, ["b", "ba"]),
    "to an end before it": ("c", {"range_end": "b"}, []),
    "to the end of all keys": ("ba", {"range_end": "\0"}, ["ba", "c", "é"]),
    "to an end beyond the last": ("c", {"range_end": b"\xff\xff"}, ["c", "é"]),
    "prefix": ("b", {"prefix": True}, ["b", "ba"]),
    "prefix of nothing": ("", {"prefix": True}, ["a", "b", "ba", "c", "é"]),
    "prefix of the highest": (b"\xff", {"prefix": True}, []),
    "from a key": ("c", {"from_key": True}, ["c", "é"]),
    "from nothing": ("", {"from_key": True}, ["a", "b", "ba", "c", "é"]),
    "from the lowest": ("\0", {"from_key": True}, ["a", "b", "ba", "c", "é"]),
    "from the highest": (b"\xff", {"from_key": True}, []),
}
ALL = ["a", "b", "ba", "c", "é"]


async def test_put(v3: V3, ns: V3, prefix: str) -> None:
    """A key is written below the prefix, and what stood there is told without it."""
    lease = (await ns.lease.grant(60)).id
    first = await ns.put("a", "1", lease=lease)
    (kv,) = (await v3.range(prefix + "a")).kvs
    assert (kv.value, kv.lease, kv.mod_revision) == (b"1", lease, first.header.revision)
    second = await ns.put("a", "2", prev_kv=True, ignore_lease=True)
    assert second.prev_kv is not None
    assert (second.prev_kv.key, second.prev_kv.value) == (b"a", b"1")
    assert (await ns.put("new", "1", prev_kv=True)).prev_kv is None
    await ns.put("a", "", ignore_value=True)
    assert (await ns.range("a")).kvs[0].value == b"2"
    await ns.lease.revoke(lease)
    assert await untouched(v3, prefix)


@pytest.mark.parametrize("shape", SHAPES)
async def test_range(ns: V3, shape: str) -> None:
    """Every shape of it stays inside."""
    await fill(ns, *ALL)
    key, options, expected = SHAPES[shape]
    answer = await ns.range(key, **options)
    assert (names(answer.kvs), answer.count) == (expected, len(expected))
    assert [kv.value.decode() for kv in answer.kvs] == expected


async def test_range_options(ns: V3) -> None:
    """They mean what they mean without a namespace."""
    await fill(ns, *ALL)
    last = await ns.put("b", "0")
    everything: dict[str, Any] = {"key": "", "prefix": True}
    answer = await ns.range(**everything, limit=2)
    assert (names(answer.kvs), answer.more, answer.count) == (["a", "b"], True, 5)
    assert names((await ns.range(**everything, descending=True)).kvs) == ALL[::-1]
    assert names((await ns.range(**everything, sort_by="value")).kvs)[0] == "b"
    assert (await ns.range(**everything, count_only=True)).count == 5
    assert (await ns.range(**everything, keys_only=True)).kvs[0] == KeyValue(
        key=b"a", create_revision=last.header.revision - 1, mod_revision=last.header.revision - 1, version=1
    )
    assert names((await ns.range(**everything, min_mod_revision=last.header.revision)).kvs) == ["b"]
    past = await ns.range("b", revision=last.header.revision - 1, serializable=True)
    assert past.kvs[0].value == b"b"


async def test_keys_that_are_no_text(v3: V3, prefix: str) -> None:
    """Neither need the prefix be, and one of the highest bytes only has the end of the key space for its own."""
    key = bytes(range(256))
    for below in (prefix.encode() + b"\xfe\xff", b"\xff\xff\xff"):
        ns = v3.namespace(below)
        await ns.put(key, "1")
        assert [kv.key for kv in (await ns.range("", prefix=True)).kvs] == [key]
        assert (await v3.range(below + key)).count == 1
        assert (await ns.delete_range("", from_key=True)).deleted == 1


@pytest.mark.parametrize("shape", SHAPES)
async def test_range_pages(ns: V3, shape: str) -> None:
    """Pages go on behind the last key of the one before, and end with the namespace."""
    await fill(ns, *ALL)
    key, options, expected = SHAPES[shape]
    pages = [page async for page in ns.range_pages(key, page_size=2, **options)]
    assert [name for page in pages for name in names(page.kvs)] == expected
    assert [page.count for page in pages] == [len(expected)] * len(pages)
    assert len(pages) == max(1, -(-len(expected) // 2))


@pytest.mark.parametrize("shape", SHAPES)
async def test_delete_range(v3: V3, ns: V3, prefix: str, shape: str) -> None:
    """Nothing outside is deleted, by whatever range."""
    await fill(ns, *ALL)
    key, options, expected = SHAPES[shape]
    answer = await ns.delete_range(key, prev_kv=True, **options)
    assert (answer.deleted, names(answer.prev_kvs)) == (len(expected), expected)
    left = [name for name in ALL if name not in expected]
    assert names((await ns.range("", prefix=True)).kvs) == left
    assert await untouched(v3, prefix)


async def test_txn(v3: V3, ns: V3, prefix: str) -> None:
    """Comparisons, operations and answers are of the keys inside, in nested ones too."""
    await fill(ns, "a", "b")
    inner = Txn(
        when=[CreateRevision("new") == 0, Version("a", prefix=True) == 1],
        then=[Put("new", "1"), Put("a", "2", prev_kv=True), Get("", from_key=True), Delete("b", range_end="c")],
    )
    result = await ns.txn().when(Value("a") == "a", ModRevision("b", range_end="c") > 0).then(inner, Get("a"))
    nested, read = result.results
    assert isinstance(nested, TxnResult)
    assert isinstance(read, RangeResponse)
    assert (result.succeeded, nested.succeeded) == (True, True)
    _, put, everything, gone = nested.results
    assert isinstance(put, PutResponse)
    assert isinstance(everything, RangeResponse)
    assert isinstance(gone, DeleteRangeResponse)
    assert put.prev_kv is not None
    assert (put.prev_kv.key, put.prev_kv.value) == (b"a", b"a")
    assert names(everything.kvs) == ["a", "b", "new"]
    assert gone.deleted == 1
    assert (names(read.kvs), read.kvs[0].value) == (["a"], b"2")
    assert await untouched(v3, prefix)


async def test_txn_otherwise(ns: V3) -> None:
    """The other branch likewise, and a transaction as a value."""
    await fill(ns, "a")
    txn = ns.txn().when(Value("a") == "b").then(Put("a", "x")).otherwise(Get("a"), Delete("a", prev_kv=True)).build()
    result = await ns.commit(txn)
    read, gone = result.results
    assert isinstance(read, RangeResponse)
    assert isinstance(gone, DeleteRangeResponse)
    assert (result.succeeded, names(read.kvs), names(gone.prev_kvs)) == (False, ["a"], ["a"])


async def test_a_value_is_of_whoever_commits_it(v3: V3, ns: V3, prefix: str) -> None:
    """A transaction as a value has names only: sent from outside it is about other keys."""
    txn = ns.txn().then(Put(prefix + "a", "1")).build()
    await v3.commit(txn)
    await ns.commit(txn)
    assert names((await v3.range(prefix + "a")).kvs) == [prefix + "a"]
    assert names((await ns.range("", prefix=True)).kvs) == ["a", prefix + "a"]


async def test_compact(ns: V3) -> None:
    """Revisions are the cluster's."""
    await ns.put("a", "1")
    last = (await ns.put("a", "2")).header.revision
    await ns.compact(last)
    with pytest.raises(RevisionCompacted):
        await ns.range("a", revision=last - 1)


# Watches


async def take(events: EventWatch, count: int) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
async def test_watch(server: EtcdServer, prefix: str, shared: bool) -> None:
    """Events have the keys as they are inside, with what stood before, of the past too; none is from outside."""
    async with connected(server.peers, watch_sharing=shared) as v3:
        ns = v3.namespace(prefix)
        first = (await ns.put("a", "1")).header.revision
        await write_strangers(v3, prefix)
        async with (
            ns.watch("", prefix=True, start_revision=first, prev_kv=True) as everything,
            ns.watch("b", from_key=True) as above,
            ns.watch("a", range_end="b") as some,
            ns.watch("c") as one,
        ):
            assert everything.status().name == "..."
            await v3.delete_range(prefix.removesuffix("/") + "0", prev_kv=True)
            await ns.put("a", "2")
            await ns.put("c", "3")
            await ns.delete_range("c")
            told = [(event.type, event.kv.key, event.kv.value) for event in await take(everything, 4)]
            assert told == [("PUT", b"a", b"1"), ("PUT", b"a", b"2"), ("PUT", b"c", b"3"), ("DELETE", b"c", b"")]
            assert [(e.type, e.kv.key) for e in await take(above, 2)] == [("PUT", b"c"), ("DELETE", b"c")]
            assert [(e.type, e.kv.key) for e in await take(one, 2)] == [("PUT", b"c"), ("DELETE", b"c")]
            await ns.put("a", "4")
            assert [(e.kv.key, e.kv.value) for e in await take(some, 2)] == [(b"a", b"2"), (b"a", b"4")]
            (event,) = await take(everything, 1)
            assert event.prev_kv is not None
            assert (event.prev_kv.key, event.prev_kv.value) == (b"a", b"2")


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
async def test_watch_goes_on(server: EtcdServer, prefix: str, shared: bool) -> None:
    """After a cut connection too, it is asked for below the prefix."""
    async with (
        connected(server.peers) as writer,
        TCPProxy(server.url) as proxy,
        connected([proxy.url], watch_sharing=shared) as v3,
        v3.namespace(prefix).watch("", prefix=True) as events,
    ):
        await writer.put(prefix + "a", "1")
        await take(events, 1)
        proxy.cut()
        await writer.put(prefix.removesuffix("/") + "0", "outside")
        await writer.put(prefix + "b", "2")
        assert [event.kv.key for event in await take(events, 1)] == [b"b"]


async def test_watch_in_batches(ns: V3) -> None:
    """All of one revision together."""
    async with ns.watch("", prefix=True) as events:
        await fill(ns, "a", "b")
        async with asyncio.timeout(10):
            assert [event.kv.key for event in await anext(events.batches())] == [b"a", b"b"]


# STM, locks and elections


async def test_stm(v3: V3, ns: V3, prefix: str) -> None:
    """It reads, compares and writes inside."""
    await fill(ns, "a", "gone")
    async with ns.stm() as txn:
        assert await txn.get("a") == b"a"
        assert await txn.get("missing") is None
        txn.put("b", "1")
        txn.delete("gone")
    assert names((await v3.range(prefix, range_end=prefix[:-1] + "0")).kvs) == [prefix, prefix + "a", prefix + "b"]
    with pytest.raises(CompareFailed):
        async with ns.stm() as txn:
            await txn.get("a")
            await ns.put("a", "overtaken")
            txn.put("a", "late")
    async with ns.stm() as txn:
        await txn.get("a")
        await ns.namespace("other/").put("a", "1")
        txn.put("a", "in time")

    @ns.stm()
    async def double(txn: Transaction, key: str) -> None:
        txn.put(key, 2 * (await txn.get(key) or b""))

    await double("b")
    assert (await ns.range("b")).kvs[0].value == b"11"
    assert await untouched(v3, prefix)


async def test_lock(v3: V3, ns: V3, prefix: str) -> None:
    """Its queue is below the prefix, its entry is a key inside; a lock of the same name outside is another one."""
    lease = (await ns.lease.grant(60)).id
    held = await ns.lock.lock("lock", lease)
    assert held.key == f"lock/{lease:x}".encode()
    assert (await ns.range(held.key)).kvs[0].lease == lease
    assert (await v3.range(prefix + "lock/", prefix=True)).count == 1
    elsewhere = await v3.namespace(prefix + "else/").lock.lock("lock", lease, timeout=5)
    await ns.lock.unlock(held.key)
    assert (await ns.range(held.key)).count == 0
    assert (await v3.range(f"{prefix}else/{elsewhere.key.decode()}")).count == 1
    await ns.lease.revoke(lease)


async def test_election(v3: V3, ns: V3, prefix: str) -> None:
    """Name and key of the leader are those inside, for all calls of it."""
    lease = (await ns.lease.grant(60)).id
    assert await ns.election.leader("chief") is None
    won = (await ns.election.campaign("chief", "one", lease)).leader
    key = f"chief/{lease:x}".encode()
    assert (won.name, won.key, won.lease) == (b"chief", key, lease)
    (entry,) = (await v3.range(prefix + "chief/", prefix=True)).kvs
    assert (entry.value, entry.create_revision) == (b"one", won.rev)
    leading = await ns.election.leader("chief")
    assert leading is not None
    assert (leading.kv.key, leading.kv.value) == (key, b"one")
    async with asyncio.timeout(10), ns.election.observe("chief") as leaders:
        assert (await anext(leaders)).kv.key == key
        await ns.election.proclaim(won, "two")
        told = await anext(leaders)
        assert (told.kv.key, told.kv.value) == (key, b"two")
    await ns.election.resign(won)
    assert (await v3.range(prefix + "chief/", prefix=True)).count == 0
    await ns.lease.revoke(lease)


# What is the cluster's


async def test_keys_of_a_lease(v3: V3, ns: V3, prefix: str) -> None:
    """Of those tied to it the ones inside are told, though it takes the others with it too."""
    lease = (await ns.lease.grant(60)).id
    await ns.put("a", "1", lease=lease)
    await ns.put("b/c", "1", lease=lease)
    outside = [prefix, prefix.removesuffix("/") + "0"]
    for key in outside:
        await v3.put(key, "1", lease=lease)
    left = await ns.lease.time_to_live(lease, keys=True)
    assert (sorted(left.keys), left.granted_ttl) == ([b"a", b"b/c"], 60)
    assert len((await v3.lease.time_to_live(lease, keys=True)).keys) == 4
    assert (await ns.lease.time_to_live(lease)).keys == ()
    assert lease in await ns.lease.list()
    await ns.lease.revoke(lease)
    assert (await ns.range("", prefix=True)).count == 0
    assert [(await v3.range(key)).count for key in outside] == [0, 0]


async def test_renewals_travel_with_those_of_others(v3: V3, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All keep-alives of a client are one request, from whichever namespace."""
    ns = v3.namespace(prefix)
    leases = [(await ns.lease.grant(60)).id for _ in range(3)]
    sent: list[int] = []
    send = Channel.send

    async def spy(self: Channel, request: Any, **options: Any) -> Any:
        sent.append(request.body.count(b"ID"))
        return await send(self, request, **options)

    monkeypatch.setattr(Channel, "send", spy)
    everyone = (v3, ns, ns.namespace("b/"))
    renewed = await asyncio.gather(
        *(each.lease.keep_alive_once(lease) for each, lease in zip(everyone, leases, strict=True))
    )
    assert (renewed, sent) == ([60, 60, 60], [3])
    async with ns.lease.keep_alive(leases[0]) as kept:
        assert not kept.lost.is_set()


async def test_the_rest_is_the_same(v3: V3, ns: V3, prefix: str, server: EtcdServer) -> None:
    """Users, members, upkeep, versions; and making a namespace leaves the one that made it alone."""
    assert (ns.auth, ns.cluster, ns.maintenance, ns.hub) == (v3.auth, v3.cluster, v3.maintenance, v3.hub)
    assert (await ns.version()).server == server.version
    assert await ns.prefix() == "/v3"
    await v3.put(prefix + "a", "1")
    assert names((await v3.range(prefix + "a")).kvs) == [prefix + "a"]
    assert repr(ns) == repr(v3).replace("<V3 ", f"<V3 below {prefix.encode()!r} ")


async def test_reprs(server: EtcdServer, prefix: str) -> None:
    """What it is and whom it asks, and neither credentials nor what is inside."""
    async with aetcd.Client(server.url, username="ann", password="hush") as client:
        for v3, place in (
            (client.v3, f"at {server.url}"),
            (client.v3.namespace(prefix), f"below {prefix.encode()!r} at {server.url}"),
        ):
            groups = (v3, v3.gateway, v3.lease, v3.lock, v3.election)
            names = ("V3", type(v3.gateway).__name__.removeprefix("Namespaced"), "Leases", "Locks", "Elections")
            assert [repr(group) for group in groups] == [f"<{name} {place}>" for name in names]
        assert repr(client.v3.auth) == f"<Auth at {server.url}>"
        assert repr(client.v3.cluster) == f"<Cluster at {server.url}>"
        assert repr(client.v3.maintenance) == f"<Maintenance at {server.url}>"
        async with client.v3.maintenance.snapshot_stream() as pieces:
            assert repr(pieces) == f"<SnapshotStream from {server.url}: 0 bytes, 0 to come>"
        campaign = await client.v3.election.campaign(prefix + "election")
        async with client.v3.election.observe(prefix + "election") as leaders:
            assert repr(leaders) == f"<Leaders from {server.url}>"
        await client.v3.lease.revoke(campaign.leader.lease)
    assert repr(client.v3.maintenance) == f"<Maintenance at {server.url}, closed>"
    unfound = aetcd.Client(discovery="http://127.0.0.1:1/0123456789abcdef")
    assert repr(unfound.v3.maintenance) == "<Maintenance at peers not found yet>"


@pytest.mark.parametrize("binary", etcd_binaries(), ids=str)
async def test_permission_for_the_namespace_is_enough(binary: EtcdBinary) -> None:
    """The server itself finds nothing outside in any call: to a user who may go no further all are permitted."""
    async with EtcdServer(binary=binary, protocols=("v3",)) as server:
        async with connected(server.peers) as v3:
            for name, below in (("root", "root/"), ("ann", "n/")):
                await v3.auth.add_user(name, "secret")
                await v3.auth.add_role(name)
                # From the lowest name on: the bare prefix is left out.
                await v3.auth.grant_permission(name, "READWRITE", below + "\0", range_end=below[:-1] + "0")
                await v3.auth.grant_role(name, name)
            await v3.auth.enable()
        for shared in (False, True):
            async with connected(server.peers, user=("ann", "secret"), watch_sharing=shared, guard=True) as v3:
                await use_everything(v3.namespace("n/"))
                with pytest.raises(PermissionDenied):
                    await v3.range("", from_key=True)


async def use_everything(ns: V3) -> None:
    lease = (await ns.lease.grant(60)).id
    for key, options, _ in SHAPES.values():
        await ns.range(key, **options)
        assert [page async for page in ns.range_pages(key, page_size=1, **options)]
        if options.get("range_end") != "b":  # etcd watches no empty range
            async with ns.watch(key, **options) as events:
                assert events.status().state == "live"
        await ns.delete_range(key, **options)
    async with ns.stm() as txn:
        txn.put("a", await txn.get("a") or b"1", lease=lease)
    await ns.txn().when(Version("", prefix=True) > 0).then(Get("a", from_key=True), Delete("", prefix=True))
    assert (await ns.lease.time_to_live(lease, keys=True)).keys == ()
    await ns.lock.unlock((await ns.lock.lock("lock", lease)).key)
    await ns.election.resign((await ns.election.campaign("chief", "1", lease)).leader)
    await ns.lease.revoke(lease)


async def test_namespaces_add_up(v3: V3, ns: V3, prefix: str) -> None:
    """One within another is below both prefixes, and sees nothing of the outer one."""
    await fill(ns, "a", "b", "c")
    inner = ns.namespace(b"b").namespace("/")
    await inner.put("x", "1")
    assert names((await v3.range(prefix + "b/x")).kvs) == [prefix + "b/x"]
    assert names((await inner.range("", prefix=True)).kvs) == ["x"]
    assert names((await ns.range("", from_key=True)).kvs) == ["a", "b", "b/x", "c"]
    async with inner.watch("", from_key=True) as events:
        await ns.put("c", "outside")
        await inner.delete_range("", from_key=True)
        assert [(event.type, event.kv.key) for event in await take(events, 1)] == [("DELETE", b"x")]
    assert names((await ns.range("", from_key=True)).kvs) == ["a", "b", "c"]


async def test_what_is_known_of_the_cluster_is_shared(
    server: EtcdServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is asked for once, and the guard is one, whichever of them asks."""
    async with connected(server.peers, guard=True) as v3:
        sent: list[str] = []
        send = Channel.send

        async def spy(self: Channel, request: Any, **options: Any) -> Any:
            sent.append(request.path)
            return await send(self, request, **options)

        monkeypatch.setattr(Channel, "send", spy)
        ns = v3.namespace(prefix)
        written = await ns.put("a", "1")
        # Its watches look there too, whether the cluster was restored.
        assert ns.gateway.guard is v3.gateway.guard
        assert v3.gateway.guard is not None
        assert v3.gateway.guard.seen[1] == written.header.revision
        await v3.namespace("other/").range("a")
        await v3.range("a")
    assert sent == ["/version", "/v3/kv/put", "/v3/kv/range", "/v3/kv/range"]


async def test_the_facades_own_namespace(server: EtcdServer, prefix: str) -> None:
    """It is of the facade's calls alone: the native API has the server's keys."""
    async with aetcd.Client(server.url, protocol="v3", namespace=prefix) as client:
        await client.set("a", "1")
        assert names((await client.v3.range(prefix, prefix=True)).kvs) == [prefix + "a"]
        assert names((await client.v3.namespace(prefix).range("", prefix=True)).kvs) == ["a"]


async def test_bad_input(v3: V3) -> None:
    """Named before anything is sent; an empty prefix would open the whole key space."""
    for given_prefix, error in (("", ValueError), (b"", ValueError), (1, TypeError), (None, TypeError)):
        with pytest.raises(error, match="prefix"):
            v3.namespace(given_prefix)  # type: ignore[arg-type]
    ns = v3.namespace("a/")
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: ns.put("", "1"),
        lambda: ns.range(""),
        lambda: ns.delete_range("", range_end="b"),
        lambda: ns.lock.lock(""),
        lambda: ns.election.leader(""),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="must not be empty"):
            await call()


# Every call of the gateway, with and without a namespace


class Sent(AetcdError):
    """Stands for a request that would have been sent."""

    def __init__(self, request: Any) -> None:
        super().__init__(request.path)
        self.request = request


@pytest.fixture
async def unsent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[V3]:
    """An API whose requests go no further than to be raised."""

    def refuse(self: Channel, request: Any, *rest: Any, **options: Any) -> Any:
        raise Sent(request)

    for name in ("send", "stream", "duplex"):
        monkeypatch.setattr(Channel, name, refuse)
    async with connected(["http://127.0.0.1:1"], prefix="/v3") as v3:
        yield v3


async def entered(block: Any) -> None:
    async with block:
        pytest.fail("nothing was to be sent")


WON = LeaderKey(name=b"a", key=b"a/1", rev=1, lease=1)

CALLS: dict[str, Callable[[V3], Awaitable[Any]]] = {
    "kv/range": lambda v3: v3.range("a"),
    "kv/put": lambda v3: v3.put("a", "1"),
    "kv/deleterange": lambda v3: v3.delete_range("a"),
    "kv/txn": lambda v3: v3.txn().commit(),
    "kv/compaction": lambda v3: v3.compact(1),
    "watch": lambda v3: entered(v3.watch("a")),
    "lease/grant": lambda v3: v3.lease.grant(1),
    "lease/revoke": lambda v3: v3.lease.revoke(1),
    "lease/keepalive": lambda v3: v3.lease.keep_alive_once(1),
    "lease/timetolive": lambda v3: v3.lease.time_to_live(1),
    "lease/leases": lambda v3: v3.lease.list(),
    "cluster/member/add": lambda v3: v3.cluster.add(["http://a:1"]),
    "cluster/member/remove": lambda v3: v3.cluster.remove(1),
    "cluster/member/update": lambda v3: v3.cluster.update(1, ["http://a:1"]),
    "cluster/member/list": lambda v3: v3.cluster.members(),
    "cluster/member/promote": lambda v3: v3.cluster.promote(1),
    "maintenance/alarm": lambda v3: v3.maintenance.alarms(),
    "maintenance/status": lambda v3: v3.maintenance.status(),
    "maintenance/defragment": lambda v3: v3.maintenance.defragment(),
    "maintenance/hash": lambda v3: v3.maintenance.hash(),
    "maintenance/hashkv": lambda v3: v3.maintenance.hash_kv(),
    "maintenance/snapshot": lambda v3: entered(v3.maintenance.snapshot_stream()),
    "maintenance/transfer-leadership": lambda v3: v3.maintenance.move_leader(1),
    "maintenance/downgrade": lambda v3: v3.maintenance.downgrade("CANCEL"),
    "auth/enable": lambda v3: v3.auth.enable(),
    "auth/disable": lambda v3: v3.auth.disable(),
    "auth/status": lambda v3: v3.auth.status(),
    "auth/authenticate": lambda v3: v3.auth.authenticate("a", "b"),
    "auth/user/add": lambda v3: v3.auth.add_user("a", "b"),
    "auth/user/get": lambda v3: v3.auth.user("a"),
    "auth/user/list": lambda v3: v3.auth.users(),
    "auth/user/delete": lambda v3: v3.auth.delete_user("a"),
    "auth/user/changepw": lambda v3: v3.auth.change_password("a", "b"),
    "auth/user/grant": lambda v3: v3.auth.grant_role("a", "b"),
    "auth/user/revoke": lambda v3: v3.auth.revoke_role("a", "b"),
    "auth/role/add": lambda v3: v3.auth.add_role("a"),
    "auth/role/get": lambda v3: v3.auth.role("a"),
    "auth/role/list": lambda v3: v3.auth.roles(),
    "auth/role/delete": lambda v3: v3.auth.delete_role("a"),
    "auth/role/grant": lambda v3: v3.auth.grant_permission("a", "READ", "b"),
    "auth/role/revoke": lambda v3: v3.auth.revoke_permission("a", "b"),
    "lock/lock": lambda v3: v3.lock.lock("a"),
    "lock/unlock": lambda v3: v3.lock.unlock(b"a/1"),
    "election/campaign": lambda v3: v3.election.campaign("a"),
    "election/proclaim": lambda v3: v3.election.proclaim(WON, "1"),
    "election/leader": lambda v3: v3.election.leader("a"),
    "election/observe": lambda v3: entered(v3.election.observe("a")),
    "election/resign": lambda v3: v3.election.resign(WON),
}

KEYED = ("kv/range", "kv/put", "kv/deleterange", "watch", "lock/", "election/")


@pytest.mark.parametrize("path", CALLS)
async def test_every_path_has_its_call(unsent: V3, path: str) -> None:
    """Each of the gateway's paths is asked by a method; and only those that name keys ask otherwise in a namespace."""
    bodies = []
    for v3 in (unsent, unsent.namespace("\0\0\0")):
        with pytest.raises(Sent) as caught:
            await CALLS[path](v3)
        assert caught.value.request.path == "/v3/" + path
        bodies.append(caught.value.request.body)
    # In base64 three bytes of 0 are four letters A, whatever follows.
    assert (bodies[0] != bodies[1]) == path.startswith(KEYED)
    assert bodies[1].replace(b'"AAAA', b'"') == bodies[0]


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
async def test_watches_want_a_leader(
    server: EtcdServer, prefix: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member without a leader is asked to end a watch, by whichever way it travels: else it would be silent."""
    asked: list[str | None] = []

    def spied(name: str) -> Callable[..., Any]:
        original = getattr(Channel, name)

        def spy(self: Channel, request: Any, *rest: Any, **options: Any) -> Any:
            asked.append(request.headers.get("Grpc-Metadata-hasleader"))
            return original(self, request, *rest, **options)

        return spy

    for name in ("stream", "duplex"):
        monkeypatch.setattr(Channel, name, spied(name))
    async with connected(server.peers, watch_sharing=shared) as v3, v3.namespace(prefix).watch("a") as events:
        await v3.put(prefix + "a", "1")
        assert [event.kv.key for event in await take(events, 1)] == [b"a"]
    assert asked == ["true"]


async def test_guarded_write_of_a_namespace(etcd: EtcdServer, prefix: str) -> None:
    """It is refused: the transaction that guards it knows no namespace, and it would go to other keys."""
    async with aetcd.Client(etcd.url, protocol="v3", namespace=prefix) as client, client.lock("job") as lock:
        with pytest.raises(ValueError, match=r"txn is of another namespace"):
            await lock.guarded(client.v3.namespace("below/").txn().then(Put("key", "value")))
        assert (await client.v3.namespace("below/").range("key")).count == 0
