"""Deadlines: of the connection, of silence, of the whole call; and what a caller's own limits leave behind."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from attrs import evolve
from scripted import GET, HANG, PUT, RENEW, MakePool, Reply, Serve, deaf, eventually, ok

from aetcd import ConfigError, NoPeerAvailable, Outcome, OutcomeUnknown, RequestTimeout, RetryPolicy, Timeout
from aetcd._transport.auth import ANONYMOUS
from aetcd._transport.pool import Pool
from aetcd._transport.timeouts import Budget
from aetcd._wire.message import Request


@asynccontextmanager
async def takes(least: float, most: float) -> AsyncIterator[None]:
    """The block takes so many seconds."""
    started = time.monotonic()
    yield
    assert least - 0.01 <= time.monotonic() - started < most


async def test_silent_peer_is_left_for_another(serve: Serve, pool_of: MakePool) -> None:
    """A third of the call's time is for one attempt of a read."""
    silent, well = await serve(lambda _: HANG), await serve()
    async with takes(0.3, 0.6):
        assert (await pool_of(silent.url, well.url, timeout=0.9).send(GET, auth=ANONYMOUS)).peer == well.url


async def test_silence_in_the_middle_of_an_answer_is_silence(serve: Serve, pool_of: MakePool) -> None:
    """A peer that stops half way is left as well."""
    half = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234", "hang")
    silent, well = await serve(lambda _: half), await serve()
    async with takes(0.3, 0.6):
        assert (await pool_of(silent.url, well.url, timeout=0.9).send(GET, auth=ANONYMOUS)).peer == well.url


async def test_deaf_peer_is_left_for_another(serve: Serve, pool_of: MakePool) -> None:
    """The time for a connection is limited as that for an answer is."""
    well = await serve()
    with deaf() as url:
        async with takes(0.3, 0.6):
            assert (await pool_of(url, well.url, timeout=0.9).send(GET, auth=ANONYMOUS)).peer == well.url


@pytest.mark.parametrize(("limits", "span"), [(Timeout(5, connect=0.1), 0.1), (Timeout(0.6), 0.2)])
async def test_connect_limit(serve: Serve, pool_of: MakePool, limits: Timeout, span: float) -> None:
    """It is a limit of its own where it is given."""
    well = await serve()
    with deaf() as url:
        async with takes(span, span + 0.25):
            await pool_of(url, well.url).send(GET, auth=ANONYMOUS, timeout=limits)


async def test_read_limit(serve: Serve, pool_of: MakePool) -> None:
    """It holds for writes too where it is given: then their outcome is unknown earlier."""
    silent, well = await serve(lambda _: HANG), await serve()
    pool = pool_of(silent.url, well.url, timeout=Timeout(5, read=0.1))
    async with takes(0.1, 0.4):
        with pytest.raises(OutcomeUnknown):
            await pool.send(PUT, auth=ANONYMOUS)
    assert not well.seen


@pytest.mark.parametrize("limits", [Timeout(0.3, connect=math.inf, read=math.inf), Timeout(0.3)])
async def test_single_peer_is_waited_for_to_the_end(serve: Serve, pool_of: MakePool, limits: Timeout) -> None:
    """There is nobody else to ask."""
    silent = await serve(lambda _: HANG)
    async with takes(0.3, 0.5):
        with pytest.raises(RequestTimeout) as caught:
            await pool_of(silent.url).send(GET, auth=ANONYMOUS, timeout=limits)
    assert len(silent.seen) == 1
    assert (caught.value.outcome, caught.value.peer, caught.value.operation) == (Outcome.UNKNOWN, silent.url, "get")


async def test_all_silent_peers_are_tried_within_the_deadline(serve: Serve, pool_of: MakePool) -> None:
    """The call ends when its time is over, and not before."""
    silent = [await serve(lambda _: HANG) for _ in range(3)]
    async with takes(0.45, 0.7):
        with pytest.raises(RequestTimeout, match="3 of 3 peers") as caught:
            await pool_of(*(server.url for server in silent), timeout=0.45).send(GET, auth=ANONYMOUS)
    assert isinstance(caught.value, TimeoutError)
    assert [len(server.seen) for server in silent] == [1, 1, 1]


