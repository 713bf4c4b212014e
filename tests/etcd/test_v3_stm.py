from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from functools import partial, wraps
from typing import Any

import pytest
from v3_servers import connected

from aetcd.errors import (
    CompareFailed,
    ConnectFailed,
    NoPeerAvailable,
    OutcomeUnknown,
    RequestTooLarge,
    RevisionCompacted,
)
from aetcd.etcd.v3 import V3, Put, Transaction
from aetcd.testing import EtcdServer, TCPProxy


@pytest.fixture
def server(etcd: EtcdServer) -> EtcdServer:
    return etcd


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


async def value(v3: V3, key: str) -> bytes | None:
    found = (await v3.range(key)).kvs
    return found[0].value if found else None


async def test_block(v3: V3, prefix: str) -> None:
    """What it wrote is there at one revision, and was not before its end."""
    await v3.put(prefix + "a", "1")
    await v3.put(prefix + "gone", "1")
    async with v3.stm() as txn:
        txn.put(prefix + "b", (await txn.get(prefix + "a") or b"") + b"2")
        txn.put(prefix + "c", "3")
        txn.delete(prefix + "gone")
        assert await value(v3, prefix + "b") is None
        assert txn.revision == 0
    found = (await v3.range(prefix, prefix=True)).kvs
    assert [(kv.key.decode().removeprefix(prefix), kv.value) for kv in found] == [
        ("a", b"1"),
        ("b", b"12"),
        ("c", b"3"),
    ]
    assert {kv.mod_revision for kv in found[1:]} == {txn.revision}


async def test_sees_its_own_writes(v3: V3, prefix: str) -> None:
    """And nobody else's, of later."""
    await v3.put(prefix + "a", "1")
    async with v3.stm() as txn:
        txn.put(prefix + "a", "2")
        assert await txn.get(prefix + "a") == b"2"
        txn.delete(prefix + "a")
        assert await txn.get(prefix + "a") is None
        txn.put(prefix + "a", "3")
    assert await value(v3, prefix + "a") == b"3"


async def test_lease(v3: V3, prefix: str) -> None:
    """A written key can end with a lease."""
    lease = (await v3.lease.grant(60)).id
    async with v3.stm() as txn:
        txn.put(prefix + "a", "1", lease=lease)
    assert (await v3.range(prefix + "a")).kvs[0].lease == lease
    await v3.lease.revoke(lease)


async def test_reads_of_one_revision(v3: V3, prefix: str) -> None:
    """What is written by others in between is not seen; a reader alone is not disturbed by it."""
    await v3.put(prefix + "a", "1")
    await v3.put(prefix + "b", "1")
    async with v3.stm() as txn:
        first = await txn.get(prefix + "a")
        await v3.txn().then(*(Put(prefix + key, "2") for key in "abc"))
        assert (first, await txn.get(prefix + "b"), await txn.get(prefix + "c")) == (b"1", b"1", None)
    assert txn.revision < (await v3.range(prefix + "a")).kvs[0].mod_revision


async def test_concurrent_reads(v3: V3, prefix: str) -> None:
    """Of one transaction are of one revision too, also where all of them are the first."""
    keys = [prefix + str(i) for i in range(8)]

    async def write() -> None:
        number = 0
        while True:
            number += 1
            await v3.txn().then(*(Put(key, str(number)) for key in keys))

    writer = asyncio.ensure_future(write())
    try:
        for _ in range(20):
            async with v3.stm() as txn:
                assert len(set(await asyncio.gather(*map(txn.get, keys)))) == 1
    finally:
        writer.cancel()
        await asyncio.wait([writer])


CONFLICTS: dict[str, Any] = {
    "changed": lambda v3, key: v3.put(key + "read", "other"),
    "deleted": lambda v3, key: v3.delete_range(key + "read"),
    "made anew with the same value": lambda v3, key: v3.put(key + "read", "1"),
    "what was not there was made": lambda v3, key: v3.put(key + "absent", "1"),
    "written too": lambda v3, key: v3.put(key + "written", "other"),
}


@pytest.mark.parametrize("case", CONFLICTS)
async def test_conflict(v3: V3, prefix: str, case: str) -> None:
    """A plain write by somebody else to what a block read or writes: nothing of the block is written."""
    await v3.put(prefix + "read", "1")
    with pytest.raises(CompareFailed, match="nothing was written"):
        async with v3.stm() as txn:
            assert (await txn.get(prefix + "read"), await txn.get(prefix + "absent")) == (b"1", None)
            txn.put(prefix + "written", "mine")
            await CONFLICTS[case](v3, prefix)
    assert await value(v3, prefix + "written") != b"mine"


