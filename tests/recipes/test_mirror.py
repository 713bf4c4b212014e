"""A mirror: complete, never stale without saying so, and as it was again after every loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from attrs import frozen

import aetcd
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
Proxy = Callable[[str], Awaitable[TCPProxy]]


@frozen
class Limits:
    most: int


async def test_it_is_ready_and_follows(client: aetcd.Client, other: aetcd.Client, eventually: Eventually) -> None:
    """All that exists when it is entered, and every change after."""
    await other.set("config/a", "1")
    await other.set("config/deep/b", "2")
    await other.set("config-x", "not under it")
    async with client.mirror("config") as mirror:
        assert [mirror.fresh, mirror.age < 3] == [True, True]
        assert dict(mirror) == {"config/a": "1", "config/deep/b": "2"}
        assert len(mirror) == 2
        assert "config/a" in mirror
        assert mirror.get("config/none") is None
        with pytest.raises(KeyError):
            mirror["config/none"]
        result = await other.set("config/a", "3", full=True)
        await other.delete("config/deep/b")
        await eventually(lambda: dict(mirror) == {"config/a": "3"})
        assert mirror.revision > result.revision
        assert repr(mirror) == f"<Mirror of 'config': 1 keys at revision {mirror.revision}>"
    assert [mirror.fresh, dict(mirror)] == [False, {"config/a": "3"}]
    with pytest.raises(aetcd.WatchError):
        async with mirror:
            pass


async def test_values_are_read_as_their_type(client: aetcd.Client, eventually: Eventually) -> None:
    """One object until it changes; one that does not fit is an error of its own key alone."""
    await client.set("config/a", Limits(3))
    await client.set("config/b", "no limits")
    async with client.mirror("config", type=Limits) as mirror:
        assert mirror["config/a"] == Limits(3)
        assert mirror["config/a"] is mirror["config/a"]
        with pytest.raises(aetcd.DecodeError, match="config/b"):
            mirror["config/b"]
        await client.set("config/b", Limits(4))
        await eventually(lambda: mirror.revision and mirror._cells["config/b"].raw != b"no limits")
        assert mirror["config/b"] == Limits(4)


async def test_differences(client: aetcd.Client) -> None:
    """What changes, with the value before and after; all of them where the reader keeps up."""
    await client.set("config/a", "1")
    async with asyncio.timeout(10), client.mirror("config", type=int) as mirror:
        differences = mirror.differences()
        for write, expected in (
            (client.set("config/a", "2"), ("put", "config/a", 2, 1)),
            (client.set("config/b", "3"), ("put", "config/b", 3, None)),
            (client.delete("config/a"), ("delete", "config/a", None, 2)),
        ):
            await write
            found = await anext(differences)
            assert (found.kind, found.key, found.value, found.previous) == expected
            assert found.raw == (None if expected[2] is None else str(expected[2]).encode())
        reading = asyncio.ensure_future(anext(differences))
        await asyncio.sleep(0)
        assert not reading.done()
    with pytest.raises(aetcd.WatchError, match="config"):
        await reading


async def test_a_slow_reader(client: aetcd.Client, eventually: Eventually) -> None:
    """Is told the latest of each key, once, and nothing of what came and went."""
    await client.set("config/a", "0")
    async with client.mirror("config", type=int) as mirror:
        differences = mirror.differences()
        for n in range(1, 6):
            await client.set("config/a", str(n))
        await client.set("config/passing", "1")
        await client.delete("config/passing")
        await client.set("config/b", "1")
        await eventually(lambda: "config/b" in mirror)
        batch = await differences.batch()
        assert [(found.key, found.value, found.previous) for found in batch] == [
            ("config/a", 5, 0),
            ("config/b", 1, None),
        ]


async def test_callbacks(client: aetcd.Client, eventually: Eventually) -> None:
    """Called after each change, in order, until they are ended; a failing one harms nobody."""
    told: list[tuple[str, int | None]] = []
    wrong: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context["exception"]))

    def fail(found: aetcd.Difference[int]) -> None:
        raise ZeroDivisionError

    async with client.mirror("config", type=int) as mirror:
        end_failing = mirror.on_change(fail)
        end = mirror.on_change(lambda found: told.append((found.key, found.value)))
        for n in range(5):
            await client.set("config/a", str(n))
        await eventually(lambda: len(told) == 5)
        assert told == [("config/a", n) for n in range(5)]
        assert [type(error) for error in wrong] == [ZeroDivisionError] * 5
        end_failing()
        end()
        end()
        await client.set("config/a", "9")
        await eventually(lambda: mirror["config/a"] == 9)
    assert len(told) == len(wrong) == 5


async def test_a_connection_that_is_cut(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Proxy, eventually: Eventually
) -> None:
    """It keeps what it had and says that it is stale; then it has all that happened meanwhile."""
    middle = await proxy(etcd.url)
    far = await connect(middle.url)
    await client.set("config/a", "1")
    async with far.mirror("config") as mirror:
        differences = mirror.differences()
        middle.refuse()
        middle.cut()
        await eventually(lambda: not mirror.fresh)
        await client.set("config/a", "2")
        await client.set("config/b", "1")
        await client.delete("config/b")
        await client.set("config/c", "3")
        assert dict(mirror) == {"config/a": "1"}
        first = mirror.age
        await eventually(lambda: mirror.age > first + 0.1)
        middle.resume()
        await eventually(lambda: mirror.fresh and len(mirror) == 2, 20)
        assert dict(mirror) == {"config/a": "2", "config/c": "3"}
        seen = {found.key: found.value for found in await differences.batch()}
        assert seen.items() <= {"config/a": "2", "config/b": None, "config/c": "3"}.items()


async def test_a_silent_server(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Proxy, eventually: Eventually
) -> None:
    """Nothing is cut and nothing comes: it is stale within seconds, and fresh again after."""
    middle = await proxy(etcd.url)
    far = await connect(middle.url)
    async with far.mirror("config") as mirror:
        await eventually(lambda: mirror.fresh)
        middle.stall()
        await eventually(lambda: not mirror.fresh, 4.5)
        assert mirror.age >= 2.5
        await client.set("config/a", "1")
        middle.resume()
        await eventually(lambda: mirror.fresh and dict(mirror) == {"config/a": "1"}, 20)


async def test_a_machine_that_slept(timed: aetcd.Client, clock: Any, eventually: Eventually) -> None:
    """What was fresh before is not so the moment it wakes, until the cluster has answered again."""
    async with timed.mirror("config") as mirror:
        fresh = [mirror.fresh]
        clock.ahead += 100
        assert [*fresh, mirror.fresh] == [True, False]
        assert mirror.age >= 97
        await eventually(lambda: mirror.fresh)
        assert mirror.age < 3


async def test_lost_history(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Proxy, eventually: Eventually, protocol: str
) -> None:
    """It is read anew, and what differs is told, deletions included."""
    middle = await proxy(etcd.url)
    far = await connect(middle.url)
    for key in "abc":
        await client.set(f"config/{key}", "1")
    async with far.mirror("config") as mirror:
        differences = mirror.differences()
        middle.refuse()
        middle.cut()
        await eventually(lambda: not mirror.fresh)
        await client.set("config/a", "2")
        await client.delete("config/b")
        await client.set("config/d", "4")
        if protocol == "v3":
            revision = (await client.get("config/d", full=True)).revision  # type: ignore[union-attr]
            await client.v3.compact(revision)
        else:
            for n in range(1100):  # a server of v2 keeps the last 1000
                await client.v2.set("noise", str(n))
        middle.resume()
        await eventually(lambda: mirror.fresh and "config/d" in mirror, 20)
        assert dict(mirror) == {"config/a": "2", "config/c": "1", "config/d": "4"}
        assert {found.key: found.kind for found in await differences.batch()} == {
            "config/a": "put",
            "config/b": "delete",
            "config/d": "put",
        }
        await client.set("config/c", "3")
        await eventually(lambda: mirror["config/c"] == "3")


async def test_another_cluster(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Proxy, eventually: Eventually, prefix: str
) -> None:
    """As after a restore from a backup: its revisions are lower, and what is there now counts."""
    middle = await proxy(etcd.url)
    far = await connect(middle.url)
    async with EtcdServer(binary=etcd.binary) as fresh, await connect(fresh.url) as there:
        for n in range(20):
            await client.set("config/a", f"before {n}")
        await client.set("config/b", "before")
        await there.set("config/a", "after")
        await there.set("config/c", "after")
        async with far.mirror("config") as mirror:
            differences = mirror.differences()
            far.use_peers([fresh.url])
            middle.refuse()
            middle.cut()
            await eventually(lambda: dict(mirror) == {"config/a": "after", "config/c": "after"}, 30)
            assert {found.key: found.kind for found in await differences.batch()} == {
                "config/a": "put",
                "config/b": "delete",
                "config/c": "put",
            }
            await eventually(lambda: mirror.fresh, 30)
            await there.set("config/a", "later")
            await eventually(lambda: mirror["config/a"] == "later")
            await there.delete("config/a")
            await eventually(lambda: "config/a" not in mirror)


async def test_a_closed_client(connect: Connect) -> None:
    """Ends it: readers are told, and it is not fresh."""
    closing = await connect()
    await closing.set("config/a", "1")
    async with closing.mirror("config") as mirror:
        reading = asyncio.ensure_future(anext(mirror.differences()))
        await asyncio.sleep(0)
        await closing.aclose()
        with pytest.raises(aetcd.ClientClosed):
            await reading
        assert not mirror.fresh
        assert mirror["config/a"] == "1"


async def test_the_root(client: aetcd.Client, eventually: Eventually) -> None:
    """The empty prefix is all of the namespace."""
    async with client.mirror("") as mirror:
        await client.set("a", "1")
        await client.set("b/c", "2")
        await eventually(lambda: dict(mirror) == {"a": "1", "b/c": "2"})
        assert mirror.fresh


async def test_many_keys(client: aetcd.Client, protocol: str, eventually: Eventually) -> None:
    """It follows many changes of many keys, and ends at what the store holds."""
    async with client.mirror("many", type=int) as mirror:
        async with asyncio.timeout(30):
            for start in range(0, 500, 50):
                await asyncio.gather(*(client.set(f"many/{n}", str(n)) for n in range(start, start + 50)))
            await asyncio.gather(*(client.delete(f"many/{n}") for n in range(100)))
        await eventually(lambda: len(mirror) == 400 and mirror.fresh)
        assert sum(mirror.values()) == sum(range(100, 500))


async def test_bad_arguments_of_a_mirror(client: aetcd.Client) -> None:
    """Are named, before anything is sent."""
    with pytest.raises(TypeError, match="key"):
        client.mirror(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="type"):
        client.mirror("config", type=object())
    mirror = client.mirror("config")
    with pytest.raises(TypeError, match="callback"):
        mirror.on_change("not a function")  # type: ignore[arg-type]
    assert not mirror.fresh
    assert mirror.age == float("inf")
