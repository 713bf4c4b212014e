"""What goes over the wire, and what its failures mean."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
from aiohttp.client_proto import ResponseHandler
from attrs import evolve
from scripted import GET, HANG, PUT, MakePool, Reply, Seen, Serve, deaf, endless, ok, refusing, silence

from aetcd import ClientClosed, ConnectFailed, Outcome, RequestTimeout
from aetcd._routing.peer import Peer, parse_peers
from aetcd._transport.auth import ANONYMOUS, BearerAuth
from aetcd._transport.http import HTTP

PATHS = [
    "/v2/keys/a%2Fb",
    "/v2/keys/a%00b",
    "/v2/keys//a//b/",
    "/v2/keys/../a/./b",
    "/v2/keys/%C3%A9%20+%7e~%41",
    "/v2/keys/a?wait=true&x=%26+%2B&y=a%20b&empty=",
    "/v2/keys/a;b,c:d@e!$'()*",
    "//double",
]


@pytest.mark.parametrize("path", PATHS)
async def test_path_is_sent_as_it_was_encoded(serve: Serve, pool_of: MakePool, path: str) -> None:
    """Keys hold slashes, zeros and dots, and no library may tidy them up."""
    server = await serve()
    await pool_of(server.url).send(evolve(GET, path=path), auth=ANONYMOUS)
    assert server.seen[0].target == path


async def test_prefix_of_a_peer_goes_before_the_path(serve: Serve, pool_of: MakePool) -> None:
    """As behind a reverse proxy."""
    server = await serve()
    await pool_of(f"{server.url}/etcd/").send(GET, auth=ANONYMOUS)
    assert server.seen[0].target == "/etcd/get"


async def test_headers_of_request_and_credentials_are_sent(serve: Serve, pool_of: MakePool) -> None:
    """The codec's own headers go out, with the credentials beside them."""
    server = await serve()
    request = evolve(PUT, headers={"Content-Type": "application/x-www-form-urlencoded", "Grpc-Metadata-hasleader": "1"})
    pool = pool_of(server.url)
    await pool.send(request, auth=ANONYMOUS)
    await pool.send(request, auth=BearerAuth("token"))
    for seen in server.seen:
        assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
        assert seen.headers["grpc-metadata-hasleader"] == "1"
    assert [seen.headers.get("authorization") for seen in server.seen] == [None, "Bearer token"]


async def test_headers_of_a_stream_are_sent(serve: Serve, pool_of: MakePool) -> None:
    """As those of an ordinary request are."""
    server = await serve()
    request = evolve(PUT, headers={"Grpc-Metadata-hasleader": "true"})
    async with pool_of(server.url).stream(request, auth=BearerAuth("token")):
        pass
    assert server.seen[0].headers["grpc-metadata-hasleader"] == "true"
    assert server.seen[0].headers["authorization"] == "Bearer token"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer(serve: Serve, pool_of: MakePool, status: int) -> None:
    """It is handed to the caller, and nothing is sent to where it points."""
    other = await serve()
    server = await serve(lambda _: ok(b"", f"{status} Elsewhere", Location=f"{other.url}/get"))
    answer = await pool_of(server.url).send(GET, auth=BearerAuth("token"))
    assert (answer.status, answer.headers["location"]) == (status, f"{other.url}/get")
    assert (len(server.seen), other.accepted) == (1, 0)


async def test_cookies_are_not_kept(serve: Serve, pool_of: MakePool) -> None:
    """What one request was answered is not sent with another."""
    server = await serve(lambda _: ok(Set_Cookie="session=secret; Path=/"))
    pool = pool_of(server.url)
    await pool.send(GET, auth=ANONYMOUS)
    await pool.send(GET, auth=ANONYMOUS)
    assert "cookie" not in server.seen[1].headers


