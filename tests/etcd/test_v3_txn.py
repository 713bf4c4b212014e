from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from v3_servers import connected

from aetcd.errors import InvalidRequest, RequestTooLarge
from aetcd.etcd.v3 import (
    V3,
    Compare,
    CreateRevision,
    Delete,
    DeleteRangeResponse,
    Get,
    Lease,
    ModRevision,
    Put,
    PutResponse,
    RangeResponse,
    Txn,
    TxnResult,
    Value,
    Version,
)
from aetcd.testing import EtcdServer


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


async def holds(v3: V3, *compares: Compare) -> bool:
    return (await v3.txn().when(*compares)).succeeded


async def test_then_and_otherwise(v3: V3, here: str) -> None:
    """The comparison chooses the branch, and each result has its type and its place."""
    await v3.put(here + "a", "1")
    txn = (
        v3.txn()
        .when(Value(here + "a") == b"1", CreateRevision(here + "b") == 0)
        .then(Put(here + "b", "2", prev_kv=True), Get(here, prefix=True), Delete(here + "a", prev_kv=True))
        .otherwise(Get(here + "b"))
    )
    won = await txn
    assert won.succeeded
    put, got, gone = won.results
    assert isinstance(put, PutResponse)
    assert put.prev_kv is None
    assert isinstance(got, RangeResponse)
    assert [kv.value for kv in got.kvs] == [b"1", b"2"]
    assert isinstance(gone, DeleteRangeResponse)
    assert (gone.deleted, gone.prev_kvs[0].value) == (1, b"1")
    lost = await txn.commit(timeout=5)
    assert not lost.succeeded
    (left,) = lost.results
    assert isinstance(left, RangeResponse)
    assert left.kvs[0].value == b"2"
    assert left.kvs[0].mod_revision == won.revision == lost.revision


async def test_writes_share_a_revision(v3: V3, here: str) -> None:
    """All at once: that is what a transaction is."""
    result = await v3.txn().then(Put(here + "a", "1"), Put(here + "b", "2"))
    assert [kv.mod_revision for kv in (await v3.range(here, prefix=True)).kvs] == [result.revision] * 2


async def test_empty(v3: V3) -> None:
    """Nothing to compare holds, nothing to do is done."""
    result = await v3.txn()
    assert (result.succeeded, result.results) == (True, ())


async def test_every_target_and_relation(v3: V3, here: str) -> None:
    """Each property of a key, compared in each way with less, the same and more."""
    lease = (await v3.lease.grant(60)).id
    created = (await v3.put(here + "a", "m")).header.revision
    written = (await v3.put(here + "a", "m", lease=lease)).header.revision
    key = here + "a"
    for subject, less, same, more in (
        (Value(key), "l", "m", "n"),
        (Version(key), 1, 2, 3),
        (CreateRevision(key), created - 1, created, created + 1),
        (ModRevision(key), written - 1, written, written + 1),
        (Lease(key), lease - 1, lease, lease + 1),
    ):
        assert [await holds(v3, subject == x) for x in (less, same, more)] == [False, True, False]
        assert [await holds(v3, subject != x) for x in (less, same, more)] == [True, False, True]
        assert [await holds(v3, subject < x) for x in (less, same, more)] == [False, False, True]
        assert [await holds(v3, subject > x) for x in (less, same, more)] == [True, False, False]


async def test_missing_key(v3: V3, here: str) -> None:
    """Its numbers are 0, and no comparison of its value holds."""
    key = here + "none"
    assert await holds(v3, Version(key) == 0, CreateRevision(key) == 0, ModRevision(key) == 0, Lease(key) == 0)
    assert not await holds(v3, Value(key) == "")
    assert not await holds(v3, Value(key) != "x")


async def test_compare_a_range(v3: V3, here: str) -> None:
    """It must hold for every key of the range."""
    await v3.put(here + "a", "1")
    await v3.put(here + "b", "1")
    assert await holds(v3, Value(here, prefix=True) == "1")
    await v3.put(here + "b", "2")
    assert not await holds(v3, Value(here, prefix=True) == "1")
    assert await holds(v3, Value(here + "a", range_end=here + "b") == "1")
    # Of other tests' keys too, all of which have been written at least once.
    assert await holds(v3, Version(here + "a", from_key=True) > 0)
    assert not await holds(v3, CreateRevision(here + "a", from_key=True) == 0)


async def test_all_comparisons_must_hold(v3: V3, here: str) -> None:
    """One that fails decides, wherever it stands; `when` adds to what it was given before."""
    await v3.put(here + "a", "1")
    good, bad = Value(here + "a") == "1", Version(here + "a") == 7
    assert await holds(v3, good, good)
    assert not await holds(v3, bad, good)
    assert not (await v3.txn().when(good).when(bad)).succeeded


