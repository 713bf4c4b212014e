"""A number that many add to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import aetcd
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]


async def test_adding(client: aetcd.Client, other: aetcd.Client) -> None:
    """The sum is told to who adds, and seen by all; it is stored as text."""
    counter = client.counter("orders")
    assert await counter.value() == 0
    assert await counter.add() == 1
    assert await other.counter("orders").add(41) == 42
    assert await counter.add(-50) == -8
    assert await counter.add(10**30) == 10**30 - 8
    assert await counter.value() == 10**30 - 8
    assert await client.get("orders") == str(10**30 - 8)
    assert repr(counter) == "<Counter 'orders'>"


async def test_nothing_is_lost_and_nothing_twice(client: aetcd.Client, other: aetcd.Client) -> None:
    """Forty additions at the same time, from the first on: each has a sum of its own."""
    async with asyncio.timeout(30):
        sums = await asyncio.gather(*((client, other)[n % 2].counter("orders").add() for n in range(40)))
    assert sorted(sums) == list(range(1, 41))


async def test_deleted_by_hand(client: aetcd.Client) -> None:
    """It begins anew."""
    await client.counter("orders").add(5)
    await client.delete("orders")
    assert await client.counter("orders").value() == 0
    assert await client.counter("orders").add() == 1


async def test_something_else_stands_there(client: aetcd.Client) -> None:
    """DecodeError, which names the key; it stays as it is."""
    await client.set("orders", "many")
    for call in (client.counter("orders").value, client.counter("orders").add):
        with pytest.raises(aetcd.DecodeError, match="orders") as caught:
            await call()
        assert caught.value.key == "orders"
    assert await client.get("orders") == "many"


async def test_an_answer_that_was_lost(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Callable[[str], Awaitable[TCPProxy]]
) -> None:
    """OutcomeUnknown: it may have been added, and was not added twice."""
    await client.counter("orders").add(10)
    middle = await proxy(etcd.url)
    unsure = await connect(middle.url, timeout=3)
    assert await unsure.counter("orders").value() == 10
    middle.cut_after(received=0, match=b"prevIndex" if unsure.status().protocol == "v2" else b"/v3/kv/txn")
    with pytest.raises(aetcd.OutcomeUnknown):
        await unsure.counter("orders").add(1)
    assert await client.counter("orders").value() == 11


async def test_bad_arguments_of_a_counter(client: aetcd.Client) -> None:
    """Are named, before anything is sent."""
    with pytest.raises(ValueError, match="name"):
        client.counter("")
    for bad in (True, 1.5, "1"):
        with pytest.raises(TypeError, match="number"):
            await client.counter("orders").add(bad)  # type: ignore[arg-type]
    assert await client.get("orders") is None
