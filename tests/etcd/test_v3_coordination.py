from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator

import pytest
from v3_servers import connected

from aetcd.errors import CompareFailed, LeaseNotFound, OutcomeUnknown, RequestTimeout
from aetcd.etcd.v3 import V3
from aetcd.etcd.v3._coordination import server_deadline
from aetcd.testing import EtcdServer, TCPProxy


@pytest.fixture
def server(etcd: EtcdServer) -> EtcdServer:
    return etcd


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


@pytest.fixture
async def leases(v3: V3) -> AsyncIterator[list[int]]:
    granted = [(await v3.lease.grant(60)).id for _ in range(2)]
    yield granted
    for lease in granted:
        await v3.lease.revoke(lease)


async def contenders(v3: V3, name: str) -> int:
    return (await v3.range(name + "/", prefix=True)).count


async def until(v3: V3, name: str, count: int) -> None:
    async with asyncio.timeout(10):
        while await contenders(v3, name) != count:
            await asyncio.sleep(0.01)


async def test_lock(v3: V3, prefix: str, leases: list[int]) -> None:
    """One has it, the next waits until it is given back; the owner has it again at once."""
    name = prefix + "lock"
    held = await v3.lock.lock(name, leases[0])
    assert held.key == f"{name}/{leases[0]:x}".encode()
    assert (await v3.range(held.key)).kvs[0].lease == leases[0]
    assert (await v3.lock.lock(name, leases[0])).key == held.key
    waiting = asyncio.ensure_future(v3.lock.lock(name, leases[1]))
    await until(v3, name, 2)
    assert not waiting.done()
    await v3.lock.unlock(held.key)
    assert (await waiting).key == f"{name}/{leases[1]:x}".encode()
    await v3.lock.unlock(held.key)  # gone already
    await v3.lock.unlock((await waiting).key)
    assert await contenders(v3, name) == 0


async def test_lock_without_a_lease(v3: V3, prefix: str) -> None:
    """The server makes one of a minute."""
    held = await v3.lock.lock(prefix + "lock")
    lease = (await v3.range(held.key)).kvs[0].lease
    assert (await v3.lease.time_to_live(lease)).granted_ttl == 60
    await v3.lease.revoke(lease)


async def test_lock_not_had_in_time(v3: V3, prefix: str, leases: list[int]) -> None:
    """It is said to be open, and the server takes the contender out of its queue."""
    name = prefix + "lock"
    await v3.lock.lock(name, leases[0])
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        await v3.lock.lock(name, leases[1], timeout=0.5)
    assert 0.4 < time.monotonic() - began < 5
    await until(v3, name, 1)


async def test_the_server_keeps_the_time_too(v3: V3, server: EtcdServer, prefix: str, leases: list[int]) -> None:
    """A contender whose going away is not passed on by a proxy is out of the queue when its time is over."""
    name = prefix + "lock"
    await v3.lock.lock(name, leases[0])
    async with TCPProxy(server.url) as proxy, connected([proxy.url], timeout=1.5) as far:
        waiting = asyncio.ensure_future(far.lock.lock(name, leases[1]))
        await until(v3, name, 2)
        proxy.stall()
        with pytest.raises(OutcomeUnknown):
            await waiting
        await until(v3, name, 1)


async def test_closing_while_a_lock_is_waited_for(v3: V3, server: EtcdServer, prefix: str, leases: list[int]) -> None:
    """Its outcome is open, and that is why."""
    name = prefix + "lock"
    await v3.lock.lock(name, leases[0])
    async with connected(server.peers) as other:
        waiting = asyncio.ensure_future(other.lock.lock(name, leases[1]))
        await until(v3, name, 2)
    with pytest.raises(OutcomeUnknown, match="the client was closed"):
        await waiting
    await until(v3, name, 1)


async def test_cancelled_lock(v3: V3, prefix: str, leases: list[int]) -> None:
    """A contender whose caller went away is taken out of the queue."""
    name = prefix + "lock"
    await v3.lock.lock(name, leases[0])
    waiting = asyncio.ensure_future(v3.lock.lock(name, leases[1]))
    await until(v3, name, 2)
    waiting.cancel()
    await asyncio.wait([waiting])
    await until(v3, name, 1)


async def test_lock_with_a_lease_that_is_not(v3: V3, prefix: str) -> None:
    """Neither a lock nor an office can be tied to it."""
    with pytest.raises(LeaseNotFound):
        await v3.lock.lock(prefix + "lock", 12345)
    with pytest.raises(LeaseNotFound):
        await v3.election.campaign(prefix + "election", "1", 12345)