async def test_nested(v3: V3, here: str) -> None:
    """A transaction within takes its own branch, and its results stand at its place."""
    await v3.put(here + "a", "1")
    inner = v3.txn().when(Value(here + "a") == "7").then(Delete(here + "a")).otherwise(Put(here + "c", "3")).build()
    deep = Txn(when=[Version(here + "a") == 1], then=[Get(here + "a")])
    result = await v3.txn().then(Put(here + "b", "2"), inner, Txn(then=[deep]))
    put, lost, outer = result.results
    assert isinstance(put, PutResponse)
    assert isinstance(lost, TxnResult)
    assert (lost.succeeded, [type(x) for x in lost.results]) == (False, [PutResponse])
    assert isinstance(outer, TxnResult)
    (found,) = outer.results
    assert isinstance(found, TxnResult)
    assert found.succeeded
    (got,) = found.results
    assert isinstance(got, RangeResponse)
    assert got.kvs[0].value == b"1"
    assert [kv.value for kv in (await v3.range(here, prefix=True)).kvs] == [b"1", b"2", b"3"]


async def test_a_value_can_be_committed_again(v3: V3, here: str) -> None:
    """A transaction is a value: sent twice it is done twice."""
    txn = Txn(then=(Put(here + "a", "1"),))
    first, second = await v3.commit(txn), await v3.commit(txn)
    assert second.revision == first.revision + 1


async def test_a_value_of_any_iterable(v3: V3, here: str) -> None:
    """What a generator gives is kept, so that it is done each time, and is the same as of a tuple or a list."""
    txn = Txn(
        when=(Version(f"{here}{i}") == 0 for i in range(2)),
        then=(Put(f"{here}{i}", "1") for i in range(3)),
        otherwise=(Get(f"{here}{i}") for i in range(3)),
    )
    same = Txn(when=list(txn.when), then=list(txn.then), otherwise=list(txn.otherwise))
    assert (txn, hash(txn)) == (same, hash(same))
    first, second = await v3.commit(txn), await v3.commit(txn)
    assert (first.succeeded, [type(x) for x in first.results]) == (True, [PutResponse] * 3)
    assert (second.succeeded, [type(x) for x in second.results]) == (False, [RangeResponse] * 3)
    assert (await v3.range(here, prefix=True)).count == 3


def test_a_value_keeps_what_it_was_given() -> None:
    """A list that grows afterwards is another matter."""
    operations = [Put("a", "1")]
    txn = Txn(then=operations)
    operations.append(Put("b", "1"))
    assert txn.then == (Put("a", "1"),)


async def test_commit_takes_a_builder(v3: V3, here: str) -> None:
    """As it is at that moment, as often as it is given; one of another namespace would write elsewhere."""
    txn = v3.txn().then(Put(here + "a", "1"))
    first = await v3.commit(txn)
    second = await v3.commit(txn.then(Put(here + "b", "1")))
    assert [len(answer.results) for answer in (first, second)] == [1, 2]
    inner = v3.namespace(here)
    with pytest.raises(ValueError, match="txn is of another namespace"):
        await inner.commit(txn)
    with pytest.raises(ValueError, match="txn is of another namespace"):
        await v3.commit(inner.txn().then(Put("c", "1")))
    await v3.namespace(here).commit(inner.txn().then(Put("c", "1")))
    assert [kv.key for kv in (await v3.range(here, prefix=True)).kvs] == [(here + x).encode() for x in "abc"]


@pytest.mark.parametrize("bad", [None, "x", True, [Put("a", "1")]])
async def test_commit_takes_nothing_else(v3: V3, bad: Any) -> None:
    """It says what it takes, by the argument's name."""
    with pytest.raises(TypeError, match=r"^txn must be a Txn, or client\.v3\.txn\(\)"):
        await v3.commit(bad)