async def test_no_conflict(v3: V3, prefix: str) -> None:
    """Without a read nothing is checked; other keys do not matter."""
    async with v3.stm() as txn:
        txn.put(prefix + "a", "mine")
        await v3.put(prefix + "a", "other")
    assert await value(v3, prefix + "a") == b"mine"
    async with v3.stm() as txn:
        await txn.get(prefix + "a")
        txn.put(prefix + "b", "mine")
        await v3.put(prefix + "c", "other")
    assert await value(v3, prefix + "b") == b"mine"


async def test_decorated(v3: V3, prefix: str) -> None:
    """A function is run again after a conflict, and its result is the caller's."""
    runs: list[bytes | None] = []

    @v3.stm()
    async def append(txn: Transaction, key: str, *, text: bytes) -> int:
        """Named."""
        old = await txn.get(key)
        runs.append(old)
        if len(runs) == 1:
            await v3.put(key, "other")
        txn.put(key, (old or b"") + text)
        return len(runs)

    assert await append(prefix + "a", text=b"+mine") == 2
    assert runs == [None, b"other"]
    assert await value(v3, prefix + "a") == b"other+mine"
    assert append.__doc__ == "Named."


class Longest(random.Random):
    """Chooses the longest pause there may be."""

    def uniform(self, a: float, b: float) -> float:
        return b


async def test_attempts(v3: V3, prefix: str) -> None:
    """A function that is always overtaken ends with the conflict, after as many runs as were allowed."""
    runs = 0

    async def slow(txn: Transaction) -> None:
        nonlocal runs
        runs += 1
        txn.put(prefix + "b", await txn.get(prefix + "a") or b"")
        await v3.put(prefix + "a", str(runs))

    with pytest.raises(CompareFailed):
        await v3.stm(attempts=3).run(slow)
    assert runs == 3
    # Pauses of 5, 10, 20, 40, 80 and 160 ms, and no time for the next one.
    limited = v3.stm(attempts=1_000_000, timeout=0.6)
    limited.random = Longest()
    with pytest.raises(CompareFailed):
        await limited.run(slow)
    assert runs == 3 + 7


async def test_errors_of_the_code_itself(v3: V3, prefix: str) -> None:
    """They are passed on, not tried again, and nothing is written; also those that look like a conflict."""
    runs = 0

    async def fail(txn: Transaction, error: Exception) -> None:
        nonlocal runs
        runs += 1
        txn.put(prefix + "a", "1")
        raise error

    for error in (ZeroDivisionError("mine"), CompareFailed("mine"), RevisionCompacted("mine")):
        with pytest.raises(type(error), match="mine"):
            await v3.stm().run(fail, error)
        with pytest.raises(type(error), match="mine"):
            async with v3.stm() as txn:
                await fail(txn, error)
    assert runs == 6
    assert await value(v3, prefix + "a") is None


async def test_compacted_while_it_ran(v3: V3, prefix: str) -> None:
    """Its revision cannot be read any more: a function is run again, with a newer one."""
    runs = 0
    await v3.put(prefix + "a", "1")

    async def slow(txn: Transaction) -> bytes | None:
        nonlocal runs
        runs += 1
        await txn.get(prefix + "a")
        if runs == 1:
            await v3.put(prefix + "b", "1")
            await v3.compact((await v3.put(prefix + "b", "2")).header.revision)
        return await txn.get(prefix + "b")

    assert await v3.stm().run(slow) == b"2"
    assert runs == 2


async def test_after_its_end(v3: V3, prefix: str) -> None:
    """It takes nothing more."""
    async with v3.stm() as txn:
        pass
    with pytest.raises(RuntimeError, match="over"):
        txn.put(prefix + "a", "1")
    with pytest.raises(RuntimeError, match="over"):
        txn.delete(prefix + "a")
    with pytest.raises(RuntimeError, match="over"):
        await txn.get(prefix + "a")
    stm = v3.stm()
    async with stm:
        with pytest.raises(RuntimeError, match="entered already"):
            await stm.__aenter__()


async def test_bad_input(v3: V3, prefix: str) -> None:
    """Named where it is given."""
    async with v3.stm() as txn:
        for call, error, named in (
            (lambda: txn.put("", "1"), ValueError, "key"),
            (lambda: txn.put(prefix, 1), TypeError, "value"),
            (lambda: txn.put(prefix, "1", lease=-1), ValueError, "lease"),
            (lambda: txn.delete(""), ValueError, "key"),
        ):
            with pytest.raises(error, match=named):
                call()
        with pytest.raises(TypeError, match="key"):
            await txn.get(1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="lease"):
            txn.put(prefix, "1", lease=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="attempts"):
        v3.stm(attempts=0)
    with pytest.raises(ValueError, match="timeout"):
        v3.stm(timeout=-1)
    with pytest.raises(TypeError, match="timeout"):
        v3.stm(timeout="1")  # type: ignore[arg-type]


