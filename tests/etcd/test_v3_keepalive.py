from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from v3_servers import connected

from aetcd.errors import ClientClosed, ConnectFailed, LeaseNotFound, NoPeerAvailable, RequestTimeout, SessionLost
from aetcd.etcd.v3 import V3
from aetcd.etcd.v3._keepalive import AT_ONCE
from aetcd.testing import EtcdServer, TCPProxy


@pytest.fixture
def server(etcd: EtcdServer) -> EtcdServer:
    return etcd


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, v3: V3) -> list[tuple[str | None, int]]:
    """Each keep-alive on the wire: its peer, and how many leases it renews."""
    seen: list[tuple[str | None, int]] = []
    send = type(v3.gateway.channel).send

    async def spy(self: Any, request: Any, **options: Any) -> Any:
        if request.operation == "v3 lease keep-alive":
            seen.append((options["peer"], request.body.count(b"ID")))
            assert len(request.body) <= 512
        return await send(self, request, **options)

    monkeypatch.setattr(type(v3.gateway.channel), "send", spy)
    return seen


async def grant(v3: V3, count: int, ttl: int = 60) -> list[int]:
    return [(await v3.lease.grant(ttl)).id for _ in range(count)]


async def test_those_of_one_turn_travel_together(v3: V3, sent: list[tuple[str | None, int]]) -> None:
    """As many as the gateway reads at once, and each caller gets its own lease's answer."""
    leases = await asyncio.gather(*(v3.lease.grant(60 + i) for i in range(50)))
    answers = await asyncio.gather(*(v3.lease.keep_alive_once(lease.id) for lease in leases))
    assert answers == [60 + i for i in range(50)]
    assert sent == [(None, AT_ONCE), (None, AT_ONCE), (None, 50 - 2 * AT_ONCE)]


async def test_one_alone(v3: V3, sent: list[tuple[str | None, int]]) -> None:
    """Goes at once; two calls for one lease are one renewal."""
    (lease,) = await grant(v3, 1)
    assert await v3.lease.keep_alive_once(lease) == 60
    assert await asyncio.gather(v3.lease.keep_alive_once(lease), v3.lease.keep_alive_once(lease)) == [60, 60]
    assert sent == [(None, 1), (None, 1)]


async def test_each_peer_by_itself(v3: V3, server: EtcdServer, sent: list[tuple[str | None, int]]) -> None:
    """A peer that is down fails those that were meant for it only."""
    here, gone = server.peers[0], "http://127.0.0.1:1"
    leases = await grant(v3, 4)
    answers = await asyncio.gather(
        *(v3.lease.keep_alive_once(lease, peer=(here, gone)[i % 2]) for i, lease in enumerate(leases)),
        return_exceptions=True,
    )
    assert sorted(sent, key=str) == [(gone, 2), (here, 2)]
    assert answers[::2] == [60, 60]
    assert all(isinstance(answer, ConnectFailed) for answer in answers[1::2])


async def test_a_dead_one_among_them(v3: V3) -> None:
    """It fails its own caller only."""
    one, two, three = await grant(v3, 3)
    await v3.lease.revoke(two)
    answers = await asyncio.gather(*map(v3.lease.keep_alive_once, (one, two, three)), return_exceptions=True)
    assert (answers[0], answers[2]) == (60, 60)
    assert isinstance(answers[1], LeaseNotFound)


async def test_a_caller_who_gives_up(v3: V3) -> None:
    """The others are answered all the same."""
    one, two = await grant(v3, 2)
    calls = [asyncio.ensure_future(v3.lease.keep_alive_once(lease)) for lease in (one, two)]
    await asyncio.sleep(0)
    calls[0].cancel()
    assert await calls[1] == 60
    assert calls[0].cancelled()


async def test_deadlines_are_each_callers_own(server: EtcdServer) -> None:
    """A short one ends its own call, and the long one goes on."""
    async with TCPProxy(server.url) as proxy, connected([proxy.url]) as v3:
        one, two = await grant(v3, 2)
        proxy.stall()
        began = time.monotonic()
        patient = asyncio.ensure_future(v3.lease.keep_alive_once(one, timeout=30))
        with pytest.raises(RequestTimeout):
            await v3.lease.keep_alive_once(two, timeout=0.3)
        assert time.monotonic() - began < 5
        assert not patient.done()
        proxy.resume()
        assert await patient == 60


async def test_closing(server: EtcdServer) -> None:
    """Whoever waits is told."""
    async with TCPProxy(server.url) as proxy, connected([proxy.url]) as v3:
        (lease,) = await grant(v3, 1)
        proxy.stall()
        call = asyncio.ensure_future(v3.lease.keep_alive_once(lease))
        await asyncio.sleep(0.05)
        await v3.gateway.channel.pool.aclose()
        with pytest.raises(ClientClosed):
            await call
        with pytest.raises(ClientClosed):
            await v3.lease.keep_alive_once(lease)


async def test_kept_alive(v3: V3) -> None:
    """Beyond its TTL, for as long as the block runs; each renewal is told; then it is left to run out."""
    (lease,) = await grant(v3, 1, ttl=2)
    ttl = (await v3.lease.time_to_live(lease)).granted_ttl
    began = time.monotonic()
    async with v3.lease.keep_alive(lease) as kept:
        assert (kept.id, kept.ttl, kept.held, kept.lost.is_set()) == (lease, ttl, True, False)
        async for renewed in kept:
            assert renewed == ttl
            assert 0 < kept.expires_in <= ttl
            if time.monotonic() - began > ttl + 1.5:
                break
        assert (await v3.lease.time_to_live(lease)).ttl >= 0
    assert not kept.held
    assert (await v3.lease.time_to_live(lease)).granted_ttl == ttl
    with pytest.raises(SessionLost):
        await anext(aiter(kept))


async def test_loss_by_the_server(v3: V3) -> None:
    """A lease that was revoked is told as lost at the next renewal."""
    (lease,) = await grant(v3, 1, ttl=2)
    async with v3.lease.keep_alive(lease) as kept:
        await v3.lease.revoke(lease)
        with pytest.raises(SessionLost):
            async for _ in kept:
                pass
        async with asyncio.timeout(1):
            await kept.lost.wait()
        assert (kept.held, kept.expires_in) == (False, 0.0)


async def test_loss_by_silence(server: EtcdServer) -> None:
    """Where no renewal is confirmed it is lost when its TTL is over, and not a moment later."""
    async with TCPProxy(server.url) as proxy, connected([proxy.url]) as v3:
        (lease,) = await grant(v3, 1, ttl=2)
        async with v3.lease.keep_alive(lease) as kept:
            proxy.stall()
            left, began = kept.expires_in, time.monotonic()
            with pytest.raises(SessionLost):
                async for _ in kept:
                    began, left = time.monotonic(), kept.expires_in
            assert time.monotonic() - began < left + 0.5
            assert not kept.held


async def test_one_that_is_not(v3: V3) -> None:
    """It cannot be entered."""
    with pytest.raises(LeaseNotFound):
        async with v3.lease.keep_alive(12345):
            pytest.fail("there is no such lease")
    with pytest.raises(ValueError, match="id"):
        v3.lease.keep_alive(0)
    async with connected(["http://127.0.0.1:1"], prefix="/v3") as gone:
        with pytest.raises((NoPeerAvailable, ConnectFailed)):
            async with gone.lease.keep_alive(1):
                pytest.fail("there is no server")
