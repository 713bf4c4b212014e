"""What befalls the requests of v2 watches: floods, cuts, silence, a server that ends."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from floods import Flood

import aetcd
from aetcd.etcd.v2 import _line
from aetcd.etcd.v2._line import Line
from aetcd.etcd.v2._waits import Wait
from aetcd.testing import EtcdServer, TCPProxy

AHEAD = 500  # changes that the reader may be behind: servers keep 1,000


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each request of a watch was made."""
    times: list[float] = []
    opening = Line._open

    async def counted(line: Line, cursor: int | None, *, stream: bool) -> Wait:
        times.append(asyncio.get_running_loop().time())
        return await opening(line, cursor, stream=stream)

    monkeypatch.setattr(Line, "_open", counted)
    return times


async def test_cuts_in_a_flood(etcd: EtcdServer, prefix: str) -> None:
    """Twenty of them, at any byte: each of 10,000 changes is seen once, and in order."""
    flood = Flood(etcd, prefix, 10_000)
    seen: list[int] = []
    async with (
        TCPProxy(etcd.url) as proxy,
        aetcd.Client(proxy.url, protocol="v2") as client,
        client.watch(prefix, recursive=True) as changes,
    ):
        writing = asyncio.ensure_future(flood.write(lambda written: written - len(seen) < AHEAD))
        async with asyncio.timeout(60):
            while len(seen) < 10_000:
                seen.append((await anext(changes)).revision)
                if len(seen) % 1000 == 0:
                    proxy.cut()
                elif len(seen) % 1000 == 500:
                    proxy.cut_after(received=137 + len(seen), match=b"wait=true")
        await writing
    assert seen == sorted(flood.written)


async def test_a_server_that_is_killed_in_a_flood() -> None:
    """Its history is rebuilt from its log: the watch goes on where it was."""
    async with EtcdServer() as server, aetcd.Client(server.url, protocol="v2", timeout=30) as client:
        seen: list[int] = []
        written: list[int] = []
        async with client.watch("load", recursive=True) as changes:

            async def write() -> None:
                for number in range(600):
                    while number - len(seen) > AHEAD:
                        await asyncio.sleep(0.005)
                    try:
                        written.append((await client.set(f"load/{number % 7}", str(number), full=True)).revision)
                    except aetcd.OutcomeUnknown:
                        continue

            writing = asyncio.ensure_future(write())
            async with asyncio.timeout(60):
                while len(written) < 200:
                    seen.append((await anext(changes)).revision)
                await server.kill()
                await server.restart()

                async def read_on() -> None:
                    while (change := await anext(changes)).key != "load/end":
                        seen.append(change.revision)

                reading = asyncio.ensure_future(read_on())
                await writing
                await client.set("load/end", "")
                await reading
        assert set(written) <= set(seen)
        assert seen == sorted(set(seen))


async def test_a_connection_that_a_router_forgot(
    etcd: EtcdServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is silent for ever, and its peer is well: another one is made, and tells what was missed."""
    monkeypatch.setattr(_line, "SILENT", 0.5)
    async with TCPProxy(etcd.url) as proxy, aetcd.Client(proxy.url, protocol="v2") as client:
        # As soon as the stream has told one change.
        proxy.stall_after(received=450, match=b"stream=true")
        async with client.watch(f"{prefix}key") as changes, aetcd.Client(etcd.url, protocol="v2") as writer:
            for number in range(5):
                await writer.set(f"{prefix}key", str(number))
            async with asyncio.timeout(4):
                assert [(await anext(changes)).value for _ in range(5)] == ["0", "1", "2", "3", "4"]


async def head(etcd: EtcdServer, index: int) -> int:
    """How many bytes come before the first change."""
    host, port = etcd.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v2/keys/none?wait=true&stream=true&waitIndex=%d HTTP/1.1\r\nHost: x\r\n\r\n" % index)
    found = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return len(found)


@pytest.mark.parametrize("silent_after", [1500, 0], ids=["within the change", "behind the head"])
async def test_a_connection_that_is_forgotten_in_the_past(
    etcd: EtcdServer, prefix: str, monkeypatch: pytest.MonkeyPatch, silent_after: int
) -> None:
    """While a change from the history was on its way: it is asked for again, and not taken for seen."""
    monkeypatch.setattr(_line, "SILENT", 0.5)
    async with TCPProxy(etcd.url) as proxy, aetcd.Client(proxy.url, protocol="v2") as client:
        async with aetcd.Client(etcd.url, protocol="v2") as writer:
            made = await writer.set(f"{prefix}key", "x" * 5000, full=True)
        proxy.stall_after(received=silent_after or await head(etcd, made.revision), match=b"stream=true")
        async with client.watch(f"{prefix}key", since=made.revision) as changes, asyncio.timeout(4):
            assert (await anext(changes)).revision == made.revision


async def test_idle_watches_while_others_write(
    etcd: EtcdServer, prefix: str, opened: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred keys at rest under 5,000 writes elsewhere: no storm of requests, none lost, and each sees its next
    change.
    """
    monkeypatch.setattr(_line, "SILENT", 1.0)
    clock = asyncio.get_running_loop().time
    async with aetcd.Client(etcd.url, protocol="v2") as client, AsyncExitStack() as block:
        began = clock()
        watches = [await block.enter_async_context(client.watch(f"{prefix}idle/{n}")) for n in range(100)]
        # One for each, and another for each while of silence: entering them takes one too, where the machine is busy.
        assert len(opened) <= 100 * ((clock() - began) / _line.SILENT + 1)
        before, began = len(opened), clock()
        await Flood(etcd, f"{prefix}busy/", 5000).write()
        # Some refused, since more changed within a second than servers keep; and then some that are not.
        async with asyncio.timeout(10):
            while len(opened) < before + 200:
                await asyncio.sleep(0.01)
        lasted = clock() - began
        assert len(opened) - before <= 100 * (lasted / _line.SILENT + 1)
        for number in range(100):
            await client.set(f"{prefix}idle/{number}", str(number))
        async with asyncio.timeout(10):
            assert [(await anext(watch)).value for watch in watches] == [str(number) for number in range(100)]
        assert {watch.status().last_error for watch in watches} == {None}


async def test_resyncs_of_idle_watches(etcd: EtcdServer, prefix: str, opened: list[float]) -> None:
    """A hundred keys at rest that have all lost their history: each is made good once, and not again and again."""
    async with (
        TCPProxy(etcd.url) as proxy,
        aetcd.Client(proxy.url, protocol="v2") as client,
        aetcd.Client(etcd.url, protocol="v2") as writer,
        AsyncExitStack() as block,
    ):
        watches = [
            await block.enter_async_context(client.watch(f"{prefix}idle/{n}", on_history_lost="resync"))
            for n in range(100)
        ]
        proxy.refuse()
        proxy.cut()
        await Flood(etcd, f"{prefix}busy/", 1200).write()
        await writer.set(f"{prefix}idle/7", "x")
        before = len(opened)
        proxy.resume()
        async with asyncio.timeout(20):
            items = [[await anext(watch)] for watch in watches]
            items[7].append(await anext(watches[7]))
        assert [type(each[-1]) for each in items] == [aetcd.Resynced] * 100
        assert isinstance(items[7][0], aetcd.Change)
        for number in range(100):
            await writer.set(f"{prefix}idle/{number}", "y")
        async with asyncio.timeout(10):
            for watch in watches:
                assert (await anext(watch)).value == "y"
        # One that finds nothing, one from the present on, and some tries while no connection was to be had.
        assert len(opened) - before < 500