async def test_connection_is_kept(serve: Serve, pool_of: MakePool) -> None:
    """One after another they share one."""
    server = await serve()
    pool = pool_of(server.url)
    for request in (GET, PUT, GET):
        await pool.send(request, auth=ANONYMOUS)
    assert server.accepted == 1


async def test_proxies_of_the_environment_are_not_used(
    serve: Serve, pool_of: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer is asked itself: a proxy could send a write again."""
    server, proxy = await serve(), await serve()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    await pool_of(server.url).send(GET, auth=ANONYMOUS)
    assert (proxy.accepted, len(server.seen)) == (0, 1)


def peer(url: str) -> Peer:
    return parse_peers(url)[0]


async def refused(url: str, total: float | None = 5.0, connect: float | None = None) -> Exception:
    http = HTTP(None)
    try:
        with pytest.raises(ConnectFailed) as caught:
            await http.exchange(peer(url), GET, {}, total=total, connect=connect, read=None)
        return caught.value
    finally:
        await http.aclose()


async def test_refused_connection_was_not_sent() -> None:
    """It names the peer and the operation, and chains the cause."""
    url = refusing()
    error = await refused(url)
    assert isinstance(error, ConnectFailed)
    assert isinstance(error, ConnectionError)
    assert (error.outcome, error.peer, error.operation) == (Outcome.NOT_SENT, url, "get")
    assert str(error).startswith(f"get at {url}: ")
    assert error.__cause__ is not None


@pytest.mark.parametrize(("total", "connect"), [(0.1, None), (0.1, 0.1), (5.0, 0.1), (math.inf, 0.1)])
async def test_deaf_peer_was_not_sent_anything(total: float | None, connect: float | None) -> None:
    """Whichever limit ends the waiting."""
    with deaf() as url:
        error = await refused(url, total, connect)
    assert isinstance(error, ConnectFailed)
    assert error.outcome is Outcome.NOT_SENT
    assert "no connection in time" in str(error)


async def test_unknown_name_was_not_sent() -> None:
    """A name that does not resolve is a peer that was not reached."""
    error = await refused("http://name.invalid:2379")
    assert isinstance(error, ConnectFailed)
    assert error.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize(("total", "read"), [(0.1, None), (5.0, 0.1)])
async def test_silent_peer_timed_out(serve: Serve, total: float, read: float | None) -> None:
    """Its connection stood, so the request may have been applied."""
    server, http = await serve(lambda _: HANG), HTTP(None)
    with pytest.raises(RequestTimeout) as caught:
        await http.exchange(peer(server.url), GET, {}, total=total, connect=None, read=read)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.outcome, caught.value.peer) == (Outcome.UNKNOWN, server.url)
    await http.aclose()


async def test_read_limit_is_for_silence_and_not_for_the_whole(serve: Serve) -> None:
    """A long answer that keeps coming is read to its end."""

    async def slowly() -> Reply:
        return Reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "stream", None, pieces())

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(6):
            await asyncio.sleep(0.05)
            yield b"x"

    server, http = await serve(lambda _: slowly()), HTTP(None)
    answer = await http.exchange(peer(server.url), GET, {}, total=math.inf, connect=None, read=0.2)
    assert answer.body == b"xxxxxx"
    await http.aclose()


@pytest.mark.parametrize("stage", ["head", "body"])
async def test_closing_ends_what_is_under_way(serve: Serve, stage: str) -> None:
    """Also who reads a body whose end never comes, without a limit of time."""

    def plan(_: Seen) -> Reply:
        return HANG if stage == "head" else Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12", "hang")

    server, http = await serve(plan), HTTP(None)

    async def ask() -> None:
        with pytest.raises(RequestTimeout):
            await http.exchange(peer(server.url), GET, {}, total=math.inf, connect=None, read=None)

    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        group.create_task(ask())
        await server.until(lambda server: len(server.seen) == 1)
        await http.aclose()
    with pytest.raises(ClientClosed):
        await http.exchange(peer(server.url), GET, {}, total=math.inf, connect=None, read=None)


async def test_closing_ends_who_waits_for_a_connection() -> None:
    """Nothing of it was sent, and the error says so."""
    http = HTTP(None)
    with deaf() as url:
        async with asyncio.timeout(2), asyncio.TaskGroup() as group:

            async def ask() -> None:
                with pytest.raises(ConnectFailed) as caught:
                    await http.exchange(peer(url), PUT, {}, total=math.inf, connect=None, read=None)
                assert caught.value.outcome is Outcome.NOT_SENT

            group.create_task(ask())
            await asyncio.sleep(0.05)
            await http.aclose()


async def test_cancelled_request_does_not_leave_its_connection_to_the_next(serve: Serve, pool_of: MakePool) -> None:
    """Its answer would be taken for the next one's."""

    def plan(seen: Seen) -> Reply:
        half = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234", "hang")
        return half if seen.connection == 0 else ok(b"whole")

    server = await serve(plan)
    pool = pool_of(server.url)
    task = asyncio.create_task(pool.send(GET, auth=ANONYMOUS))
    await server.until(lambda server: len(server.seen) == 1)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await pool.send(GET, auth=ANONYMOUS)).body == b"whole"
    await server.until(lambda server: server.open_connections == 1)


