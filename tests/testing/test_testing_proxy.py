"""Each fault of the proxy, with a real etcd behind it and plain sockets before it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from raw import answer, ask, connection, put, request, value_of

from aetcd.errors import ConfigError
from aetcd.testing import EtcdServer, ServerTLS, TCPProxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def before(etcd35: EtcdServer, proxy: Callable[[str], Awaitable[TCPProxy]]) -> TCPProxy:
    """A proxy before etcd."""
    return await proxy(etcd35.url)


class Target:
    """A server that keeps what it gets and says what it is told to."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = asyncio.Event()
        self.lost: BaseException | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        try:
            while piece := await reader.read(65536):
                self.got += piece
        except OSError as lost:
            self.lost = lost
        self.ended.set()


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    target = Target()
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    target.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield target
        if target.writer is not None:
            target.writer.transport.abort()
            await target.ended.wait()


async def assert_reset(reader: asyncio.StreamReader) -> None:
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), 5)


async def assert_silent(reader: asyncio.StreamReader) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)


# A plain proxy


async def test_requests_and_answers_pass_and_are_counted(before: TCPProxy, etcd35: EtcdServer, prefix: str) -> None:
    """To the byte, and connections too."""
    sent = put(prefix, "value")
    assert (before.connections, before.accepted) == (0, 0)
    async with connection(before.url) as (reader, writer):
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        body = await reader.readexactly(length)
        assert (before.connections, before.accepted) == (1, 1)
        assert (before.bytes_up, before.bytes_down) == (len(sent), len(head) + len(body))
    await before.wait_for(lambda proxy: proxy.connections == 0)
    assert before.accepted == 1
    assert await value_of(etcd35.url, prefix) == "value"


async def test_its_url_is_like_the_targets(etcd35: EtcdServer) -> None:
    """The scheme is kept, the address is its own; a bare host and port is taken for http."""
    for target, scheme in [(etcd35.url, "http"), (etcd35.url[7:], "http"), (f"https{etcd35.url[4:]}", "https")]:
        async with TCPProxy(target) as proxy:
            assert proxy.url == f"{scheme}://{proxy.host}:{proxy.port}"
            assert proxy.port != urlsplit(etcd35.url).port


async def test_https_passes_unread(tmp_path: Path, proxy: Callable[[str], Awaitable[TCPProxy]]) -> None:
    """The client checks the certificate of the server behind."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = ServerTLS(cert=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    async with EtcdServer(tls=tls, heartbeat_ms=10) as server:
        between = await proxy(server.url)
        assert between.url.startswith("https://")
        assert (await ask(between.url, request("GET", "/version"), context))[0] == 200


async def test_much_passes_unharmed_and_in_order(target: Target, proxy: Callable[[str], Awaitable[TCPProxy]]) -> None:
    """Both ways at once, against readers that are slower than the writers."""
    between = await proxy(target.url)
    up, down = os.urandom(6_000_000), os.urandom(6_000_000)
    async with connection(between.url) as (reader, writer):
        writer.write(up)
        await between.wait_for(lambda proxy: proxy.bytes_up > 0)
        assert target.writer is not None
        target.writer.write(down)
        assert await reader.readexactly(len(down)) == down
        writer.write_eof()
        await asyncio.wait_for(target.ended.wait(), 10)
    assert target.got == up


async def test_a_sender_feels_that_the_receiver_does_not_read(proxy: Callable[[str], Awaitable[TCPProxy]]) -> None:
    """The proxy holds little back: it stops reading instead."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        between = await proxy(f"127.0.0.1:{deaf.getsockname()[1]}")
        async with connection(between.url) as (_, writer):
            writer.write(b"x" * 50_000_000)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 0.5)
            assert between.bytes_up < 20_000_000
            (link,) = between._links
            assert link._flows[0]._held < 1_000_000


async def test_an_end_passes_and_leaves_the_other_way_open(
    target: Target, proxy: Callable[[str], Awaitable[TCPProxy]]
) -> None:
    """A half-closed connection stays half open."""
    between = await proxy(target.url)
    async with connection(between.url) as (reader, writer):
        writer.write(b"question")
        writer.write_eof()
        await asyncio.wait_for(target.ended.wait(), 5)
        assert target.writer is not None
        target.writer.write(b"late answer")
        target.writer.write_eof()
        assert await reader.read() == b"late answer"
    await between.wait_for(lambda proxy: proxy.connections == 0)