async def test_deadline_bounds_the_retries(serve: Serve, pool_of: MakePool) -> None:
    """Refusals that come at once do not go on past it either."""
    broken = await serve(lambda _: Reply(then="rst"))
    pool = pool_of(broken.url, retry=RetryPolicy(attempts=10**6, base=0.02, cap=0.02))
    async with takes(0.2, 0.5):
        with pytest.raises(RequestTimeout):
            await pool.send(GET, auth=ANONYMOUS, timeout=0.3)


async def test_total_is_for_all_attempts(serve: Serve, pool_of: MakePool) -> None:
    """A slow peer cannot use more than what the others have left."""
    servers = [await serve(lambda _: HANG) for _ in range(2)]
    async with takes(0.3, 0.5):
        with pytest.raises(RequestTimeout):
            await pool_of(*(server.url for server in servers), timeout=9).send(GET, auth=ANONYMOUS, timeout=0.3)


async def test_deaf_peers_alone_were_not_sent_anything(pool_of: MakePool) -> None:
    """The time was over, and the caller is told that nothing was sent."""
    with deaf() as one, deaf() as two:
        async with takes(0.25, 0.6):
            with pytest.raises(NoPeerAvailable) as caught:
                await pool_of(one, two, timeout=0.3).send(RENEW, auth=ANONYMOUS)
        assert caught.value.outcome is Outcome.NOT_SENT


async def test_limits_of_calls_under_way_together(serve: Serve, pool_of: MakePool) -> None:
    """Each call ends when its own time is over, in whichever order they began; one without a limit goes on."""
    server = await serve(lambda _: HANG)
    pool = pool_of(server.url)
    clock = asyncio.get_running_loop().time
    ended: dict[float, float] = {}

    async def call(seconds: float) -> None:
        started = clock()
        with pytest.raises(RequestTimeout):
            await pool.send(GET, auth=ANONYMOUS, timeout=seconds)
        ended[seconds] = clock() - started

    async with anyio.create_task_group() as group:
        endless = asyncio.ensure_future(pool.send(GET, auth=ANONYMOUS, timeout=math.inf))
        for seconds in (0.6, 0.2, 0.4):
            group.start_soon(call, seconds)
    assert list(ended) == [0.2, 0.4, 0.6]
    assert all(seconds <= took < seconds + 0.15 for seconds, took in ended.items())
    assert not endless.done()
    endless.cancel()
    await asyncio.wait([endless])


async def test_no_limit(serve: Serve, pool_of: MakePool) -> None:
    """Infinity is a time, and the pool does not choke on it."""
    server = await serve()
    everything = Timeout(math.inf, connect=math.inf, read=math.inf)
    assert (await pool_of(server.url, timeout=everything).send(GET, auth=ANONYMOUS)).status == 200
    assert (await pool_of(server.url, server.url + "/b").send(PUT, auth=ANONYMOUS, timeout=everything)).status == 200


async def send(pool: Pool, request: Request) -> None:
    await pool.send(request, auth=ANONYMOUS)


async def open_stream(pool: Pool, request: Request) -> None:
    async with pool.stream(request, auth=ANONYMOUS) as stream:
        while await stream.read():
            pass


HALF = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234", "hang")


