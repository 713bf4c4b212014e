from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from v3_servers import connected

from aetcd.errors import InvalidRequest, LeaseExists, LeaseNotFound
from aetcd.etcd.v3 import V3
from aetcd.testing import EtcdServer


@pytest.fixture
def server(etcd: EtcdServer) -> EtcdServer:
    return etcd


@pytest.fixture
async def v3(server: EtcdServer) -> AsyncIterator[V3]:
    async with connected(server.peers) as v3:
        yield v3


async def test_grant_and_revoke(v3: V3) -> None:
    """A lease holds its keys, and takes them with it."""
    key = f"lease/{uuid.uuid4().hex}"
    lease = await v3.lease.grant(60)
    assert (lease.ttl, lease.id > 0) == (60, True)
    await v3.put(key, "1", lease=lease.id)
    assert (await v3.range(key)).kvs[0].lease == lease.id
    left = await v3.lease.time_to_live(lease.id, keys=True)
    assert (left.id, left.granted_ttl, left.keys) == (lease.id, 60, (key.encode(),))
    assert 55 <= left.ttl <= 60
    assert (await v3.lease.time_to_live(lease.id)).keys == ()
    await v3.lease.revoke(lease.id)
    assert (await v3.range(key)).count == 0


async def test_a_chosen_id(v3: V3) -> None:
    """All 63 bits come through, and a second one of it is refused."""
    wanted = uuid.uuid4().int >> 65 | 1 << 62
    assert (await v3.lease.grant(60, wanted)).id == wanted
    with pytest.raises(LeaseExists):
        await v3.lease.grant(60, id=wanted)
    assert wanted in await v3.lease.list()
    await v3.lease.revoke(wanted)
    assert wanted not in await v3.lease.list()


async def test_the_server_raises_short_ones(v3: V3) -> None:
    """What was granted counts, and not what was asked."""
    assert (await v3.lease.grant(1)).ttl >= 2


async def test_keep_alive(v3: V3) -> None:
    """A renewal sets the time back to the whole of it."""
    lease = await v3.lease.grant(30)
    deadline = time.monotonic() + 10
    while (await v3.lease.time_to_live(lease.id)).ttl > 28:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert await v3.lease.keep_alive_once(lease.id) == 30
    assert (await v3.lease.time_to_live(lease.id)).ttl >= 29


async def test_expiry(v3: V3) -> None:
    """Nobody renews it: its key goes, and it with it."""
    key = f"lease/{uuid.uuid4().hex}"
    lease = await v3.lease.grant(1)
    await v3.put(key, "1", lease=lease.id)
    deadline = time.monotonic() + 15
    while (await v3.range(key)).count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    with pytest.raises(LeaseNotFound):
        await v3.lease.keep_alive_once(lease.id)


async def test_a_lease_that_is_not(v3: V3) -> None:
    """Said by the server in three ways, it is the same to the caller."""
    for call in (v3.lease.revoke(12345), v3.lease.keep_alive_once(12345), v3.lease.time_to_live(12345)):
        with pytest.raises(LeaseNotFound):
            await call


async def test_ttl_too_large(v3: V3) -> None:
    """The server's own limit, some 285 years."""
    with pytest.raises(InvalidRequest, match="too large lease TTL"):
        await v3.lease.grant(9_000_000_001)


async def test_effects(v3: V3, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an ID of one's own a grant is sent once: its repetition would be refused as taken."""
    effects: list[str] = []
    send = type(v3.gateway.channel).send

    async def spy(self: Any, request: Any, **options: Any) -> Any:
        effects.append(request.effect.name)
        return await send(self, request, **options)

    await v3.prefix()
    monkeypatch.setattr(type(v3.gateway.channel), "send", spy)
    lease = await v3.lease.grant(60)
    await v3.lease.keep_alive_once(lease.id)
    own = await v3.lease.grant(60, uuid.uuid4().int >> 66 | 1)
    await v3.lease.revoke(own.id)
    assert effects == ["REPEATABLE", "REPEATABLE", "ONCE", "REPEATABLE"]


@pytest.mark.parametrize("ttl", [0, -1, 1 << 63])
async def test_bad_ttl(v3: V3, ttl: int) -> None:
    """Whole seconds of at least 1."""
    with pytest.raises(ValueError, match="ttl"):
        await v3.lease.grant(ttl)


@pytest.mark.parametrize("ttl", [True, 1.5, "5", None])
async def test_ttl_of_a_wrong_type(v3: V3, ttl: Any) -> None:
    """No booleans, fractions or text."""
    with pytest.raises(TypeError, match="ttl"):
        await v3.lease.grant(ttl)


async def test_bad_ids(v3: V3) -> None:
    """0 is no lease, and below there is none."""
    for call in (v3.lease.revoke(0), v3.lease.keep_alive_once(-1), v3.lease.time_to_live(0), v3.lease.grant(5, -1)):
        with pytest.raises(ValueError, match="id"):
            await call


async def test_bad_options(v3: V3) -> None:
    """Named, also where the request is one that others share."""
    for call, named in (
        (v3.lease.keep_alive_once(1, peer=5), "peer"),  # type: ignore[arg-type]
        (v3.lease.time_to_live(1, keys="no"), "keys"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match=f"^{named} must be"):
            await call