async def test_lease_that_ends_while_it_waits(v3: V3, prefix: str, leases: list[int], server: EtcdServer) -> None:
    """The contender is told that it has none any more; by 3.4 that it has a lock, of which nothing exists."""
    name = prefix + "lock"
    lease = (await v3.lease.grant(60)).id
    held = await v3.lock.lock(name, leases[0])
    waiting = asyncio.ensure_future(v3.lock.lock(name, lease))
    await until(v3, name, 2)
    await v3.lease.revoke(lease)
    await v3.lock.unlock(held.key)
    if server.binary.at_least(3, 5):
        with pytest.raises(LeaseNotFound):
            await waiting
    else:
        assert (await v3.range((await waiting).key)).count == 0


async def test_election(v3: V3, prefix: str, leases: list[int]) -> None:
    """One leads and says what it likes, the next waits until it resigns."""
    name = prefix + "election"
    assert await v3.election.leader(name) is None
    won = (await v3.election.campaign(name, "one", leases[0])).leader
    assert (won.name, won.key, won.lease) == (name.encode(), f"{name}/{leases[0]:x}".encode(), leases[0])
    leading = await v3.election.leader(name)
    assert leading is not None
    assert (leading.kv.value, leading.kv.create_revision) == (b"one", won.rev)
    await v3.election.proclaim(won, "two")
    assert (await v3.range(won.key)).kvs[0].value == b"two"
    waiting = asyncio.ensure_future(v3.election.campaign(name, b"three", leases[1]))
    await until(v3, name, 2)
    assert not waiting.done()
    await v3.election.resign(won)
    follower = (await waiting).leader
    assert (follower.lease, follower.rev > won.rev) == (leases[1], True)
    await v3.election.resign(won)  # held no longer
    with pytest.raises(CompareFailed, match="not leader"):
        await v3.election.proclaim(won, "four")
    await v3.election.resign(follower)
    assert await v3.election.leader(name) is None


async def test_what_a_campaign_answers_is_good_for_the_rest(v3: V3, prefix: str, leases: list[int]) -> None:
    """It need not be taken apart."""
    name = prefix + "election"
    won = await v3.election.campaign(name, "one", leases[0])
    await v3.election.proclaim(won, "two")
    assert (await v3.range(won.leader.key)).kvs[0].value == b"two"
    await v3.election.resign(won)
    assert await v3.election.leader(name) is None


async def test_campaign_not_won_in_time(v3: V3, prefix: str, leases: list[int]) -> None:
    """As with a lock."""
    name = prefix + "election"
    await v3.election.campaign(name, "one", leases[0])
    with pytest.raises(OutcomeUnknown):
        await v3.election.campaign(name, "two", leases[1], timeout=0.5)
    await until(v3, name, 1)


async def test_observe(v3: V3, prefix: str, leases: list[int]) -> None:
    """It waits for the first leader, and tells of each after."""
    name = prefix + "election"
    told: list[bytes] = []

    async def observe() -> None:
        async with v3.election.observe(name) as leaders:
            async for answer in leaders:
                told.append(answer.kv.value)
                if told[-1] == b"last":
                    return

    observer = asyncio.ensure_future(observe())
    won = (await v3.election.campaign(name, "one", leases[0])).leader
    async with asyncio.timeout(10):
        while told != [b"one"]:
            await asyncio.sleep(0.01)
        await v3.election.proclaim(won, "two")
        while told != [b"one", b"two"]:
            await asyncio.sleep(0.01)
        await v3.election.resign(won)
        await v3.election.campaign(name, "last", leases[1])
        await observer
    assert told == [b"one", b"two", b"last"]


async def test_observe_without_a_leader(v3: V3, prefix: str) -> None:
    """As long as there is none the server is silent: a limit is the caller's to set."""
    with pytest.raises(RequestTimeout):
        async with v3.election.observe(prefix + "election", timeout=0.5):
            pytest.fail("there is no leader")


async def test_bad_input(v3: V3) -> None:
    """Named before it is sent."""
    for call, error, named in (
        (v3.lock.lock(""), ValueError, "name"),
        (v3.lock.lock("a", -1), ValueError, "lease"),
        (v3.lock.unlock(b""), ValueError, "key"),
        (v3.election.campaign("", "1"), ValueError, "name"),
        (v3.election.campaign("a", 1), TypeError, "value"),  # type: ignore[arg-type]
        (v3.election.leader(""), ValueError, "name"),
        (v3.election.proclaim("a", "1"), TypeError, "leader"),  # type: ignore[arg-type]
        (v3.election.resign(None), TypeError, "leader"),  # type: ignore[arg-type]
    ):
        with pytest.raises(error, match=named):
            await call


def test_server_deadline() -> None:
    """In whole units, the next above; of what is longer than eight digits of milliseconds, seconds."""
    assert server_deadline(0.0001) == {"Grpc-Timeout": "1m"}
    assert server_deadline(2.5) == {"Grpc-Timeout": "2500m"}
    assert server_deadline(1_000_000.5) == {"Grpc-Timeout": "1000001S"}
    assert server_deadline(math.inf) == {}
