"""Long answers: read as they come, and ended where their peer falls silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from attrs import evolve
from scripted import CUT, GET, HANG, MakePool, Reply, Scripted, Seen, Serve, endless, eventually, ok, refusing, silence

from aetcd import ConnectFailed, NoPeerAvailable, Outcome, RequestTimeout
from aetcd._transport import monitor
from aetcd._transport.auth import ANONYMOUS
from aetcd._transport.pool import Pool
from aetcd._transport.streams import CALM, LONGEST, Pace
from aetcd._wire.message import Request

WATCH = evolve(GET, operation="watch", path="/watch")
NOTICED = 5.0  # seconds within which a silent peer must be noticed


def watched(seen: Seen) -> Reply:
    return endless(silence(b"hello")) if seen.target == "/watch" else ok()


async def some(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_pieces_come_as_they_are_sent(serve: Serve, pool_of: MakePool) -> None:
    """And nothing at the proper end."""
    more = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await more.wait()
        yield b"two"

    server = await serve(lambda _: endless(pieces(), "202 Accepted"))
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        assert (stream.status, stream.peer) == (202, server.url)
        assert stream.headers["transfer-encoding"] == "chunked"
        assert await stream.read() == b"one"
        more.set()
        assert await stream.read() == b"two"
        assert await stream.read() == b""
        assert await stream.read() == b""


async def test_cancelled_read_loses_nothing(serve: Serve, pool_of: MakePool) -> None:
    """The next read gets the bytes."""
    more = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        await more.wait()
        yield b"late"

    server = await serve(lambda _: endless(pieces()))
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.read()
        more.set()
        assert await stream.read() == b"late"


async def test_cut_stream_is_no_end(serve: Serve, pool_of: MakePool) -> None:
    """A stream that ends in the middle raises, and is not taken for one that is over."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = await serve(lambda _: Reply(head + b"3\r\none\r\n", "fin"))
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        assert await stream.read() == b"one"
        with pytest.raises(ConnectFailed) as caught:
            await stream.read()
        assert (caught.value.peer, caught.value.operation) == (server.url, "watch")


async def test_opening_goes_to_another_peer(serve: Serve, pool_of: MakePool) -> None:
    """Refused, cut and silent ones are passed over."""
    cut, silent, well = await serve(lambda _: CUT), await serve(lambda _: HANG), await serve(watched)
    pool = pool_of(refusing(), cut.url, silent.url, well.url, timeout=0.9)
    async with pool.stream(WATCH, auth=ANONYMOUS) as stream:
        assert stream.peer == well.url


async def test_opening_with_nobody_there(pool_of: MakePool) -> None:
    """It fails as an ordinary request does."""
    with pytest.raises(NoPeerAvailable) as caught:
        async with pool_of(refusing()).stream(WATCH, auth=ANONYMOUS):
            pass
    assert caught.value.outcome is Outcome.NOT_SENT


async def test_opening_is_limited(serve: Serve, pool_of: MakePool) -> None:
    """The limit is for the head of the answer; after it there is none."""
    silent, well = await serve(lambda _: HANG), await serve(watched)
    with pytest.raises(RequestTimeout):
        async with pool_of(silent.url).stream(WATCH, auth=ANONYMOUS, timeout=0.1):
            pass
    async with pool_of(well.url).stream(WATCH, auth=ANONYMOUS, timeout=0.1) as stream:
        assert await stream.read() == b"hello"
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(stream.read(), 0.3)
        assert not isinstance(caught.value, RequestTimeout)


async def test_refusal_is_read_like_a_stream(serve: Serve, pool_of: MakePool) -> None:
    """Its body becomes an ordinary answer for who judges it."""
    server = await serve(lambda _: ok(b"gone", "400 Bad Request"))
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        body = await stream.read()
        answer = stream.response(body)
    assert (answer.status, answer.body, answer.peer) == (400, b"gone", server.url)


async def test_left_stream_drops_its_connection(serve: Serve, pool_of: MakePool) -> None:
    """However its block is left."""
    server = await serve(watched)
    pool = pool_of(server.url)
    async with pool.stream(WATCH, auth=ANONYMOUS):
        pass
    with pytest.raises(RuntimeError, match="mine"):
        async with pool.stream(WATCH, auth=ANONYMOUS):
            raise RuntimeError("mine")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read_until_it_fails(pool), 0.05)
    await server.until(lambda server: server.open_connections == 0)
    assert pool.status()[0].streams == 0


async def read_until_it_fails(pool: Pool, request: Request = WATCH, peer: str | None = None) -> tuple[float, Exception]:
    """The seconds it took from the last piece on, and the error."""
    async with pool.stream(request, auth=ANONYMOUS, peer=peer) as stream:
        heard = time.monotonic()
        try:
            while await stream.read():
                heard = time.monotonic()
        except (RequestTimeout, ConnectFailed) as e:
            # The same again: a broken stream does not seem to go on.
            with pytest.raises(type(e)):
                await stream.read()
            return time.monotonic() - heard, e
    raise AssertionError("the stream ended")


