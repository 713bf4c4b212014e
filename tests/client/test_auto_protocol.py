"""Which protocol is spoken: what the server's version says, and never what a failure suggests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

import aetcd
from aetcd.testing import EtcdServer, TCPProxy


class OldServer:
    """Says that it is etcd 2.3.8, has one key, and no v3 gateway."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0
        self.version_status = 200
        self.delays: dict[str, float] = {}
        self.closing = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str) -> tuple[int, object]:
        if path == "/version":
            return self.version_status, {"etcdserver": "2.3.8", "etcdcluster": "2.3.0"}
        if path.startswith("/v2/keys/message"):
            node = {"key": "/message", "value": "from v2", "createdIndex": 5, "modifiedIndex": 5}
            return 200, {"action": "get", "node": node}
        if path.startswith("/v2/keys/"):
            return 404, {"errorCode": 100, "message": "Key not found", "cause": path, "index": 7}
        return 404, "404 page not found"

    async def hesitate(self, path: str) -> None:
        delay = sum(delay for start, delay in self.delays.items() if path.startswith(start))
        with suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), delay)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ")[1].decode()
                self.asked.append(path)
                await self.hesitate(path)
                status, body = self.answer(path)
                payload = json.dumps(body).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nX-Etcd-Index: 7\r\n"
                    f"Content-Length: {len(payload)}\r\n\r\n".encode()
                    + payload
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def old_server() -> AsyncIterator[OldServer]:
    old = OldServer()
    server = await asyncio.start_server(old.serve, "127.0.0.1", 0)
    old.port = server.sockets[0].getsockname()[1]
    try:
        yield old
    finally:
        old.closing.set()
        server.close()


async def test_a_server_of_today(etcd: EtcdServer, prefix: str) -> None:
    """It is spoken to in v3, also where it serves v2 too."""
    async with aetcd.Client(etcd.url) as client:
        assert client.status().protocol is None
        assert "protocol=auto" in repr(client)
        await client.set(f"{prefix}key", "x")
        assert client.status().protocol == "v3"
        assert "protocol=v3" in repr(client)
        assert (await client.v3.range(f"{prefix}key")).kvs[0].value == b"x"
        with pytest.raises(aetcd.KeyNotFound):
            await client.v2.get(f"{prefix}key")


async def test_v2_is_asked_for_by_name(etcd: EtcdServer, prefix: str) -> None:
    """The two key spaces of one server are apart."""
    async with aetcd.Client(etcd.url, protocol="v2") as client:
        await client.set(f"{prefix}key", "x")
        assert client.status().protocol == "v2"
        assert (await client.v2.get(f"{prefix}key")).node is not None
        assert (await client.v3.range(f"{prefix}key")).kvs == ()


async def test_a_server_of_2015() -> None:
    """A 2.x server is spoken to in v2; it is asked for its version once."""
    async with old_server() as old, aetcd.Client(old.url) as client:
        assert await client.get("message") == "from v2"
        assert await client.get("missing") is None
        assert client.status().protocol == "v2"
        assert old.asked.count("/version") == 1
        assert [path for path in old.asked if path.startswith("/v3")] == []


@pytest.mark.parametrize(
    "first",
    [
        lambda client: client.get("key"),
        lambda client: client.set("key", "x"),
        lambda client: client.watch("key").__aenter__(),
        lambda client: client.lock("job").acquire(),
        lambda client: client.session().open(),
    ],
    ids=["get", "set", "watch", "lock", "session"],
)
async def test_a_failed_question_decides_nothing(
    etcd35: EtcdServer, prefix: str, first: Callable[[aetcd.Client], Awaitable[object]]
) -> None:
    """A server that was down at the first call is asked again at the next one."""
    async with TCPProxy(etcd35.url) as proxy:
        proxy.refuse()
        async with aetcd.Client(proxy.url, namespace=prefix, timeout=0.4) as client:
            with pytest.raises(aetcd.TransportError) as caught:
                await first(client)
            assert not isinstance(caught.value, aetcd.OutcomeUnknown)
            assert client.status().protocol is None
            proxy.resume()
            await client.set("key", "x", timeout=5)
            assert client.status().protocol == "v3"


async def test_an_answer_that_tells_no_version() -> None:
    """Neither does a server that cannot tell: the question stays open."""
    async with old_server() as old, aetcd.Client(old.url, timeout=0.5, retry=False) as client:
        old.version_status = 503
        with pytest.raises(aetcd.AetcdError):
            await client.get("message")
        assert client.status().protocol is None
        old.version_status = 200
        assert await client.get("message") == "from v2"
        assert client.status().protocol == "v2"


async def test_first_calls_at_once(etcd35: EtcdServer, prefix: str) -> None:
    """They ask for the version once."""
    sent: list[str] = []
    trace = aetcd.Trace(on_request=lambda event: sent.append(event.operation))
    async with aetcd.Client(etcd35.url, trace=trace, coalesce=False) as client:
        await asyncio.gather(*(client.get(f"{prefix}{n}") for n in range(20)))
    assert sent.count("v3 range") == 20
    assert sent.count("version") == 1


async def test_a_call_that_gives_up_does_not_hold_up_others(etcd35: EtcdServer, prefix: str) -> None:
    """Each first call keeps to its own time-out, also where another one asks for the version."""
    async with TCPProxy(etcd35.url) as proxy:
        proxy.stall()
        async with aetcd.Client(proxy.url, namespace=prefix) as client:
            patient = asyncio.ensure_future(client.set("key", "x"))
            await asyncio.sleep(0)
            started = asyncio.get_running_loop().time()
            with pytest.raises(aetcd.RequestTimeout):
                await client.get("key", timeout=0.2)
            assert asyncio.get_running_loop().time() - started < 2
            proxy.resume()
            await patient
            assert await client.get("key") == "x"


async def test_time_that_the_question_took_counts() -> None:
    """A call's time-out is for all of it, the question included."""
    async with old_server() as old, aetcd.Client(old.url) as client:
        old.delays = {"/version": 0.5, "/v2/keys/": 5.0}
        started = asyncio.get_running_loop().time()
        with pytest.raises(aetcd.RequestTimeout):
            await client.get("message", timeout=0.8)
        assert 0.75 < asyncio.get_running_loop().time() - started < 1.15
        assert client.status().protocol == "v2"