@pytest.mark.parametrize("how", [send, open_stream])
@pytest.mark.parametrize("stage", ["connecting", "no answer", "mid answer", "between attempts", "waiting for a turn"])
@pytest.mark.parametrize("limit", ["cancel", "asyncio", "anyio"])
async def test_caller_that_gives_up_leaves_nothing(
    serve: Serve, pool_of: MakePool, how: Any, stage: str, limit: str
) -> None:
    """At each stage: no pending request, no turn taken, no connection half read."""
    plan = {"no answer": HANG, "mid answer": HALF, "between attempts": ok(status="503 No"), "waiting for a turn": HANG}
    server = await serve(lambda seen: ok() if seen.target == "/after" else plan[stage])
    with deaf() as url:
        retry = RetryPolicy(base=1000.0, cap=1000.0)
        pool = pool_of(url if stage == "connecting" else server.url, timeout=math.inf, limit=1, retry=retry)
        first = None
        if stage == "waiting for a turn":
            first = asyncio.create_task(send(pool, GET))
            await server.until(lambda server: len(server.seen) == 1)
        if stage == "between attempts" and how is open_stream:
            server.plan = lambda seen: ok() if seen.target == "/after" else Reply(then="rst")
        await give_up(how, pool, limit)
        if first is not None:
            first.cancel()
            await asyncio.wait([first])
        await eventually(lambda: all(status.pending == status.streams == 0 for status in pool.status()))
        if stage != "connecting":
            answer = await asyncio.wait_for(pool.send(evolve(PUT, path="/after"), auth=ANONYMOUS), 2)
            assert answer.body == b"{}"


async def give_up(how: Any, pool: Pool, limit: str) -> None:
    if limit == "asyncio":
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.1):
                await how(pool, GET)
        assert type(caught.value) is TimeoutError
    elif limit == "anyio":
        with anyio.move_on_after(0.1) as scope:
            await how(pool, GET)
        assert scope.cancelled_caught
    else:
        task = asyncio.create_task(how(pool, GET))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_outer_limit_at_the_same_moment_as_the_inner(serve: Serve, pool_of: MakePool) -> None:
    """Two limits that end together give one of the two errors, and leave the task uncancelled."""
    silent = await serve(lambda _: HANG)
    pool = pool_of(silent.url)
    task = asyncio.current_task()
    assert task is not None
    for _ in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await pool.send(GET, auth=ANONYMOUS, timeout=0.02)
        assert task.cancelling() == 0
        await asyncio.sleep(0)


@pytest.mark.parametrize("bad", [0, -1, math.nan, -math.inf])
@pytest.mark.parametrize("name", ["total", "connect", "read"])
def test_limit_that_is_no_time(name: str, bad: float) -> None:
    """It is said by name."""
    with pytest.raises(ConfigError, match=rf"timeout\.{name}"):
        Timeout(**{name: bad})


@pytest.mark.parametrize("bad", ["1", True, [1]])
@pytest.mark.parametrize("name", ["total", "connect", "read"])
def test_limit_that_is_no_number(name: str, bad: Any) -> None:
    """Nor is it converted."""
    with pytest.raises(TypeError, match=rf"timeout\.{name}"):
        Timeout(**{name: bad})


def test_total_is_needed() -> None:
    """None would be a limit that was forgotten; infinity is one that was meant."""
    with pytest.raises(TypeError, match=r"timeout\.total"):
        Timeout(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("total", "attempt"), [(10, 2.0), (6, 2.0), (3, 1.0), (0.3, 0.1), (math.inf, 2.0)])
def test_attempt_is_a_third_and_two_seconds_at_most(total: float, attempt: float) -> None:
    """So that two more peers can be asked."""
    assert Timeout(total).attempt == pytest.approx(attempt)


def test_number_is_a_total() -> None:
    """`timeout=3` is all that most callers write."""
    limits = Timeout(3, connect=1)
    assert Timeout.of(3) == Timeout(total=3)
    assert Timeout.of(limits) is limits


def test_budget_gives_what_is_left() -> None:
    """Several requests share one call's time, and the last one gets a moment in any case."""
    now = [100.0]
    budget = Budget(Timeout(3, connect=1), lambda: now[0])
    assert budget.left() == Timeout(3, connect=1)
    now[0] += 2
    assert budget.left() == Timeout(1, connect=1)
    now[0] += 2
    assert budget.left() == Timeout(0.001, connect=1)
