"""Bodies that are made while they are sent: taken no faster than the peer takes them, and sent once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from scripted import CUT, HANG, PUT, RENEW, MakePool, Reply, Seen, Serve, deaf, ok, refusing

from aetcd import OutcomeUnknown
from aetcd._transport.auth import ANONYMOUS
from aetcd._transport.channel import Channel
from aetcd._transport.pool import Pool

MIB = 2**20


async def some(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def upload(pool: Pool, content: AsyncIterator[bytes], length: int | None) -> tuple[int, bytes]:
    async with Channel(pool, ANONYMOUS).upload(PUT, content, length=length) as stream:
        return stream.status, await stream.read()


async def test_declared_length(serve: Serve, pool_of: MakePool) -> None:
    """The body goes with the length that was declared, whole."""
    server = await serve(lambda _: ok(b"stored", "201 Created"))
    assert await upload(pool_of(server.url), some(b"one", b"two"), 6) == (201, b"stored")
    (seen,) = server.seen
    assert seen.body == b"onetwo"
    assert seen.headers["content-length"] == "6"


async def test_unknown_length_goes_in_chunks(serve: Serve, pool_of: MakePool) -> None:
    """Without a length the body is chunked."""
    server = await serve(lambda _: Reply(ok(b"stored").data, "fin"))
    assert await upload(pool_of(server.url), some(b"one"), None) == (200, b"stored")
    assert server.seen[0].headers["transfer-encoding"] == "chunked"
    assert "content-length" not in server.seen[0].headers


@pytest.mark.parametrize(("length", "told"), [(7, "ended after 6 bytes of 7"), (5, "longer than the 5 bytes")])
async def test_wrong_length_is_the_callers_error(serve: Serve, pool_of: MakePool, length: int, told: str) -> None:
    """A source that gives more or less than was declared is named, and nothing whole arrives."""
    server = await serve(lambda _: ok())
    with pytest.raises(ValueError, match=f"content: it .*{told}"):
        await upload(pool_of(server.url), some(b"one", b"two"), length)
    assert not any(seen.body for seen in server.seen)


async def test_error_of_the_source_reaches_the_caller(serve: Serve, pool_of: MakePool) -> None:
    """As it is: it is no broken connection."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"one"
        raise LookupError("the file is gone")

    server = await serve(lambda _: ok())
    with pytest.raises(LookupError, match="the file is gone"):
        await upload(pool_of(server.url), failing(), 6)


async def test_peer_that_takes_nothing_holds_the_source_back(serve: Serve, pool_of: MakePool) -> None:
    """No more is taken from the source than fits into the buffers between, and the limit ends it."""
    server = await serve()
    stop = asyncio.Event()

    async def held(_: Seen) -> Reply:
        await stop.wait()
        return CUT

    server.plan = held
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += MIB
            yield bytes(MIB)

    with pytest.raises(OutcomeUnknown):
        await upload(pool_of(server.url, timeout=0.5), endless(), 10**12)
    stop.set()
    assert given < 64 * MIB


async def test_limit_is_that_of_each_pause(serve: Serve, pool_of: MakePool) -> None:
    """An upload that moves may take longer than the limit in all; then the answer has as long again."""
    server = await serve(lambda _: HANG)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def slow() -> AsyncIterator[bytes]:
        while loop.time() - began < 1.0:
            await asyncio.sleep(0.1)  # its pauses are what is tested
            yield b"."

    # It answers nothing: the limit ends the wait for the answer, after a second of pieces.
    with pytest.raises(OutcomeUnknown):
        await upload(pool_of(server.url, timeout=0.5), slow(), None)
    assert loop.time() - began >= 1.4


async def test_source_is_not_touched_before_a_connection_stands(serve: Serve, pool_of: MakePool) -> None:
    """It goes on to the next peer where the first refuses."""
    server = await serve(lambda _: ok(b"stored"))
    assert await upload(pool_of(refusing(), server.url), some(b"one"), 3) == (200, b"stored")
    assert [seen.body for seen in server.seen] == [b"one"]


async def test_cut_upload_is_not_sent_again(serve: Serve, pool_of: MakePool) -> None:
    """What has left may have been applied."""
    first, second = await serve(lambda _: CUT), await serve()
    with pytest.raises(OutcomeUnknown):
        await upload(pool_of(first.url, second.url), some(b"one"), 3)
    assert (len(first.seen), len(second.seen)) == (1, 0)


async def test_early_answer_ends_the_upload(serve: Serve, pool_of: MakePool) -> None:
    """A refusal that comes before the body has ended is the answer."""
    server = await serve(lambda _: Reply(ok(b"no", "403 Forbidden").data, "hang", read=0))

    async def waiting() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    assert await upload(pool_of(server.url), waiting(), 10) == (403, b"no")


async def test_repeatable_request_is_refused(pool_of: MakePool) -> None:
    """Its body could not be sent twice."""
    with deaf() as url, pytest.raises(ValueError, match=r"request: .* ONCE"):
        Channel(pool_of(url), ANONYMOUS).upload(RENEW, some(b"one"), length=3)


async def test_silent_peer_after_the_last_piece(serve: Serve, pool_of: MakePool) -> None:
    """The limit also ends the wait for the answer."""
    server = await serve(lambda _: HANG)
    with pytest.raises(OutcomeUnknown):
        await upload(pool_of(server.url, timeout=0.3), some(b"one"), 3)
    assert server.seen[0].body == b"one"
