"""A connection that is cut at each point of a request: a write goes out once, a read goes on elsewhere."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from attrs import evolve
from scripted import CUT, GET, HANG, PUT, RENEW, MakePool, Reply, Seen, Serve, deaf, ok, refusing

from aetcd import NoPeerAvailable, Outcome, OutcomeUnknown, RequestTimeout, RetryPolicy
from aetcd._transport.auth import ANONYMOUS
from aetcd._wire.message import Effect, Request, Response, Verdict

End = Literal["fin", "rst"]

# What the server reads of the body and sends of its answer before it ends the connection.
POINTS = {
    "after the headers": Reply(read=0),
    "mid body": Reply(read=3),
    "no answer": Reply(),
    "mid status line": Reply(b"HTTP/1.1 20"),
    "after the status line": Reply(b"HTTP/1.1 200 OK\r\n"),
    "mid headers": Reply(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "after the answer's headers": Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    "mid answer": Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"),
    "mid chunk": Reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n1234"),
    "between chunks": Reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n"),
}
GARBAGE = {
    "no HTTP": Reply(b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n", "fin"),
    "a bad status": Reply(b"HTTP/1.1 abc OK\r\n\r\n", "fin"),
    "a bad chunk": Reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "fin"),
    "a bad encoding": Reply(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "keep"),
}
WRITES = {
    "PUT": PUT,
    "POST": evolve(PUT, operation="post", method="POST", path="/post"),
    "DELETE": Request(operation="delete", method="DELETE", path="/delete", effect=Effect.ONCE),
}


def is_write(seen: Seen) -> bool:
    return seen.target in {request.path for request in WRITES.values()}


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
async def test_cut_write_was_sent_once(
    serve: Serve, pool_of: MakePool, point: Reply, write: Request, kept: bool, end: End
) -> None:
    """Wherever it is cut: no server sees it again, and the caller is told that its fate is open."""
    first = await serve(lambda seen: evolve(point, then=end) if is_write(seen) else ok())
    other = await serve()
    pool = pool_of(first.url, other.url)
    if kept:
        await pool.send(GET, auth=ANONYMOUS, peer=first.url)
    with pytest.raises(OutcomeUnknown) as caught:
        await pool.send(write, auth=ANONYMOUS)
    assert [seen.method for seen in first.seen if is_write(seen)] == [write.method]
    assert not other.seen
    assert (first.accepted, other.accepted) == (1, 0)
    error = caught.value
    assert (error.request, error.peer, error.outcome) == (write, first.url, Outcome.UNKNOWN)
    assert write.operation in str(error)
    assert first.url in str(error)


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbled_answer_to_a_write_leaves_its_outcome_unknown(
    serve: Serve, pool_of: MakePool, answer: Reply
) -> None:
    """An answer that cannot be read says nothing of what was done."""
    server, other = await serve(lambda _: answer), await serve()
    with pytest.raises(OutcomeUnknown):
        await pool_of(server.url, other.url).send(PUT, auth=ANONYMOUS)
    assert (len(server.seen), len(other.seen)) == (1, 0)


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbled_answer_to_a_read_goes_to_another_peer(serve: Serve, pool_of: MakePool, answer: Reply) -> None:
    """It is as good as no answer."""
    server, other = await serve(lambda _: answer), await serve()
    assert (await pool_of(server.url, other.url).send(GET, auth=ANONYMOUS)).peer == other.url


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
async def test_dead_kept_connection_sends_no_write_twice(serve: Serve, pool_of: MakePool, write: Request) -> None:
    """The server ends a kept connection as it gets the next request: aiohttp would send PUT and DELETE again."""
    server = await serve(lambda seen: CUT if is_write(seen) and seen.connection == 0 else ok())
    pool = pool_of(server.url)
    await pool.send(GET, auth=ANONYMOUS)
    with pytest.raises(OutcomeUnknown):
        await pool.send(write, auth=ANONYMOUS)
    assert sum(map(is_write, server.seen)) == 1
    assert server.accepted == 1


async def test_refused_write_goes_to_another_peer(serve: Serve, pool_of: MakePool) -> None:
    """Where no connection stood, nothing was sent."""
    server = await serve()
    answer = await pool_of(refusing(), server.url).send(PUT, auth=ANONYMOUS)
    assert (answer.status, answer.peer, len(server.seen)) == (200, server.url, 1)


async def test_write_goes_past_a_peer_that_accepts_no_connection(serve: Serve, pool_of: MakePool) -> None:
    """As long as the connection does not stand, nothing was sent."""
    server = await serve()
    with deaf() as url:
        pool = pool_of(url, server.url, timeout=1.5)
        assert (await pool.send(PUT, auth=ANONYMOUS)).peer == server.url


async def test_write_refused_everywhere_was_not_sent(pool_of: MakePool) -> None:
    """Then the caller may send it again."""
    pool = pool_of(refusing(), refusing())
    with pytest.raises(NoPeerAvailable, match="no answer from any peer") as caught:
        await pool.send(PUT, auth=ANONYMOUS)
    assert caught.value.outcome is Outcome.NOT_SENT


async def test_write_to_one_deaf_peer_was_not_sent(pool_of: MakePool) -> None:
    """Also where the time for the connection and the time for the call end at once."""
    with deaf() as url:
        with pytest.raises(NoPeerAvailable) as caught:
            await pool_of(url, timeout=0.2).send(PUT, auth=ANONYMOUS)
        assert caught.value.outcome is Outcome.NOT_SENT


async def test_silent_write_is_waited_for_and_not_sent_again(serve: Serve, pool_of: MakePool) -> None:
    """Another peer would be asked for a read. A write waits until its time is over."""
    silent, other = await serve(lambda _: HANG), await serve()
    pool = pool_of(silent.url, other.url, timeout=0.6)
    started = asyncio.get_running_loop().time()
    with pytest.raises(OutcomeUnknown):
        await pool.send(PUT, auth=ANONYMOUS)
    assert 0.6 <= asyncio.get_running_loop().time() - started < 1.0
    assert (len(silent.seen), len(other.seen)) == (1, 0)


@pytest.mark.parametrize("request_", [GET, RENEW], ids=["read", "repeatable"])
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
async def test_cut_request_goes_to_another_peer(
    serve: Serve, pool_of: MakePool, point: Reply, request_: Request
) -> None:
    """What may be sent twice is."""
    broken, well = await serve(lambda _: evolve(point, then="rst")), await serve()
    assert (await pool_of(broken.url, well.url).send(request_, auth=ANONYMOUS)).peer == well.url
    assert (len(broken.seen), len(well.seen)) == (1, 1)


def judge(response: Response) -> Verdict:
    return Verdict(response.body.decode())


VERDICTS = {verdict: ok(verdict.value.encode(), "503 Service Unavailable") for verdict in Verdict}


@pytest.mark.parametrize("effect", Effect)
async def test_peer_that_cannot_now_is_passed_over(serve: Serve, pool_of: MakePool, effect: Effect) -> None:
    """It applied nothing, so whatever it was goes to another."""
    busy, well = await serve(lambda _: VERDICTS[Verdict.NOT_NOW]), await serve(lambda _: VERDICTS[Verdict.FINAL])
    request = evolve(PUT, effect=effect, judge=judge)
    assert (await pool_of(busy.url, well.url).send(request, auth=ANONYMOUS)).peer == well.url
    assert (len(busy.seen), len(well.seen)) == (1, 1)


@pytest.mark.parametrize("effect", [Effect.READ, Effect.REPEATABLE])
async def test_open_answer_sends_again_what_may_be(serve: Serve, pool_of: MakePool, effect: Effect) -> None:
    """A peer that gave up waiting is passed over by what does no harm twice."""
    late, well = await serve(lambda _: VERDICTS[Verdict.OPEN]), await serve(lambda _: VERDICTS[Verdict.FINAL])
    request = evolve(PUT, effect=effect, judge=judge)
    assert (await pool_of(late.url, well.url).send(request, auth=ANONYMOUS)).peer == well.url


async def test_open_answer_to_a_write_leaves_its_outcome_unknown(serve: Serve, pool_of: MakePool) -> None:
    """An answer that tells nothing of the fate is no answer."""
    late, well = await serve(lambda _: VERDICTS[Verdict.OPEN]), await serve()
    with pytest.raises(OutcomeUnknown, match="HTTP 503 open") as caught:
        await pool_of(late.url, well.url).send(evolve(PUT, judge=judge), auth=ANONYMOUS)
    assert caught.value.request.operation == "put"
    assert not well.seen


async def test_last_answer_is_handed_back(serve: Serve, pool_of: MakePool) -> None:
    """When all attempts are used up, the caller gets what the server said."""
    busy = await serve(lambda _: VERDICTS[Verdict.NOT_NOW])
    pool = pool_of(busy.url)
    answer = await pool.send(evolve(PUT, judge=judge), auth=ANONYMOUS)
    assert (answer.status, answer.body) == (503, b"not now")
    assert len(busy.seen) == 10


async def test_write_after_a_refused_answer_still_tells_open_from_not(serve: Serve, pool_of: MakePool) -> None:
    """First refused, then cut: the second decides."""
    busy, broken = await serve(lambda _: VERDICTS[Verdict.NOT_NOW]), await serve(lambda _: CUT)
    with pytest.raises(OutcomeUnknown) as caught:
        await pool_of(busy.url, broken.url).send(evolve(PUT, judge=judge), auth=ANONYMOUS)
    assert caught.value.peer == broken.url
    assert (len(busy.seen), len(broken.seen)) == (1, 1)


async def test_repeatable_that_was_cut_everywhere_may_have_been_applied(serve: Serve, pool_of: MakePool) -> None:
    """It is no OutcomeUnknown, since sending it again does no harm, but the outcome is told."""
    broken = await serve(lambda _: CUT)
    with pytest.raises(NoPeerAvailable) as caught:
        await pool_of(broken.url).send(RENEW, auth=ANONYMOUS)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert len(broken.seen) == 10


async def test_silent_read_with_one_attempt_timed_out(serve: Serve, pool_of: MakePool) -> None:
    """That no more attempts are allowed does not change what happened."""
    silent = await serve(lambda _: HANG)
    with pytest.raises(RequestTimeout):
        await pool_of(silent.url, timeout=0.2, retry=RetryPolicy(attempts=1)).send(GET, auth=ANONYMOUS)