async def test_streams_have_connections_of_their_own(serve: Serve, pool_of: MakePool) -> None:
    """An ordinary request does not wait behind one, and a stream takes none of the kept ones."""

    def plan(seen: Seen) -> Reply:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return Reply(head, "stream", None, silence()) if seen.target == "/stream" else ok()

    server = await serve(plan)
    pool = pool_of(server.url)
    await pool.send(GET, auth=ANONYMOUS)
    async with pool.stream(evolve(GET, path="/stream"), auth=ANONYMOUS):
        await pool.send(GET, auth=ANONYMOUS)
    assert [seen.connection for seen in server.seen] == [0, 1, 0]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What aiohttp is given to parse, piece by piece."""
    pieces: list[bytes] = []
    parse = ResponseHandler.data_received
    monkeypatch.setattr(ResponseHandler, "data_received", lambda self, data: (pieces.append(data), parse(self, data)))
    return pieces


async def test_what_was_read_is_not_parsed_again(serve: Serve, pool_of: MakePool, parsed: list[bytes]) -> None:
    """Where nothing was held up: aiohttp has its parser look for more after each piece, which costs as much."""
    server = await serve(lambda _: endless(silence(*[b"piece"] * 20)))
    async with pool_of(server.url).stream(GET, auth=ANONYMOUS) as stream:
        body = b""
        while len(body) < 100:
            body += await stream.read()
    assert body == b"piece" * 20
    assert parsed
    assert all(parsed)


async def test_what_is_received_needs_no_room_from_the_system(
    serve: Serve, pool_of: MakePool, parsed: list[bytes]
) -> None:
    """From 128 KiB on each piece would have memory of its own."""
    server = await serve(lambda _: ok(b"x" * 8_000_000))
    assert len((await pool_of(server.url).send(GET, auth=ANONYMOUS)).body) == 8_000_000
    assert 64 * 1024 < max(map(len, parsed)) < 128 * 1024


async def test_large_answer_that_is_read_slowly(serve: Serve, pool_of: MakePool) -> None:
    """The connection is held up while much is unread, and taken up again."""
    pieces = [bytes([number]) * 100_000 for number in range(40)]
    server = await serve(lambda _: endless(silence(*pieces)))
    async with pool_of(server.url).stream(GET, auth=ANONYMOUS) as stream:
        connection = stream._answer.connection
        assert connection is not None
        assert connection.transport is not None
        body, held = await stream.read(), 0
        while len(body) < 4_000_000:
            while connection.transport.is_reading() and len(body) < 3_000_000:
                await asyncio.sleep(0)
            held += not connection.transport.is_reading()
            body += await stream.read()
    assert body == b"".join(pieces)
    assert held > 3