async def test_a_reset_passes(target: Target, proxy: Callable[[str], Awaitable[TCPProxy]]) -> None:
    """A server that dies looks dead through the proxy."""
    between = await proxy(target.url)
    async with connection(between.url) as (reader, writer):
        writer.write(b"question")
        await between.wait_for(lambda proxy: proxy.bytes_up == 8)
        while target.writer is None:
            await asyncio.sleep(0.001)
        target.writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )
        target.writer.transport.abort()
        await assert_reset(reader)


async def test_a_dead_target_is_a_reset() -> None:
    """The proxy cannot refuse for it; it may even come later."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    async with TCPProxy(f"127.0.0.1:{port}") as proxy:
        async with connection(proxy.url) as (reader, _):
            await assert_reset(reader)
        assert (proxy.connections, proxy.accepted) == (0, 1)


@pytest.mark.parametrize("target", ["", "http://", "127.0.0.1", "http://127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999"])
def test_a_target_needs_a_host_and_a_port(target: str) -> None:
    """Told before anything is opened."""
    with pytest.raises(ConfigError, match="target"):
        TCPProxy(target)


# Cut


async def test_cut_resets_what_is_open_and_serves_what_comes(before: TCPProxy) -> None:
    """In the call; and the same may be awaited."""
    async with connection(before.url) as (one, _), connection(before.url) as (other, _):
        await before.wait_for(lambda proxy: proxy.connections == 2)
        before.cut()
        assert before.connections == 0
        await assert_reset(one)
        await assert_reset(other)
        await before.cut()
        assert (await ask(before.url, request("GET", "/version")))[0] == 200


async def test_cut_ends_the_connection_to_the_target_too(
    target: Target, proxy: Callable[[str], Awaitable[TCPProxy]]
) -> None:
    """It gets what was passed on, and an end."""
    between = await proxy(target.url)
    async with connection(between.url) as (_, writer):
        writer.write(b"question")
        await between.wait_for(lambda proxy: proxy.bytes_up == 8)
        between.cut()
        await asyncio.wait_for(target.ended.wait(), 5)
    assert (target.got, target.lost) == (b"question", None)


# Stall


async def test_a_stalled_connection_is_silent_until_resumed(before: TCPProxy, etcd35: EtcdServer, prefix: str) -> None:
    """A request sent meanwhile does not arrive, and does when all goes on."""
    async with connection(before.url) as (reader, writer):
        writer.write(request("GET", "/version"))
        await answer(reader)
        up = before.bytes_up
        before.stall()
        writer.write(put(prefix, "late"))
        await assert_silent(reader)
        assert before.bytes_up == up
        assert await value_of(etcd35.url, prefix) is None
        before.resume()
        assert (await answer(reader))[0] == 200
    assert await value_of(etcd35.url, prefix) == "late"


async def test_an_answer_is_stalled_too(target: Target, proxy: Callable[[str], Awaitable[TCPProxy]]) -> None:
    """What the target says during a stall comes after it, in whole."""
    between = await proxy(target.url)
    async with connection(between.url) as (reader, writer):
        writer.write(b"question")
        await between.wait_for(lambda proxy: proxy.bytes_up == 8)
        while target.writer is None:
            await asyncio.sleep(0.001)
        await between.stall()
        target.writer.write(b"answer")
        await assert_silent(reader)
        await between.resume()
        assert await reader.readexactly(6) == b"answer"


async def test_new_connections_are_accepted_in_a_stall(before: TCPProxy) -> None:
    """A peer that is there and says nothing: what a client must tell from one that refuses."""
    before.stall()
    async with connection(before.url) as (reader, writer):
        await before.wait_for(lambda proxy: proxy.accepted == 1)
        writer.write(request("GET", "/version"))
        await assert_silent(reader)
        before.resume()
        assert (await answer(reader))[0] == 200


async def test_a_stalled_connection_can_be_cut(before: TCPProxy) -> None:
    """One fault after another; the stall itself stays."""
    before.stall()
    async with connection(before.url) as (reader, _):
        await before.wait_for(lambda proxy: proxy.connections == 1)
        before.cut()
        await assert_reset(reader)
    async with connection(before.url) as (reader, writer):
        writer.write(request("GET", "/version"))
        await assert_silent(reader)


# Slow


async def test_latency_delays_each_way(before: TCPProxy) -> None:
    """An exchange takes it twice; without it, none."""
    loop = asyncio.get_running_loop()
    async with connection(before.url) as (reader, writer):
        spans = []
        for latency in (0.2, 0.0):
            before.slow(latency)
            begun = loop.time()
            writer.write(request("GET", "/version"))
            await answer(reader)
            spans.append(loop.time() - begun)
    assert spans[0] >= 0.4 > spans[1]


async def test_a_rate_limits_each_way(target: Target, proxy: Callable[[str], Awaitable[TCPProxy]]) -> None:
    """Bytes come at that pace, not all at its end."""
    between = await proxy(target.url)
    await between.slow(rate=100_000)
    loop = asyncio.get_running_loop()
    async with connection(between.url) as (_, writer):
        begun = loop.time()
        writer.write(b"x" * 40_000)
        await between.wait_for(lambda proxy: proxy.bytes_up >= 10_000)
        some = loop.time() - begun
        await between.wait_for(lambda proxy: proxy.bytes_up == 40_000)
        whole = loop.time() - begun
    assert 0.09 <= some < 0.39 <= whole < 2


async def test_resume_ends_slowness(before: TCPProxy) -> None:
    """With everything else."""
    before.slow(5, rate=1)
    before.resume()
    assert (await asyncio.wait_for(ask(before.url, request("GET", "/version")), 1))[0] == 200


@pytest.mark.parametrize(("latency", "rate"), [(-1, None), (0, 0), (0, -5)])
async def test_impossible_paces_are_refused(before: TCPProxy, latency: float, rate: float | None) -> None:
    """Nothing is changed by them."""
    with pytest.raises(ConfigError, match="latency"):
        before.slow(latency, rate=rate)
    assert (await asyncio.wait_for(ask(before.url, request("GET", "/version")), 1))[0] == 200


# Refuse


async def test_refuse_refuses_the_new_and_keeps_the_present(before: TCPProxy) -> None:
    """Until resumed, on the same port."""
    async with connection(before.url) as (reader, writer):
        writer.write(request("GET", "/version"))
        await answer(reader)
        url = before.url
        for _ in range(2):
            await before.refuse()
        with pytest.raises(ConnectionRefusedError):
            await ask(url, request("GET", "/version"))
        writer.write(request("GET", "/version"))
        assert (await answer(reader))[0] == 200
        await before.resume()
        assert before.url == url
        assert (await ask(url, request("GET", "/version")))[0] == 200


# Cut at a byte

PUT = len(put("t0123456789ab/", "value"))


@pytest.mark.parametrize("sent", [0, 1, 100, PUT - 1])
async def test_a_write_cut_on_its_way_is_not_applied(
    before: TCPProxy, etcd35: EtcdServer, prefix: str, sent: int
) -> None:
    """Exactly so many bytes go up, none come down, and etcd does nothing with a part."""
    trap = before.cut_after(sent=sent)
    async with connection(before.url) as (reader, writer):
        writer.write(put(prefix, "value"))
        await assert_reset(reader)
    assert trap.sprung
    assert (before.bytes_up, before.bytes_down) == (sent, 0)
    assert await value_of(etcd35.url, prefix) is None


@pytest.mark.parametrize("pieces", [1, 7])
async def test_the_target_gets_exactly_the_bytes_and_an_end(
    target: Target, proxy: Callable[[str], Awaitable[TCPProxy]], pieces: int
) -> None:
    """However the sender slices them; and no reset that could swallow some."""
    between = await proxy(target.url)
    between.cut_after(sent=70)
    async with connection(between.url) as (reader, writer):
        for piece in range(pieces):
            writer.write(bytes([65 + piece]) * (140 // pieces))
            await asyncio.sleep(0.005)
        await assert_reset(reader)
    await asyncio.wait_for(target.ended.wait(), 5)
    whole = b"".join(bytes([65 + piece]) * (140 // pieces) for piece in range(pieces))
    assert (target.got, target.lost) == (whole[:70], None)


async def test_a_write_cut_with_its_last_byte_went_up_in_whole(
    target: Target, proxy: Callable[[str], Awaitable[TCPProxy]]
) -> None:
    """The cut does not wait for a byte more."""
    between = await proxy(target.url)
    trap = between.cut_after(sent=PUT)
    async with connection(between.url) as (reader, writer):
        writer.write(b"x" * PUT)
        await assert_reset(reader)
    await trap.wait()
    await asyncio.wait_for(target.ended.wait(), 5)
    assert len(target.got) == PUT


async def test_a_write_whose_answer_is_cut_off_is_applied(before: TCPProxy, etcd35: EtcdServer, prefix: str) -> None:
    """The whole request goes up, and not one byte of the answer comes down: applied, and unknown to its sender."""
    before.cut_after(received=0)
    sent = put(prefix, "value")
    async with connection(before.url) as (reader, writer):
        writer.write(sent)
        await assert_reset(reader)
    assert (before.bytes_up, before.bytes_down) == (len(sent), 0)
    assert await value_of(etcd35.url, prefix) == "value"


@pytest.mark.parametrize("received", [1, 17, 100])
async def test_an_answer_is_cut_after_so_many_bytes(before: TCPProxy, received: int) -> None:
    """The client can read these, and then meets the reset."""
    before.cut_after(received=received)
    async with connection(before.url) as (reader, writer):
        writer.write(request("GET", "/version"))
        assert len(await reader.readexactly(received)) == received
        await assert_reset(reader)
    assert before.bytes_down == received


async def test_bytes_count_from_the_call_on(before: TCPProxy) -> None:
    """What a pooled connection carried before does not count."""
    async with connection(before.url) as (reader, writer):
        writer.write(request("GET", "/version"))
        _, body = await answer(reader)
        trap = before.cut_after(received=20)
        writer.write(request("GET", "/version"))
        assert (await reader.readexactly(20)).startswith(b"HTTP/1.1 200")
        await assert_reset(reader)
    assert trap.sprung
    assert body


async def test_it_springs_once(before: TCPProxy) -> None:
    """The same request again passes: that a client sends nothing twice can be seen."""
    before.cut_after(sent=0)
    async with connection(before.url) as (reader, writer):
        writer.write(request("GET", "/version"))
        await assert_reset(reader)
    assert (await ask(before.url, request("GET", "/version")))[0] == 200


async def test_two_that_are_armed_spring_one_after_the_other(before: TCPProxy) -> None:
    """For the retry as well."""
    first, second = before.cut_after(sent=5), before.cut_after(sent=10)
    for sprung in [(True, False), (True, True)]:
        async with connection(before.url) as (reader, writer):
            writer.write(request("GET", "/version"))
            await assert_reset(reader)
        assert (first.sprung, second.sprung) == sprung
    assert before.bytes_up == 15


async def test_only_a_matching_connection_is_cut(before: TCPProxy, etcd35: EtcdServer, prefix: str) -> None:
    """Others pass before it, beside it and after it."""
    trap = before.cut_after(received=0, match=b"/v3/kv/put")
    async with connection(before.url) as (reader, writer), connection(before.url) as (aside, aside_writer):
        for _ in range(2):
            writer.write(request("GET", "/version"))
            assert (await answer(reader))[0] == 200
        writer.write(put(prefix, "value"))
        await assert_reset(reader)
        assert trap.sprung
        aside_writer.write(request("GET", "/version"))
        assert (await answer(aside))[0] == 200
    assert await value_of(etcd35.url, prefix) == "value"


async def test_a_match_counts_from_its_own_request(before: TCPProxy) -> None:
    """Not from what the connection sent before."""
    async with connection(before.url) as (reader, writer):
        trap = before.cut_after(sent=30, match=b"/health")
        writer.write(request("GET", "/version"))
        await answer(reader)
        up = before.bytes_up
        writer.write(request("GET", "/health"))
        await assert_reset(reader)
    assert trap.sprung
    assert before.bytes_up == up + 30


async def test_resume_disarms(before: TCPProxy) -> None:
    """A plain proxy again."""
    trap = before.cut_after(sent=0)
    before.resume()
    assert (await ask(before.url, request("GET", "/version")))[0] == 200
    assert not trap.sprung


async def test_who_waits_for_a_trap_is_told_when_it_is_late(before: TCPProxy) -> None:
    """Awaiting it alone does not wait: it is armed already."""
    trap = before.cut_after(received=3, match=b"x")
    await asyncio.wait_for(trap, 1)
    with pytest.raises(TimeoutError, match=r"<Trap: cut after received=3, match=b'x'> was not sprung within 0\.01 s"):
        await trap.wait(0.01)


@pytest.mark.parametrize("given", [{}, {"sent": 1, "received": 1}, {"sent": -1}, {"received": -1}])
@pytest.mark.parametrize("fault", ["cut_after", "stall_after"])
async def test_a_trap_needs_one_place(before: TCPProxy, fault: str, given: dict[str, int]) -> None:
    """Sent or received, and not below zero."""
    with pytest.raises(ConfigError, match="sent and received"):
        getattr(before, fault)(**given)


# Stall at a byte


async def test_a_write_whose_answer_is_held_back_is_applied(before: TCPProxy, etcd35: EtcdServer, prefix: str) -> None:
    """Applied and unanswered; other connections are served; when resumed, the answer is whole."""
    trap = before.stall_after(received=10)
    async with connection(before.url) as (reader, writer):
        writer.write(put(prefix, "value"))
        begin = await reader.readexactly(10)
        await trap.wait()
        await assert_silent(reader)
        assert await value_of(etcd35.url, prefix) == "value"
        assert (await ask(before.url, request("GET", "/version")))[0] == 200
        before.resume()
        assert begin + await reader.readline() == b"HTTP/1.1 200 OK\r\n"


async def test_a_write_stalled_on_its_way_arrives_when_resumed(
    before: TCPProxy, etcd35: EtcdServer, prefix: str
) -> None:
    """A part of it lies with the server, the rest waits."""
    before.stall_after(sent=50)
    async with connection(before.url) as (reader, writer):
        writer.write(put(prefix, "late"))
        await before.wait_for(lambda proxy: proxy.bytes_up == 50)
        await assert_silent(reader)
        assert before.bytes_up == 50
        before.resume()
        assert (await answer(reader))[0] == 200
    assert await value_of(etcd35.url, prefix) == "late"


# Waiting, opening, closing


async def test_a_wait_for_what_does_not_come_tells_the_counts(before: TCPProxy) -> None:
    """After its time-out."""
    await ask(before.url, request("GET", "/version"))
    with pytest.raises(TimeoutError, match=r"0\.01 s: <TCPProxy to http.*connections, 1 accepted, \d+ bytes up"):
        await before.wait_for(lambda proxy: proxy.accepted == 2, timeout=0.01)


async def test_several_wait_for_different_things(before: TCPProxy) -> None:
    """Each is woken for its own."""
    async with asyncio.TaskGroup() as group:
        group.create_task(before.wait_for(lambda proxy: proxy.accepted == 1))
        group.create_task(before.wait_for(lambda proxy: proxy.accepted == 2))
        group.create_task(before.wait_for(lambda proxy: proxy.bytes_down > 0))
        for _ in range(2):
            await ask(before.url, request("GET", "/version"))


async def test_closing_ends_every_connection_and_needs_no_task(etcd35: EtcdServer) -> None:
    """It works without any task of its own, and what is open is reset; closing twice is closing once."""
    tasks = asyncio.all_tasks()
    async with TCPProxy(etcd35.url) as proxy:
        url = proxy.url
        async with connection(url) as (reader, writer), connection(url) as (stalled, _):
            writer.write(request("GET", "/version"))
            await answer(reader)
            proxy.slow(5)
            writer.write(request("GET", "/version"))
            proxy.stall()
            await proxy.wait_for(lambda proxy: proxy.connections == 2)
            assert asyncio.all_tasks() == tasks
            await proxy.aclose()
            await assert_reset(reader)
            await assert_reset(stalled)
            with pytest.raises(ConnectionRefusedError):
                await ask(url, request("GET", "/version"))
        await proxy.aclose()


async def test_started_by_hand(etcd35: EtcdServer) -> None:
    """start() and aclose(), more than once; used outside them it says so."""
    proxy = TCPProxy(etcd35.url)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not started"):
            _ = proxy.url
        with pytest.raises(RuntimeError, match="not started"):
            proxy.resume()
        await proxy.start()
        with pytest.raises(RuntimeError, match="started already"):
            await proxy.start()
        assert (await ask(proxy.url, request("GET", "/version")))[0] == 200
        await proxy.aclose()
