"""A client's life: opening, closing, and what it shows of itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import anyio
import pytest

import aetcd
from aetcd.testing import EtcdServer, TCPProxy


@pytest.fixture(params=["v3", "v2"])
def protocol(request: pytest.FixtureRequest) -> str:
    spoken: str = request.param
    return spoken


async def test_opening_sends_nothing() -> None:
    """A dead peer does not matter until the first call."""
    async with TCPProxy("127.0.0.1:1") as proxy:
        client = aetcd.Client(proxy.url)
        await client.open()
        await client.open()
        assert proxy.accepted == 0
        await client.aclose()
        await client.aclose()


async def test_the_first_call_opens_it(etcd35: EtcdServer, prefix: str, protocol: str) -> None:
    """Without `async with` it works until it is closed."""
    client = aetcd.Client(etcd35.url, protocol=protocol)
    try:
        await client.set(f"{prefix}key", "x")
        assert await client.get(f"{prefix}key") == "x"
    finally:
        await client.aclose()
    assert client.status().closed
    assert "closed" in repr(client)


async def test_closed_from_another_task(etcd35: EtcdServer, prefix: str, protocol: str) -> None:
    """Any task may close it: who waits for a change or a lock is told."""
    client = await aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix).__aenter__()
    other = aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix)
    async with other, other.lock("job"):
        waiting = [
            asyncio.ensure_future(client.wait("key")),
            asyncio.ensure_future(client.lock("job").acquire()),
        ]
        async with asyncio.timeout(10):
            while len((await other._store().queue("job")).entries) < 2 or not client.status().watches:
                await asyncio.sleep(0.01)
            await asyncio.gather(client.aclose(), client.aclose())
            results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], aetcd.ClientClosed)
    assert isinstance(results[1], aetcd.ClientClosed | aetcd.SessionLost)


async def test_closed_in_a_cancelled_scope(etcd35: EtcdServer, prefix: str, protocol: str) -> None:
    """Its connections are gone and its sessions ended, whether the scope around it is cancelled or its task."""
    with anyio.CancelScope() as scope:
        async with aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix) as client, client.lock("job"):
            scope.cancel()
            await anyio.sleep_forever()
    assert client.status().closed

    async def hold(held: asyncio.Event) -> None:
        async with aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix) as again, again.lock("job"):
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    holding = asyncio.ensure_future(hold(held))
    async with asyncio.timeout(10):
        await held.wait()  # nobody else has it any more
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding


async def test_closed_while_a_call_runs(etcd35: EtcdServer, prefix: str, protocol: str) -> None:
    """A read gets ClientClosed; a write on its way may have been applied, which is said."""
    async with TCPProxy(etcd35.url) as proxy:
        client = aetcd.Client(proxy.url, protocol=protocol, namespace=prefix)
        await client.set("key", "x")
        proxy.stall()
        reading, writing = asyncio.ensure_future(client.get("key")), asyncio.ensure_future(client.set("key", "y"))
        for _ in range(50):
            await asyncio.sleep(0.002)
        await client.aclose()
        async with asyncio.timeout(5):
            with pytest.raises(aetcd.ClientClosed):
                await reading
            with pytest.raises(aetcd.OutcomeUnknown):
                await writing


async def test_clients_closed_in_any_order(etcd35: EtcdServer, prefix: str, protocol: str) -> None:
    """Their lives are apart."""
    one, two = (aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix) for _ in range(2))
    await one.open()
    await two.open()
    async with one.watch("key"), two.watch("key") as changes:
        await one.aclose()
        await two.set("key", "x")
        async with asyncio.timeout(5):
            assert isinstance(await anext(changes), aetcd.Change)
    await two.aclose()


async def test_opened_inside_a_time_out(etcd35: EtcdServer, prefix: str, protocol: str) -> None:
    """No scope stays open in the caller's task: the time-out ends where it is left."""
    client = aetcd.Client(etcd35.url, protocol=protocol, namespace=prefix)
    async with asyncio.timeout(5):
        await client.open()
        watch = client.watch("key")
        await watch.__aenter__()
    await client.set("key", "x")
    assert isinstance(await anext(watch), aetcd.Change)
    await watch.__aexit__(None, None, None)
    await client.aclose()


async def test_status(etcd35: EtcdServer, prefix: str, protocol: str) -> None:
    """Peers with their health and last error, protocol, watches."""
    async with TCPProxy(etcd35.url) as proxy, aetcd.Client(etcd35.url, proxy.url, protocol=protocol) as client:
        await client.get(f"{prefix}key")
        status = client.status()
        assert (status.protocol, status.closed) == (protocol, False)
        assert [peer.url for peer in status.peers] == [etcd35.url, proxy.url]
        assert {peer.state for peer in status.peers} == {"healthy"}
        proxy.refuse()
        proxy.cut()
        for _ in range(10):
            await client.get(f"{prefix}key")
        good, bad = client.status().peers
        assert (good.state, good.last_error) == ("healthy", None)
        assert bad.state != "healthy"
        assert bad.last_error
        async with client.watch(f"{prefix}key"):
            assert [watch.name for watch in client.status().watches] == [f"{prefix}key"]
    assert client.status().closed


DEBUG = """
import asyncio, sys
import aetcd

async def main():
    async with aetcd.Client(sys.argv[1], debug=True, username="ann", password="s3cret") as client:
        try:
            await client.get("key")
        except aetcd.AetcdError:
            pass

asyncio.run(main())
"""


def test_debug_is_seen(etcd35: EtcdServer) -> None:
    """With logging unconfigured, `debug=True` shows a curl line for each call on stderr; secrets are replaced."""
    run = subprocess.run(
        [sys.executable, "-c", DEBUG, etcd35.url], check=False, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stderr.splitlines() if line.startswith("curl ")]
    assert any(etcd35.url in line for line in lines)
    assert "s3cret" not in run.stderr + run.stdout


def test_names_at_the_front_door() -> None:
    """Client, every error, and what its calls answer are exported."""
    wanted = "Client Result Node Change Synced Resynced Watch Lock Election Leadership Leader Session TLS Timeout Trace"
    for name in wanted.split():
        assert name in aetcd.__all__
        assert hasattr(aetcd, name)
    for name in dir(aetcd.errors):
        found = getattr(aetcd.errors, name)
        if isinstance(found, type) and issubclass(found, aetcd.AetcdError) and not name.startswith("_"):
            assert getattr(aetcd, name) is found