def plain(txn: Transaction) -> None:
    """Would be over before anything was read."""


async def gives(txn: Transaction) -> str:
    return "done"


async def generates(txn: Transaction) -> AsyncIterator[int]:
    yield 1


class Giver:
    async def __call__(self, txn: Transaction) -> str:
        return await gives(txn)


@wraps(gives)
def handed_on(txn: Transaction) -> Any:
    return gives(txn)


@wraps(plain)
async def made_async(txn: Transaction) -> str:
    return await gives(txn)


@pytest.mark.parametrize("function", [plain, generates, lambda txn: None, "x", Giver])
async def test_decorating_what_is_not_async(v3: V3, function: Any) -> None:
    """It is told where it is decorated, and not when it is called."""
    with pytest.raises(TypeError, match=r"^function must be an async def, not"):
        v3.stm()(function)


@pytest.mark.parametrize("function", [gives, Giver(), partial(gives), handed_on, made_async])
async def test_decorating_what_is_async(v3: V3, function: Any) -> None:
    """By itself, or by what is around or within it."""
    assert await v3.stm()(function)() == "done"


async def test_running_what_is_not_async(v3: V3, prefix: str) -> None:
    """Whatever gives an awaitable can be run; for other nothing is written."""
    assert await v3.stm().run(handed_on) == "done"
    with pytest.raises(TypeError, match=r"^function must be async: it gave NoneType"):
        await v3.stm().run(lambda txn: txn.put(prefix + "a", "1"))  # type: ignore[arg-type,return-value]
    assert await value(v3, prefix + "a") is None


async def test_repr(v3: V3, prefix: str) -> None:
    """How far it is; no keys and values."""
    assert repr(v3.stm(attempts=3, timeout=2)) == "<STM attempts=3 timeout=2>"
    async with v3.stm() as txn:
        assert repr(txn) == "<Transaction read=0 written=0>"
        await txn.get(prefix + "a")
        txn.put(prefix + "b", "secret")
        assert re.fullmatch(r"<Transaction at revision \d+ read=1 written=1>", repr(txn))
    assert repr(txn) == f"<Transaction, over at revision {txn.revision} read=1 written=1>"


async def test_too_large(v3: V3, prefix: str) -> None:
    """More keys than one transaction of the server takes."""
    with pytest.raises(RequestTooLarge):
        async with v3.stm() as txn:
            for i in range(129):
                txn.put(prefix + str(i), "1")


async def test_outcome_unknown(server: EtcdServer, prefix: str) -> None:
    """A commit without an answer is said to be open, and the function is not run again."""
    runs = 0
    async with TCPProxy(server.url) as proxy, connected([proxy.url], timeout=1.0) as v3:

        async def write(txn: Transaction) -> None:
            nonlocal runs
            runs += 1
            txn.put(prefix + "a", await txn.get(prefix + "a") or b"1")
            proxy.stall()

        with pytest.raises(OutcomeUnknown):
            await v3.stm().run(write)
    assert runs == 1


async def test_no_peer(prefix: str) -> None:
    """A server that is not there is not a conflict."""
    async with connected(["http://127.0.0.1:1"], prefix="/v3") as v3:
        with pytest.raises((ConnectFailed, NoPeerAvailable)):
            async with v3.stm(timeout=1) as txn:
                await txn.get(prefix)


async def test_bank(v3: V3, prefix: str) -> None:
    """Twenty tasks move money between five accounts: none is made or lost, and nobody ever sees a wrong sum."""
    accounts = [f"{prefix}{i}" for i in range(5)]
    for account in accounts:
        await v3.put(account, "100")
    rng = random.Random(7)
    moved = 0

    @v3.stm(timeout=60)
    async def move(txn: Transaction, source: str, target: str, amount: int) -> bool:
        has, gets = int(await txn.get(source) or 0), int(await txn.get(target) or 0)
        if has < amount:
            return False
        txn.put(source, str(has - amount))
        txn.put(target, str(gets + amount))
        return True

    async def teller() -> None:
        nonlocal moved
        for _ in range(3):
            source, target = rng.sample(accounts, 2)
            done = await move(source, target, rng.randint(1, 60))
            moved += done

    async def auditor() -> None:
        for _ in range(10):
            async with v3.stm() as txn:
                assert sum([int(await txn.get(account) or 0) for account in accounts]) == 500

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(teller())
        group.create_task(auditor())
    assert moved > 20
    kvs = (await v3.range(prefix, prefix=True)).kvs
    assert sum(int(kv.value) for kv in kvs) == 500
    # Each transfer wrote two keys, and none was written in part.
    assert sum(kv.version - 1 for kv in kvs) == 2 * moved