async def test_read_only_is_sent_as_a_read(v3: V3, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only reads may go to another peer; what writes in either branch may not."""
    effects: list[str] = []
    send = type(v3.gateway.channel).send

    async def spy(self: Any, request: Any, **options: Any) -> Any:
        effects.append(request.effect.name)
        return await send(self, request, **options)

    await v3.prefix()
    monkeypatch.setattr(type(v3.gateway.channel), "send", spy)
    await v3.txn().when(Version(here + "a") == 0).then(Get(here + "a"))
    await v3.txn().then(Get(here + "a")).otherwise(Put(here + "a", "1"))
    assert effects == ["READ", "ONCE"]


async def test_server_refuses(v3: V3, here: str) -> None:
    """A key written twice, and more than 128 operations: nothing of it is done."""
    with pytest.raises(InvalidRequest, match="duplicate key"):
        await v3.txn().then(Put(here + "a", "1"), Put(here + "a", "2"))
    with pytest.raises(RequestTooLarge, match="too many operations"):
        await v3.txn().then(*(Put(f"{here}{i}", "1") for i in range(129)))
    assert (await v3.range(here, prefix=True)).count == 0


def test_comparison_is_no_truth() -> None:
    """`if Value(k) == v` would always be true; it says so instead."""
    with pytest.raises(TypeError, match="when"):
        bool(Value("a") == "1")
    with pytest.raises(TypeError, match="when"):
        (Value("a") == "1") and (Value("b") == "2")


def test_comparison_either_way_round() -> None:
    """The constant may stand on the left."""
    five = 5
    assert (five < Version("a")).to_wire() == (Version("a") > 5).to_wire()
    assert (Version("a") > 5).to_wire() == {"key": b"a", "target": "VERSION", "result": "GREATER", "version": 5}
    assert (ModRevision("a", prefix=True) == 5).to_wire() == {
        "key": b"a",
        "range_end": b"b",
        "target": "MOD",
        "result": "EQUAL",
        "mod_revision": 5,
    }


@pytest.mark.parametrize(
    ("compare", "error", "named"),
    [
        (lambda: Version("") == 1, ValueError, "key"),
        (lambda: Version("a") == -1, ValueError, "version"),
        (lambda: Version("a") == True, TypeError, "version"),  # noqa: E712
        (lambda: CreateRevision("a") == "1", TypeError, "create_revision"),
        (lambda: ModRevision("a") < 1.5, TypeError, "mod_revision"),
        (lambda: Lease("a") == None, TypeError, "lease"),  # noqa: E711
        (lambda: Value("a") == 1, TypeError, "value"),
        (lambda: Value("a", range_end="b", prefix=True) == "1", ValueError, "only one"),
        (lambda: Value("a", from_key=True, prefix=True) == "1", ValueError, "only one"),
        (lambda: Value("a", prefix="x") == "1", TypeError, "prefix"),  # type: ignore[arg-type]
        (lambda: Value("a") == "\ud800", ValueError, "value"),
    ],
)
def test_bad_comparisons(compare: Any, error: type[Exception], named: str) -> None:
    """A comparison that cannot be is refused where it is written."""
    with pytest.raises(error, match=named):
        compare()


BAD_PARTS: list[tuple[str, Any, str]] = [
    ("when", True, "a sequence, not bool"),
    ("when", Value("a") == "1", "a sequence, not Compare"),
    ("when", [True], "comparisons .*, not bool"),
    ("when", [Put("a", "1")], "comparisons .*, not Put"),
    ("then", Put("a", "1"), "a sequence, not Put"),
    ("then", None, "a sequence, not NoneType"),
    ("then", "put", "Put, Get, Delete and Txn, not str"),
    ("then", [Value("a") == "1"], "Put, Get, Delete and Txn, not Compare"),
    ("then", [[Put("a", "1")]], "Put, Get, Delete and Txn, not list"),
    ("otherwise", Txn(), "a sequence, not Txn"),
    ("otherwise", ["x"], "Put, Get, Delete and Txn, not str"),
]


@pytest.mark.parametrize(("name", "given", "told"), BAD_PARTS)
def test_bad_values(name: str, given: Any, told: str) -> None:
    """A transaction that cannot be is refused where it is made, by the argument's name."""
    with pytest.raises(TypeError, match=rf"^{name} (takes|must be) {told}$"):
        Txn(**{name: given})


def test_an_error_of_the_generator_itself_is_passed_on() -> None:
    """It is not taken for a wrong argument."""

    def operations() -> Iterator[Put]:
        yield Put("a", "1")
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        Txn(then=operations())


async def test_bad_operations(v3: V3) -> None:
    """What is none, and what has a bad field; nothing is sent."""
    with pytest.raises(TypeError, match=r"when\(\)"):
        v3.txn().when(True)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"then\(\)"):
        v3.txn().then("put")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"otherwise\(\)"):
        v3.txn().otherwise(Value("a") == "1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="key"):
        await v3.txn().then(Put("", "1"))
    with pytest.raises(TypeError, match=r"^then\(\) takes Put, Get, Delete and Txn, not list$"):
        v3.txn().then([Put("a", "secret")])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^then\(\) takes .*, not TxnBuilder: give its build\(\)$"):
        v3.txn().then(v3.txn())  # type: ignore[arg-type]


async def test_repr(v3: V3) -> None:
    """How much it holds, and where; no values."""
    txn = v3.txn().when(Value("a") == "secret").then(Put("a", "secret"), Get("b"))
    assert repr(txn) == "<TxnBuilder when=1 then=2 otherwise=0>"
    assert repr(v3.namespace("n/").txn()) == "<TxnBuilder below b'n/' when=0 then=0 otherwise=0>"
