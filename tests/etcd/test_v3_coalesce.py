from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from attrs import define, field
from circles import circles

import aetcd
from aetcd._transport.pool import Pool
from aetcd._transport.timeouts import Timeout
from aetcd._transport.trace import RequestEvent, ResponseEvent, Trace
from aetcd.errors import (
    ClientClosed,
    ConfigError,
    LeaseNotFound,
    Outcome,
    OutcomeUnknown,
    PermissionDenied,
    RequestTimeout,
    RequestTooLarge,
)
from aetcd.etcd.v3 import CreateRevision, Get, Put, Txn
from aetcd.etcd.v3._coalesce import LARGE, Coalescer
from aetcd.etcd.v3._gathering import COMPANY, HEAVY, MOST, TOGETHER, Batch, Gathering, Solo
from aetcd.testing import EtcdCluster, EtcdServer, TCPProxy, etcd_binaries

GET, PUT, TXN = "v3 range", "v3 put", "v3 txn"


@define
class Wire:
    """What was sent, by operation, and what came back."""

    sent: list[str] = field(factory=list)
    peers: list[str] = field(factory=list)
    statuses: list[int | None] = field(factory=list)

    @property
    def trace(self) -> Trace:
        return Trace(on_request=self._request, on_response=self._response)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(self.sent))

    def clear(self) -> None:
        self.sent.clear()
        self.peers.clear()
        self.statuses.clear()

    def _request(self, event: RequestEvent) -> None:
        self.sent.append(event.operation)
        self.peers.append(event.peer)

    def _response(self, event: ResponseEvent) -> None:
        self.statuses.append(event.status)

    async def until(self, operation: str, count: int = 1) -> None:
        async with asyncio.timeout(5):
            while self.counts.get(operation, 0) < count:
                await asyncio.sleep(0)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@asynccontextmanager
async def connected(*urls: str, wire: Wire, writes: bool = True, **settings: Any) -> AsyncIterator[aetcd.Client]:
    """A client that has spoken to its server already, and whose trace is empty."""
    async with aetcd.Client(*urls, protocol="v3", coalesce_writes=writes, trace=wire.trace, **settings) as client:
        await client.get("warm")
        wire.clear()
        yield client


@pytest.fixture
async def client(etcd: EtcdServer, prefix: str, wire: Wire) -> AsyncIterator[aetcd.Client]:
    async with connected(etcd.url, wire=wire, namespace=prefix) as client:
        yield client