async def test_streams_of_two_silent_peers_fail_in_time(serve: Serve, pool_of: MakePool) -> None:
    """Both at once, with other requests going on; those of a well peer and an idle one stay."""
    silent = [await serve(watched), await serve(watched)]
    well = await serve(watched)
    pool = pool_of(*(server.url for server in (*silent, well)), timeout=6)

    async def others() -> None:
        while True:
            await pool.send(GET, auth=ANONYMOUS)
            await asyncio.sleep(0.02)

    async def stand() -> None:
        async with pool.stream(WATCH, auth=ANONYMOUS, peer=well.url) as stream:
            await stream.read()
            await stream.read()

    async with asyncio.TaskGroup() as group:
        background = [group.create_task(others()), group.create_task(stand())]
        failing = [group.create_task(read_until_it_fails(pool, peer=server.url)) for server in silent]
        await eventually(lambda: all(status.streams == 1 for status in pool.status()))
        for server in silent:
            server.plan = server.on_probe = lambda _: HANG
        for task in failing:
            seconds, error = await task
            assert isinstance(error, RequestTimeout)
            assert "fell silent" in str(error)
            assert 1.0 < seconds < NOTICED
        assert not any(task.done() for task in background)
        for each in background:
            each.cancel()


async def test_idle_stream_of_a_well_peer_stays(serve: Serve, pool_of: MakePool) -> None:
    """For longer than a silent peer would be suffered; the peer is asked meanwhile, and not all the time."""
    server = await serve(watched)
    pool = pool_of(server.url)
    async with pool.stream(WATCH, auth=ANONYMOUS) as stream:
        await stream.read()
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(stream.read(), 6.5)
        assert not isinstance(caught.value, RequestTimeout)
    assert 3 <= len(server.probes) <= 7
    assert len(server.seen) == 1