@pytest.fixture(params=etcd_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[EtcdServer]:
    """A server of the test's own."""
    with EtcdServer(binary=request.param, protocols=("v3",)) as server:
        yield server


def names(count: int) -> list[str]:
    return [f"k{number:03}" for number in range(count)]


async def filled(client: aetcd.Client, keys: list[str]) -> None:
    await asyncio.gather(*(client.set(key, f"value of {key}") for key in keys))


# What goes when


@define(eq=False)
class Wanted:
    key: bytes
    weight: int = 1
    pace: tuple[float | None, float | None] = (None, None)


def waiting(*items: Wanted, shared: bool = True) -> Gathering[Wanted]:
    gathering: Gathering[Wanted] = Gathering(shared, not shared)
    for item in items:
        gathering.add(item)
    return gathering


def different(count: int) -> list[Wanted]:
    return [Wanted(b"%d" % number) for number in range(count)]


def took(batch: Batch[Wanted] | None) -> list[Wanted]:
    assert batch is not None
    return list(batch.members)


def test_two_alone_are_admitted_at_once_and_a_third_gathers() -> None:
    gathering = waiting()
    for key in (b"a", b"b"):
        assert gathering.admits(key)
        gathering.set_off(key)
    assert not gathering.admits(b"c")
    gathering.arrived(b"a")
    assert gathering.admits(b"c")


def test_one_that_found_no_other_waits_for_many_only() -> None:
    """While they are under way, and no place is free; beside few it goes."""
    for many, goes in ((COMPANY - 1, True), (COMPANY, False)):
        gathering = waiting(*different(many))
        gathering.set_off(b"x")
        together = gathering.take()
        assert together is not None
        gathering.add(Wanted(b"a"))
        assert (gathering.take() is not None) == goes
        if not goes:
            gathering.arrived(b"x")
            assert len(took(gathering.take())) == 1


def test_after_one_that_went_by_itself_nobody_gathers() -> None:
    """It is as one that was admitted: where no batch is under way, there is nobody to gather with."""
    gathering = waiting(Wanted(b"a"))
    gathering.crowded = True
    assert len(took(gathering.take())) == 1
    assert gathering.admits(b"z")


def test_two_batches_share_what_waits_in_halves() -> None:
    """And stay of one size from then on; a third waits for one of them."""
    items = different(2 * TOGETHER + 2)
    gathering = waiting(*items)
    first, second = gathering.take(), gathering.take()
    assert took(first) == items[: TOGETHER + 1]
    assert took(second) == items[TOGETHER + 1 :]
    for item in different(5):
        gathering.add(item)
    assert gathering.take() is None
    assert not gathering.admits(b"other")
    assert first is not None
    gathering.landed(first)
    assert len(took(gathering.take())) == 5


def test_few_go_in_one_batch() -> None:
    items = different(TOGETHER)
    assert took(waiting(*items).take()) == items


def test_one_request_serves_all_who_read_a_key() -> None:
    items = [Wanted(b"a"), Wanted(b"b"), Wanted(b"a")]
    batch = waiting(*items).take()
    assert batch is not None
    assert batch.pieces == {b"a": [items[0], items[2]], b"b": [items[1]]}


def test_writes_of_one_key_go_one_after_the_other() -> None:
    """In the order of the calls: neither within one batch, nor in two at a time."""
    a1, b1, a2, b2, a3 = (Wanted(key) for key in (b"a", b"b", b"a", b"b", b"a"))
    gathering = waiting(a1, b1, a2, b2, a3, shared=False)
    first = gathering.take()
    assert took(first) == [a1, b1]
    assert gathering.take() is None
    assert not gathering.admits(b"a")
    assert first is not None
    gathering.landed(first)
    second = gathering.take()
    assert took(second) == [a2, b2]
    assert second is not None
    gathering.landed(second)
    assert took(gathering.take()) == [a3]


def test_transactions_of_one_key_share_no_request() -> None:
    """But they may be under way at the same time, for none of them waits for another's end."""
    a1, b1, a2, a3 = (Wanted(key) for key in (b"a", b"b", b"a", b"a"))
    gathering: Gathering[Wanted] = Gathering(shared=False, ordered=False)
    for item in (a1, b1, a2, a3):
        gathering.add(item)
    assert took(gathering.take()) == [a1, b1]
    assert took(gathering.take()) == [a2]
    assert gathering.take() is None, "two are under way"


def test_limits_on_silence_are_not_mixed() -> None:
    """Nor does a later write of a key go before an earlier one with other limits."""
    plain, hasty, later, other = Wanted(b"a"), Wanted(b"b", pace=(None, 1.0)), Wanted(b"b"), Wanted(b"c")
    gathering = waiting(plain, hasty, later, other, shared=False)
    assert took(gathering.take()) == [plain, other]
    assert took(gathering.take()) == [hasty]


def test_heavy_requests_are_split() -> None:
    items = [Wanted(b"%d" % number, weight=HEAVY // 3 + 1) for number in range(4)]
    gathering = waiting(*items)
    assert took(gathering.take()) == items[:2]
    assert took(gathering.take()) == items[2:]


def test_a_batch_is_not_longer_than_the_server_takes() -> None:
    gathering = waiting(*different(4 * MOST))
    batch = gathering.take()
    assert len(took(batch)) == MOST
    gathering.withdraw(Wanted(b"not there"))
    assert batch is not None
    gathering.landed(batch)
    gathering.too_many(batch, took(batch)[:100])
    assert gathering.limit == MOST // 2
    assert took(gathering.take()) == took(batch)[: MOST // 2]


def test_a_server_that_takes_one_operation_is_sent_as_many_requests_as_come() -> None:
    gathering = waiting(*different(20))
    gathering.limit = 1
    assert [len(took(gathering.take())) for _ in range(20)] == [1] * 20
    assert gathering.admits(b"x")


def test_keys_that_go_alone_are_bounded() -> None:
    """The oldest is forgotten, and one whose answer became small."""
    solo = Solo(most=2)
    for key in (b"a", b"b", b"a", b"c"):
        solo.learn(key, apart=True)
    assert list(solo.keys) == [b"a", b"c"]
    solo.learn(b"a", apart=False)
    solo.learn(b"never seen", apart=False)
    assert list(solo.keys) == [b"c"]


# Reading


def facts(result: aetcd.Result | None) -> tuple[Any, ...] | None:
    """All of an answer but the seconds that are left of a TTL, which pass."""
    if result is None:
        return None
    node = result.node
    revisions = (node.created_revision, node.modified_revision, node.version)
    return result.action, result.revision, node.key, node.value, *revisions, node.lease, node.ttl is not None


async def test_answers_are_those_of_plain_gets(etcd: EtcdServer, prefix: str, client: aetcd.Client, wire: Wire) -> None:
    """Present and missing, text and bytes, empty, with a lease, the same key often, in order."""
    keys = names(40)
    async with aetcd.Client(etcd.url, protocol="v3", namespace=prefix, coalesce=False) as plain:
        for key in keys[::2]:
            await plain.set(key, f"value of {key}")
        await plain.set(keys[2], "")
        await plain.set(keys[4], b"\xff\x00")
        await plain.set(keys[6], "short", ttl=300)
        asked = [*keys, *keys[:7], *keys[:7]]
        for consistent in (True, False):
            expected = [facts(await plain.get(key, full=True, type=bytes, consistent=consistent)) for key in asked]
            wire.clear()
            calls = [client.get(key, full=True, type=bytes, consistent=consistent) for key in asked]
            assert [facts(result) for result in await asyncio.gather(*calls)] == expected
            assert expected[6] is not None
            assert expected[6][-1] is True
            assert wire.counts[TXN] in {1, 2}
            assert wire.counts[GET] == 2


async def test_text_and_existence(client: aetcd.Client, wire: Wire) -> None:
    """`exists` and `ttl` read as `get` does."""
    await filled(client, names(10))
    wire.clear()
    found = await asyncio.gather(*(client.exists(key) for key in [*names(10), "missing"]))
    assert found == [True] * 10 + [False]
    assert wire.counts == {GET: 2, TXN: 1}
    assert await asyncio.gather(*(client.get(key) for key in names(3))) == [f"value of {key}" for key in names(3)]


async def test_one_after_the_other_go_plain(client: aetcd.Client, wire: Wire) -> None:
    """Also after a crowd."""
    for _ in range(3):
        await client.get("a")
    assert wire.counts == {GET: 3}
    await asyncio.gather(*(client.get(key) for key in names(20)))
    wire.clear()
    for _ in range(5):
        await client.get("a")
        await client.set("a", "x")
    assert wire.counts == {GET: 5, PUT: 5}


async def test_few_wait_for_nobody(server: EtcdServer, wire: Wire) -> None:
    """However many gets come at once: all of them are on the wire before any is answered."""
    async with connected(server.url, wire=wire) as client:
        for number, sent in enumerate([{GET: 1}, {GET: 2}, {GET: 3}, {GET: 2, TXN: 1}, {TXN: 1}], 1):
            wire.clear()
            await server.members[0].pause()
            async with asyncio.TaskGroup() as group:
                for key in names(number):
                    group.create_task(client.get(key))
                for operation, count in sent.items():
                    await wire.until(operation, count)
                await server.members[0].resume()
            assert wire.counts == sent


async def test_switched_off(etcd: EtcdServer, wire: Wire) -> None:
    """Each by itself; writes are so by default."""
    async with connected(etcd.url, wire=wire, writes=False, coalesce=False) as client:
        await asyncio.gather(*(client.get(key) for key in names(20)))
        await asyncio.gather(*(client.set("switched-off/" + key, "x") for key in names(20)))
        assert wire.counts == {GET: 20, PUT: 20}
    for argument in ("coalesce", "coalesce_writes"):
        with pytest.raises((TypeError, ConfigError), match=argument):
            aetcd.Client(etcd.url, **{argument: "yes"})


async def test_callers_that_go_on_share_few_requests(client: aetcd.Client, wire: Wire) -> None:
    """64 of them, 20 gets each: batches follow batches."""
    keys = names(64)
    await filled(client, keys)
    wire.clear()

    async def caller(key: str) -> None:
        for _ in range(20):
            assert await client.get(key) == f"value of {key}"

    await asyncio.gather(*map(caller, keys))
    assert len(wire.sent) < 64 * 20 / 10


async def test_the_first_calls_of_a_client(etcd: EtcdServer, wire: Wire) -> None:
    """Those that wait together until the server's version is known go on together."""
    async with aetcd.Client(etcd.url, coalesce_writes=True, trace=wire.trace) as client:
        await asyncio.gather(*(client.set(f"first/{key}", "x") for key in names(50)))
        assert len(wire.sent) <= 4  # the version, two alone, and the rest
    wire.clear()
    async with aetcd.Client(etcd.url, trace=wire.trace) as client:
        assert await asyncio.gather(*(client.get(f"first/{key}") for key in names(50))) == ["x"] * 50
        assert len(wire.sent) <= 4


async def test_consistencies_are_never_mixed(etcd: EtcdServer, prefix: str, wire: Wire, caplog: Any) -> None:
    """Each transaction reads one way only."""
    async with connected(etcd.url, wire=wire, namespace=prefix, debug=True) as client:
        caplog.clear()
        with caplog.at_level("DEBUG", "aetcd.http"):
            await asyncio.gather(*(client.get(key, consistent=bool(at % 2)) for at, key in enumerate(names(40))))
    lines = [message for message in caplog.messages if message.startswith("curl ") and "/kv/txn" in message]
    counted = sorted((line.count('"serializable":true'), line.count("request_range")) for line in lines)
    assert counted == [(0, 18), (18, 18)]


async def test_a_large_value_goes_alone_from_then_on(client: aetcd.Client, wire: Wire) -> None:
    """Until it is small again."""
    keys = names(10)
    await filled(client, keys)
    await client.set(keys[5], "x" * (LARGE + 1))

    async def gets() -> dict[str, int]:
        wire.clear()
        assert len((await asyncio.gather(*map(client.get, keys)))[5] or "") in {LARGE + 1, 5}
        return wire.counts

    assert await gets() == {GET: 2, TXN: 1}
    assert await gets() == {GET: 3, TXN: 1} or wire.counts == {GET: 1, TXN: 1}
    assert keys[5].encode() in {key[-4:] for key in solo_keys(client)}
    await client.set(keys[5], "small")
    await gets()
    assert not solo_keys(client)


def solo_keys(client: aetcd.Client) -> set[bytes]:
    return set(client._chosen.space.coalescer._agreed._solo.keys)  # type: ignore[union-attr]


@pytest.fixture
async def of_ann(server: EtcdServer, wire: Wire) -> AsyncIterator[aetcd.Client]:
    """A user who may read and write all keys but one."""
    async with aetcd.Client(server.url, protocol="v3") as root:
        for key in [*names(20), "forbidden"]:
            await root.set(key, f"value of {key}")
        await root.v3.auth.add_user("root", "secret")
        await root.v3.auth.add_role("root")
        await root.v3.auth.grant_role("root", "root")
        await root.v3.auth.add_user("ann", "pw")
        await root.v3.auth.add_role("some")
        await root.v3.auth.grant_permission("some", "READWRITE", "k", prefix=True)
        await root.v3.auth.grant_role("ann", "some")
        await root.v3.auth.enable()
    async with aetcd.Client(
        server.url, protocol="v3", username="ann", password="pw", coalesce_writes=True, trace=wire.trace
    ) as client:
        await client.get("k000")
        wire.clear()
        yield client


async def test_a_forbidden_key_fails_its_caller_only(of_ann: aetcd.Client, wire: Wire) -> None:
    """And spoils no other batch afterwards."""
    keys = [*names(10), "forbidden", *names(20)[10:]]
    for expected in ({GET: 2 + 19, TXN: 1}, {GET: 3, TXN: 1}):
        wire.clear()
        found = await asyncio.gather(*map(of_ann.get, keys), return_exceptions=True)
        assert isinstance(found.pop(10), PermissionDenied)
        assert found == [f"value of {key}" for key in names(20)]
        assert wire.counts in (expected, {GET: 1, TXN: 1})


async def test_a_forbidden_write_fails_its_caller_only(of_ann: aetcd.Client, wire: Wire) -> None:
    keys = [*names(10), "forbidden", *names(20)[10:]]
    done = await asyncio.gather(*(of_ann.set(key, "new") for key in keys), return_exceptions=True)
    assert isinstance(done.pop(10), PermissionDenied)
    assert done == [None] * 20
    assert wire.counts == {PUT: 2 + 19, TXN: 1}
    assert await asyncio.gather(*map(of_ann.get, names(20))) == ["new"] * 20


@pytest.mark.parametrize("binary", etcd_binaries(), ids=str)
async def test_a_smaller_limit_of_the_server_is_learnt(binary: Any, wire: Wire) -> None:
    """By its refusals, once: reads and writes then come in batches that it takes."""
    async with (
        EtcdServer(binary=binary, protocols=("v3",), extra_args=["--max-txn-ops=8"]) as server,
        connected(server.url, wire=wire) as client,
    ):
        keys = names(60)
        for _ in range(2):
            await filled(client, keys)
            assert await asyncio.gather(*map(client.get, keys)) == [f"value of {key}" for key in keys]
        assert 400 in wire.statuses or 412 in wire.statuses
        wire.clear()
        await filled(client, keys)
        assert await asyncio.gather(*map(client.get, keys)) == [f"value of {key}" for key in keys]
        assert set(wire.statuses) == {200}
        assert wire.counts[TXN] >= 2 * 58 // 8


# Transactions that may be sent twice


def creation(client: aetcd.Client, key: str, lease: int = 0) -> Txn:
    """Creates a key, or reads it where it is there."""
    txn = client.v3.txn().when(CreateRevision(key) == 0).then(Put(key, "made", lease=lease)).otherwise(Get(key))
    return txn.build()


async def transacted(client: aetcd.Client, keys: list[str], **leases: int) -> list[Any]:
    coalescer = Coalescer(client.v3, reads=True, writes=False)

    async def one(key: str) -> Any:
        return await coalescer.transact(key.encode(), creation(client, key, leases.get(key, 0)))

    return await asyncio.gather(*map(one, keys), return_exceptions=True)


async def test_transactions_that_wait_together_share_a_request(prefix: str, client: aetcd.Client, wire: Wire) -> None:
    """Each is told what itself did; those of one request did it at one revision."""
    keys = [prefix + key for key in names(20)]
    told = await transacted(client, keys)
    assert wire.counts == {TXN: 3}
    assert all(answer.succeeded for answer in told)
    assert [len(answer.results) for answer in told] == [1] * 20
    assert len({answer.revision for answer in told[2:]}) == 1
    for key, answer in zip(keys, told, strict=True):
        assert (await client.v3.range(key)).kvs[0].create_revision == answer.revision


async def test_transaction_that_does_otherwise_goes_alone(prefix: str, client: aetcd.Client, wire: Wire) -> None:
    """Together they do all or nothing, so that each is then sent by itself."""
    keys = [prefix + key for key in names(20)]
    await client.set(names(20)[7], "there")
    wire.clear()
    told = await transacted(client, keys)
    assert wire.counts == {TXN: 2 + 1 + 18}
    assert [answer.succeeded for answer in told] == [number != 7 for number in range(20)]
    assert told[7].results[0].kvs[0].value == b"there"
    assert await asyncio.gather(*(client.get(key) for key in names(20))) == ["made"] * 7 + ["there"] + ["made"] * 12


async def test_transaction_that_is_refused_fails_its_caller_only(prefix: str, client: aetcd.Client, wire: Wire) -> None:
    """Nothing of the shared request was done, so each is sent by itself."""
    keys = [prefix + key for key in names(10)]
    told = await transacted(client, keys, **{keys[5]: 4711})
    assert isinstance(told.pop(5), LeaseNotFound)
    assert all(answer.succeeded for answer in told)
    assert wire.counts == {TXN: 2 + 1 + 8}


async def test_entries_of_one_queue_never_share_a_revision(server: EtcdServer, wire: Wire) -> None:
    """Nobody would be the first of two. Those who leave may go with those who come."""
    async with connected(server.url, wire=wire) as client, AsyncExitStack() as sessions:
        store = client._store()
        owners = [await sessions.enter_async_context(client.session(60)) for _ in range(30)]
        wire.clear()
        entries = await asyncio.gather(*(store.enter("queue", b"", owner) for owner in owners))
        assert len({entry.created_revision for entry in entries}) == 30
        assert wire.counts == {TXN: 30}
        others = [await sessions.enter_async_context(client.session(60)) for _ in range(5)]
        wire.clear()
        leaving = (store.leave(entry, owner) for entry, owner in zip(entries, owners, strict=True))
        coming = (store.enter("queue", b"", owner) for owner in others)
        told = await asyncio.gather(*leaving, *coming)
        assert all(told[:30])
        assert len({entry.created_revision for entry in told[30:]}) == 5
        assert wire.counts[TXN] < 10
        assert len((await store.queue("queue")).entries) == 5


async def test_transactions_are_sent_one_by_one_where_it_is_switched_off(
    etcd: EtcdServer, wire: Wire, prefix: str
) -> None:
    async with (
        connected(etcd.url, wire=wire, coalesce=False, namespace=prefix) as client,
        client.session(60) as session,
    ):
        store = client._store()
        wire.clear()
        entries = await asyncio.gather(*(store.enter(f"queue{number}", b"", session) for number in range(10)))
        assert wire.counts == {TXN: 10}
        assert all(await asyncio.gather(*(store.leave(entry, session) for entry in entries)))
        assert wire.counts == {TXN: 20}


async def test_transactions_whose_answer_is_lost_are_sent_again(server: EtcdServer, wire: Wire) -> None:
    """All that shared the request: their second sending finds what the first has done."""
    async with TCPProxy(server.url) as between, connected(between.url, wire=wire) as client:
        trap = between.cut_after(received=0, match=b64encode(b"k005"))
        told = await transacted(client, names(20))
        assert trap.sprung
    assert [answer.succeeded for answer in told] == [True] * 2 + [False] * 18
    assert all(answer.results[0].kvs[0].value == b"made" for answer in told[2:])


# Limits and cancels of single callers


async def test_cancelled_callers_leave_the_others(server: EtcdServer, wire: Wire) -> None:
    """The first of a batch, one in its middle, and one that went ahead alone."""
    async with connected(server.url, wire=wire) as client:
        await filled(client, names(20))
        wire.clear()
        await server.members[0].pause()
        tasks = [asyncio.create_task(client.get(key)) for key in names(20)]
        await wire.until(TXN)
        for cancelled in (0, 2, 9):
            tasks[cancelled].cancel()
        await server.members[0].resume()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        expected = [f"value of {key}" for key in names(20)]
        for at, result in enumerate(found):
            assert isinstance(result, asyncio.CancelledError) if at in {0, 2, 9} else result == expected[at]
        assert wire.counts == {GET: 2, TXN: 1}


async def test_a_batch_that_nobody_waits_for_is_given_up(server: EtcdServer, wire: Wire) -> None:
    """All were cancelled; the next goes its way, and nothing is left under way."""
    async with connected(server.url, wire=wire) as client:
        await server.members[0].pause()
        tasks = [asyncio.create_task(client.get(key)) for key in names(20)]
        late = [asyncio.create_task(client.set(key, "x")) for key in names(20)]
        await wire.until(TXN, 2)
        for task in (*tasks, *late):
            task.cancel()
        await asyncio.wait([*tasks, *late])
        async with asyncio.timeout(2):
            while any(peer.pending for peer in client.status().peers):
                await asyncio.sleep(0)
        await server.members[0].resume()
        await filled(client, names(20))
        assert await client.get("k003") == "value of k003"


async def test_cancelled_while_it_waits(server: EtcdServer, wire: Wire) -> None:
    """Behind two batches: it is never sent."""
    async with connected(server.url, wire=wire) as client:
        await server.members[0].pause()
        ahead = [asyncio.create_task(client.set(key, "1")) for key in names(100)]
        await wire.until(TXN, 2)
        behind = [asyncio.create_task(client.set(f"x{key}", "2")) for key in names(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in behind:
            task.cancel()
        await asyncio.wait(behind)
        await server.members[0].resume()
        await asyncio.gather(*ahead)
        assert await client.ls("") == [node for node in await client.ls("") if not node.key.startswith("x")]
        assert wire.counts[TXN] == 4


async def test_each_has_his_own_deadline(server: EtcdServer, wire: Wire) -> None:
    """A short one runs out at its time, and the others are answered."""
    async with connected(server.url, wire=wire) as client:
        await filled(client, names(20))
        wire.clear()
        await server.members[0].pause()
        tasks = [
            asyncio.create_task(client.get(key, timeout=0.2 if at % 5 == 4 else 8)) for at, key in enumerate(names(20))
        ]
        short = tasks[4::5]
        async with asyncio.timeout(2):
            found = await asyncio.gather(*short, return_exceptions=True)
        assert [type(error) for error in found] == [RequestTimeout] * 4
        assert not any(task.done() for task in tasks if task not in short)
        await server.members[0].resume()
        assert [await task for task in tasks if task not in short] == [
            f"value of {key}" for at, key in enumerate(names(20)) if at % 5 != 4
        ]
        assert wire.counts == {GET: 2, TXN: 1}


async def test_a_write_that_is_late_tells_whether_it_was_sent(server: EtcdServer, wire: Wire) -> None:
    """In a batch under way its outcome is unknown; behind it nothing was sent."""
    async with connected(server.url, wire=wire) as client:
        await server.members[0].pause()
        sent = [asyncio.create_task(client.set(key, "1", timeout=0.4)) for key in names(100)]
        await wire.until(TXN, 2)
        behind = asyncio.create_task(client.set("behind", "2", timeout=0.2))
        with pytest.raises(RequestTimeout) as late:
            await behind
        assert late.value.outcome is Outcome.NOT_SENT
        found = await asyncio.gather(*sent, return_exceptions=True)
        assert {type(error) for error in found} == {OutcomeUnknown}
        assert {getattr(error, "operation", None) for error in found} == {PUT}
        await server.members[0].resume()
        assert await client.get("behind") is None


async def test_limits_on_silence_are_the_callers_own(client: aetcd.Client, wire: Wire) -> None:
    """Those who have others do not share a request."""
    limits = [Timeout(5.0, read=3.0), Timeout(5.0)]
    await asyncio.gather(*(client.get(key, timeout=limits[at % 2]) for at, key in enumerate(names(20))))
    assert wire.counts == {GET: 2, TXN: 2}


# Writing


async def test_sets_of_one_batch_share_a_revision(client: aetcd.Client, wire: Wire) -> None:
    """Each answer is that of a plain one."""
    keys = names(20)
    await client.set(keys[3], "old")
    before = await client.get(keys[3], full=True)
    wire.clear()
    done = await asyncio.gather(*(client.set(key, f"value of {key}", full=True) for key in keys))
    assert wire.counts == {PUT: 2, TXN: 1}
    assert len({result.revision for result in done[2:]}) == 1
    for key, result in zip(keys, done, strict=True):
        found = await client.get(key, full=True)
        assert found is not None
        assert (found.node.raw, found.node.modified_revision) == (f"value of {key}".encode(), result.revision)
        assert result.node.created_revision == found.node.created_revision
    assert before is not None
    assert done[3].previous == before.node


async def test_sets_of_one_key_are_applied_in_order(client: aetcd.Client, wire: Wire) -> None:
    """The last call is what stands there, and each made a revision of its own."""
    calls = [(key, str(turn)) for turn in range(5) for key in names(8)]
    done = await asyncio.gather(*(client.set(key, value, full=True) for key, value in calls))
    for key in names(8):
        revisions = [result.revision for result in done if result.node.key == key]
        assert revisions == sorted(set(revisions))
        assert len(revisions) == 5
        assert await client.get(key) == "4"
    assert wire.counts[TXN] < 12


async def test_sets_with_ttl_and_session(client: aetcd.Client) -> None:
    """A lease travels with its own set, and one that is gone fails its own only."""
    keys = names(20)
    async with client.session(60) as session:
        calls = [
            client.set(key, "x", ttl=300 if at % 3 == 1 else None, session=session if at % 3 == 2 else None)
            for at, key in enumerate(keys)
        ]
        await asyncio.gather(*calls)
        ttls = await asyncio.gather(*map(client.ttl, keys))
        assert [ttl and ttl > 100 for ttl in ttls] == [[None, True, False][at % 3] for at in range(20)]
        lease = session.require()
        await client.v3.lease.revoke(lease.id)  # type: ignore[attr-defined]
        calls = [client.set(key, "y", session=session if at == 5 else None) for at, key in enumerate(keys)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(done.pop(5), LeaseNotFound)
        assert done == [None] * 19
    assert await client.get(keys[4]) == "y"


async def test_a_value_that_is_too_large_fails_its_caller_only(client: aetcd.Client, wire: Wire) -> None:
    """The limit of the server is 1.5 MiB for one request."""
    values = ["x" * (2 << 20) if at == 10 else "x" * 100_000 for at in range(20)]
    done = await asyncio.gather(
        *(client.set(key, value) for key, value in zip(names(20), values, strict=True)), return_exceptions=True
    )
    assert isinstance(done.pop(10), RequestTooLarge)
    assert done == [None] * 19
    assert wire.counts[TXN] >= 3


# Faults


async def test_killed_in_the_middle_of_writes(server: EtcdServer, wire: Wire) -> None:
    """Nobody is told that his write failed, or was done: the outcome is unknown to all of the batch."""
    async with connected(server.url, wire=wire) as client:
        # The connections are there: what follows is written at once.
        await filled(client, names(20))
        await client.set(names(1)[0], "alone")
        wire.clear()
        await server.members[0].pause()
        tasks = [asyncio.create_task(client.set(key, "x")) for key in names(20)]
        await wire.until(TXN)
        await server.members[0].kill()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in found} == {OutcomeUnknown}
        assert wire.counts == {PUT: 2, TXN: 1}
        first, last = found[2], found[-1]
        assert isinstance(first, OutcomeUnknown)
        assert isinstance(last, OutcomeUnknown)
        assert first.peer == server.url
        assert first.request.operation == PUT
        assert first.request.body != last.request.body


async def test_reads_fail_over(cluster: EtcdCluster, wire: Wire) -> None:
    """A member is killed while batches are under way: every get is answered, none is wrong."""
    async with connected(*cluster.peers, wire=wire) as client:
        keys = names(32)
        await filled(client, keys)
        wire.clear()
        dead = next(member for member in cluster.members if member is not None)

        async def caller(key: str) -> None:
            for _ in range(30):
                assert await client.get(key, timeout=20) == f"value of {key}"

        tasks = [asyncio.create_task(caller(key)) for key in keys]
        await wire.until(TXN, 6)
        assert dead.url in wire.peers
        await dead.kill()
        await asyncio.gather(*tasks)


async def test_closing_the_client(server: EtcdServer, wire: Wire) -> None:
    """Who reads, or waits for a turn, gets ClientClosed; whose write is under way OutcomeUnknown."""
    async with connected(server.url, wire=wire) as client:
        await server.members[0].pause()
        reads = [asyncio.create_task(client.get(key)) for key in names(20)]
        writes = [asyncio.create_task(client.set(key, "x")) for key in names(100)]
        await wire.until(TXN, 3)
        behind = [asyncio.create_task(client.set(f"x{key}", "x")) for key in names(20)]
        await asyncio.sleep(0)
        await client.aclose()
        async with asyncio.timeout(1):
            told = await asyncio.gather(*reads, *behind, *writes, return_exceptions=True)
        assert {type(error) for error in told[:40]} == {ClientClosed}
        assert {type(error) for error in told[40:]} == {OutcomeUnknown}
        with pytest.raises(ClientClosed):
            await client.get("a")


async def test_an_error_of_the_users_own_code_reaches_all(etcd: EtcdServer, wire: Wire) -> None:
    """A balancing policy that raises: nobody of the batch is left waiting."""

    class Broken(Exception):
        pass

    class Policy:
        good = 100

        def pick(self, candidates: Any) -> Any:
            self.good -= 1
            if self.good < 0:
                raise Broken
            return candidates[0]

    policy = Policy()
    async with connected(etcd.url, wire=wire, balance=policy) as client:
        policy.good = 2
        async with asyncio.timeout(2):
            found = await asyncio.gather(*map(client.get, names(10)), return_exceptions=True)
    assert [type(told) for told in found] == [type(None)] * 2 + [Broken] * 8


async def test_closing_the_client_at_the_moment_a_batch_sets_off(server: EtcdServer, wire: Wire) -> None:
    """It is taken by a job that carried one before: nobody is left waiting."""
    async with connected(server.url, wire=wire) as client:
        await filled(client, names(20))
        await server.members[0].pause()
        wire.clear()
        reads = [asyncio.create_task(client.get(key)) for key in names(20)]
        await asyncio.sleep(0)  # they wait for the end of this turn
        closing = asyncio.create_task(client.aclose())
        async with asyncio.timeout(5):
            told = await asyncio.gather(*reads, return_exceptions=True)
            await closing
        assert {type(error) for error in told} == {ClientClosed}


async def test_one_job_carries_batch_after_batch(etcd: EtcdServer, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is begun for each that is under way at a time, and for no more."""
    begun: list[str] = []
    spawn = Pool.spawn

    def spy(self: Pool, function: Any, *, name: str) -> Any:
        begun.append(name)
        return spawn(self, function, name=name)

    monkeypatch.setattr(Pool, "spawn", spy)
    async with connected(etcd.url, wire=wire) as client:
        for _ in range(10):
            await asyncio.gather(*map(client.get, names(20)))
        assert wire.counts[TXN] == 10
        assert begun.count("coalesced requests") == 1


async def test_batches_leave_nothing_to_the_collector(etcd: EtcdServer, wire: Wire) -> None:
    """A batch and its members know each other, while it lasts."""
    async with connected(etcd.url, wire=wire) as client:
        await filled(client, names(20))
        with circles() as found:
            for _ in range(10):
                await asyncio.gather(*map(client.get, names(20)))
                await asyncio.gather(*(client.set(name, "x") for name in names(20)))
        assert found == {}