async def test_busy_stream_needs_no_probe(serve: Serve, pool_of: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hears from a peer need not ask whether it is there."""
    monkeypatch.setattr(monitor, "QUIET", 0.3)
    monkeypatch.setattr(monitor, "ROUND", 0.05)

    async def ticking() -> AsyncIterator[bytes]:
        while True:
            yield b"tick"
            await asyncio.sleep(0.02)

    server = await serve(lambda _: endless(ticking()))
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        ends = time.monotonic() + 0.7
        while time.monotonic() < ends:
            await stream.read()
    assert not server.probes


async def test_stream_of_a_peer_that_cannot_serve_is_given_up(
    serve: Serve, pool_of: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while: a leader may be found by then, and the stream go on."""
    monkeypatch.setattr(monitor, "QUIET", 0.1)
    monkeypatch.setattr(monitor, "ROUND", 0.05)
    monkeypatch.setattr(monitor, "PATIENCE", 0.6)
    server = await serve(watched)
    server.on_probe = lambda _: ok(b"", "503 Service Unavailable")
    seconds, error = await read_until_it_fails(pool_of(server.url))
    assert isinstance(error, RequestTimeout)
    assert "HTTP 503" in str(error)
    assert 0.6 < seconds < 1.5


def test_peer_that_cannot_serve_is_noticed_in_time() -> None:
    """What the figures add up to."""
    assert monitor.PATIENCE == 3.0
    assert monitor.QUIET + 2 * monitor.ROUND + monitor.PATIENCE <= NOTICED


async def test_stream_survives_a_moment_of_trouble(
    serve: Serve, pool_of: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that can serve again in time keeps its streams, also when it happens again later."""
    monkeypatch.setattr(monitor, "QUIET", 0.1)
    monkeypatch.setattr(monitor, "ROUND", 0.05)
    monkeypatch.setattr(monitor, "PATIENCE", 0.4)
    server = await serve(watched)

    def in_trouble(_: Seen) -> Reply:
        return ok(b"", "503 Service Unavailable")

    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        await stream.read()
        for _ in range(3):
            server.on_probe = in_trouble
            count = len(server.probes)
            await server.until(lambda server, count=count: len(server.probes) >= count + 2)  # type: ignore[misc]
            server.on_probe = lambda _: ok()
            count = len(server.probes)
            await server.until(lambda server, count=count: len(server.probes) >= count + 2)  # type: ignore[misc]
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(stream.read(), 0.3)
        assert not isinstance(caught.value, RequestTimeout)


async def test_stream_of_a_peer_that_is_learnt_of_no_longer_is_looked_after(
    serve: Serve, pool_of: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on as long as its peer is well, and is counted and closed like any other."""
    monkeypatch.setattr(monitor, "QUIET", 0.1)
    monkeypatch.setattr(monitor, "ROUND", 0.05)
    configured, learnt = await serve(watched), await serve(watched)
    pool = pool_of(configured.url, timeout=1)
    (peer,) = pool_of(learnt.url).peers
    pool.learn([peer])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(read_until_it_fails(pool, peer=learnt.url))
        await eventually(lambda: sum(status.streams for status in pool.status()) == 1)
        pool.learn([])
        learnt.on_probe = lambda _: HANG
        _, error = await task
        assert isinstance(error, RequestTimeout)


async def test_monitor_ends_with_the_last_stream(serve: Serve, pool_of: MakePool) -> None:
    """And begins again with the next: no probes for streams that are gone."""
    server = await serve(watched)
    pool = pool_of(server.url)
    for _ in range(2):
        async with pool.stream(WATCH, auth=ANONYMOUS):
            assert any(task.get_name() == "aetcd stream monitor" for task in await tasks())
        await eventually(
            lambda: all(task.get_name() != "aetcd stream monitor" for task in asyncio.all_tasks()), within=2
        )


async def tasks() -> set[asyncio.Task[None]]:
    await asyncio.sleep(0.01)
    return asyncio.all_tasks()


async def test_repr_of_a_stream(serve: Serve, pool_of: MakePool) -> None:
    """What it is, and where from."""
    server: Scripted = await serve(watched)
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        assert repr(stream) == f"<Stream watch from {server.url}>"


async def test_silence_that_is_too_long(serve: Serve, pool_of: MakePool) -> None:
    """It is told who fell silent, and the next read goes on."""
    more = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        await more.wait()
        async for piece in silence(b"late"):
            yield piece

    server = await serve(lambda _: endless(pieces()))
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        with pytest.raises(RequestTimeout, match=r"nothing came for 0\.05 s") as caught:
            await stream.read(within=0.05)
        assert (caught.value.peer, caught.value.operation) == (server.url, "watch")
        more.set()
        assert await stream.read(within=5) == b"late"


async def test_cancel_of_a_read_with_a_limit(serve: Serve, pool_of: MakePool) -> None:
    """It is the caller's, not that of the limit."""
    server = await serve(lambda _: endless(silence(b"one")))
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        await stream.read(within=5)
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(stream.read(within=5), 0.05)
        assert not isinstance(caught.value, RequestTimeout)


# Floods


def rests(pace: Pace, *reads: tuple[float, int]) -> list[float]:
    """What it says to reads at these seconds, of so many messages."""
    return [pace.rest(messages, now) for now, messages in reads]


def test_what_comes_slowly_is_read_at_once() -> None:
    """At 900 a second, however long it lasts, and whatever number comes together."""
    assert not any(rests(Pace(), *((second / 900, 1) for second in range(5000))))
    assert not any(rests(Pace(), *((float(second), 900) for second in range(100))))


@pytest.mark.parametrize(("a_second", "rest"), [(1_100, LONGEST), (10_000, 0.002)])
def test_messages_of_a_flood_gather(a_second: int, rest: float) -> None:
    """From the time when their rate is known, twenty are waited for; for 8 ms at most."""
    said = rests(Pace(), *((number / a_second, 1) for number in range(40)))
    assert not any(said[:32])
    assert said[32:] == [pytest.approx(rest, rel=0.1)] * 8


def test_flood_that_pauses_is_still_one() -> None:
    """What a server stands still for is not taken for its end: as much comes together afterwards."""
    pace = Pace()
    rests(pace, *((number / 2_000, 1) for number in range(33)))
    assert all(rests(pace, *((float(second), messages) for second in range(1, 100) for messages in (1, 16))))


def test_sender_who_waits_for_the_reader_is_hardly_kept_waiting() -> None:
    """It answers each message within half a millisecond, so a rest gathers one: it is tried every ten seconds."""
    pace, now, rested = Pace(), 0.0, 0.0
    while now < 20 * CALM:
        rest = pace.rest(1, now)
        rested += rest
        now += rest + 0.0005
    assert 0 < rested < 0.03 * now


async def test_connection_is_left_alone_and_taken_up_again(serve: Serve, pool_of: MakePool) -> None:
    """Nothing of it is read meanwhile, and nothing is lost."""
    more = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await more.wait()
        async for piece in silence(b"two"):
            yield piece

    server = await serve(lambda _: endless(pieces()))
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        await stream.read()
        for messages in (0, 32):
            stream.let_gather(messages)
        connection = stream._answer.connection
        assert connection is not None
        assert connection.transport is not None
        assert not connection.transport.is_reading()
        more.set()
        assert await stream.read() == b"two"
        assert connection.transport.is_reading()


async def test_stream_may_end_while_it_is_left_alone(serve: Serve, pool_of: MakePool) -> None:
    """Who reads is told at once, and its timer finds nothing to take up."""
    server = await serve(watched)
    async with pool_of(server.url).stream(WATCH, auth=ANONYMOUS) as stream:
        await stream.read()
        for messages in (0, 32):
            stream.let_gather(messages)
        stream.fail(RequestTimeout("it fell silent"))
        with pytest.raises(RequestTimeout, match="it fell silent"):
            await stream.read()
        stream.let_gather(1)
    await asyncio.sleep(2 * LONGEST)  # the timer of the rest: an error in it fails the test
