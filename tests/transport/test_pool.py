"""Where requests go: balance, pins, turns, health."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Any

import pytest
from attrs import evolve
from scripted import (
    CUT,
    GET,
    HANG,
    PROBE,
    PUT,
    MakePool,
    Reply,
    Seen,
    Serve,
    endless,
    eventually,
    ok,
    refusing,
    silence,
)

from aetcd import (
    ConfigError,
    ConnectFailed,
    NoPeerAvailable,
    Outcome,
    OutcomeUnknown,
    RequestTimeout,
    RetryPolicy,
)
from aetcd._routing.health import HealthPolicy
from aetcd._routing.peer import Peer
from aetcd._transport.auth import ANONYMOUS, TokenAuth
from aetcd._transport.trace import PeerEvent, Trace, Tracer
from aetcd._wire.message import Request, Verdict

STREAM = evolve(GET, operation="watch", path="/watch")


async def test_peers_take_turns(serve: Serve, pool_of: MakePool) -> None:
    """Round robin, by default."""
    servers = [await serve() for _ in range(3)]
    pool = pool_of(*(server.url for server in servers))
    for _ in range(9):
        await pool.send(GET, auth=ANONYMOUS)
    assert [len(server.seen) for server in servers] == [3, 3, 3]


async def test_attempts_bound_the_retries(pool_of: MakePool) -> None:
    """So many, and no more; the error tells how many and where."""
    seen: list[Any] = []
    pool = pool_of(
        refusing(), refusing(), retry=RetryPolicy(attempts=5, base=0.001), tracer=tracer(on_request=seen.append)
    )
    with pytest.raises(NoPeerAvailable, match="5 attempts at 2 of 2 peers") as caught:
        await pool.send(GET, auth=ANONYMOUS)
    assert len(seen) == 5
    assert caught.value.outcome is Outcome.NOT_SENT
    assert isinstance(caught.value.__cause__, ConnectFailed)


async def test_one_attempt(serve: Serve, pool_of: MakePool) -> None:
    """Where the user wants no retries, there are none."""
    broken, other = await serve(lambda _: CUT), await serve()
    with pytest.raises(NoPeerAvailable, match="1 attempt at 1 of 2 peers"):
        await pool_of(broken.url, other.url, retry=RetryPolicy(attempts=1)).send(GET, auth=ANONYMOUS)
    assert not other.seen


async def test_any_server_status_is_an_answer(serve: Serve, pool_of: MakePool) -> None:
    """What is not judged as passing is the caller's: no retry hides it."""
    server = await serve(lambda _: ok(b"no", "500 Internal Server Error"))
    assert (await pool_of(server.url).send(GET, auth=ANONYMOUS)).status == 500
    assert len(server.seen) == 1


# One peer, by name


async def test_pinned_request_goes_to_its_peer(serve: Serve, pool_of: MakePool) -> None:
    """Whatever the balance says, and however the peer is written."""
    one, two = await serve(), await serve()
    pool = pool_of(one.url, two.url)
    for peer in (two.url, pool.peers[1], f"127.0.0.1:{two.port}"):
        assert (await pool.send(GET, auth=ANONYMOUS, peer=peer)).peer == two.url
    async with pool.stream(GET, auth=ANONYMOUS, peer=two.url) as stream:
        assert stream.peer == two.url
    assert (len(one.seen), len(two.seen)) == (0, 4)


@pytest.mark.parametrize("request_", [GET, PUT])
async def test_pinned_peer_out_of_reach(serve: Serve, pool_of: MakePool, request_: Any) -> None:
    """Nobody else is asked."""
    other, away = await serve(), refusing()
    pool = pool_of(other.url, away)
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(request_, auth=ANONYMOUS, peer=away)
    assert (caught.value.outcome, caught.value.peer) == (Outcome.NOT_SENT, away)
    assert not other.seen


async def test_pinned_peer_that_cuts(serve: Serve, pool_of: MakePool) -> None:
    """A read says that it failed, a write that its outcome is open."""
    broken, other = await serve(lambda _: CUT), await serve()
    pool = pool_of(broken.url, other.url)
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(GET, auth=ANONYMOUS, peer=broken.url)
    assert caught.value.outcome is Outcome.UNKNOWN
    with pytest.raises(OutcomeUnknown):
        await pool.send(PUT, auth=ANONYMOUS, peer=broken.url)
    assert (len(broken.seen), len(other.seen)) == (2, 0)


async def test_pinned_peer_may_use_the_whole_time(serve: Serve, pool_of: MakePool) -> None:
    """There is no other for which time must be left."""
    silent, other = await serve(lambda _: HANG), await serve()
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(RequestTimeout):
        await pool_of(silent.url, other.url).send(GET, auth=ANONYMOUS, peer=silent.url, timeout=0.4)
    assert 0.4 <= loop.time() - started < 0.7


async def test_pinned_peer_may_be_unknown(serve: Serve, pool_of: MakePool) -> None:
    """A node that is asked by name need not be one of those that share the load."""
    known, unknown = await serve(), await serve()
    pool = pool_of(known.url)
    assert (await pool.send(GET, auth=ANONYMOUS, peer=unknown.url)).peer == unknown.url
    assert [peer.url for peer in pool.peers] == [known.url]
    assert {status.url for status in pool.status()} == {known.url, unknown.url}
    for _ in range(3):
        assert (await pool.send(GET, auth=ANONYMOUS)).peer == known.url


@pytest.mark.parametrize("peer", ["http://10.0.0.1:2379", Peer("10.0.0.1", 2379)])
async def test_pinned_peer_is_never_spoken_to_in_clear_text(pool_of: MakePool, peer: Any) -> None:
    """Where the configured ones are spoken to by TLS: credentials would go out in clear."""
    pool = pool_of("https://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"peer: .* without TLS"):
        await pool.send(GET, auth=ANONYMOUS, peer=peer)


@pytest.mark.parametrize("peer", ["http://a,b", "ftp://a", "", "http://ann:hush@a"])
async def test_pinned_peer_that_is_none(pool_of: MakePool, peer: str) -> None:
    """It names the argument, and shows no credentials."""
    with pytest.raises(ConfigError, match=r"^peer: ") as caught:
        await pool_of("http://127.0.0.1:1").send(GET, auth=ANONYMOUS, peer=peer)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("peer", [5, ["http://a"], b"http://a"])
async def test_pinned_peer_of_another_type(pool_of: MakePool, peer: Any) -> None:
    """It is no text."""
    with pytest.raises(TypeError, match=r"^peer must be a URL, not (int|list|bytes)$"):
        await pool_of("http://127.0.0.1:1").send(GET, auth=ANONYMOUS, peer=peer)


async def test_learnt_peers_stand_beside_the_configured(serve: Serve, pool_of: MakePool) -> None:
    """The newest list takes the place of the one before; the configured ones stay; none lowers TLS."""
    one, two, three = [await serve() for _ in range(3)]
    pool = pool_of(one.url)
    (second,), (third,) = pool_of(two.url).peers, pool_of(three.url).peers
    pool.learn([second])
    pool.learn([third])
    assert [peer.url for peer in pool.peers] == [one.url, three.url]
    for _ in range(4):
        await pool.send(GET, auth=ANONYMOUS)
    assert [len(server.seen) for server in (one, two, three)] == [2, 0, 2]
    secure = pool_of("https://127.0.0.1:1")
    secure.learn([second])
    assert len(secure.peers) == 1


# Turns


async def test_more_requests_than_turns_wait(serve: Serve, pool_of: MakePool) -> None:
    """`limit` are on the wire, and each that ends lets in one more."""
    release = asyncio.Semaphore(0)

    async def later() -> Reply:
        await release.acquire()
        return ok()

    server = await serve(lambda _: later())
    pool = pool_of(server.url, limit=3)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(pool.send(GET, auth=ANONYMOUS))
        await server.until(lambda server: len(server.seen) == 3)
        await settle()
        assert len(server.seen) == 3
        release.release()
        await server.until(lambda server: len(server.seen) == 4)
        await settle()
        assert len(server.seen) == 4
        for _ in range(4):
            release.release()
    assert len(server.seen) == 5


async def settle() -> None:
    """Time for what should not happen."""
    await asyncio.sleep(0.05)


async def test_turn_that_does_not_come_is_no_peers_fault(serve: Serve, pool_of: MakePool) -> None:
    """Nothing was sent, and no peer looks slow or ill for it."""
    server = await serve(lambda _: HANG)
    pool = pool_of(server.url, limit=1)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(pool.send(PUT, auth=ANONYMOUS, peer=server.url, timeout=math.inf))
        await server.until(lambda server: len(server.seen) == 1)
        started = asyncio.get_running_loop().time()
        for request in (GET, PUT):
            with pytest.raises(RequestTimeout, match="1 requests of this client were on the wire") as caught:
                await pool.send(request, auth=ANONYMOUS, timeout=0.1)
            assert caught.value.outcome is Outcome.NOT_SENT
        assert asyncio.get_running_loop().time() - started < 1
        (status,) = pool.status()
        assert (status.state, status.pending, status.last_error) == ("healthy", 1, None)
        first.cancel()
    assert (len(server.seen), len(server.probes)) == (1, 0)


async def test_failover_does_not_keep_the_turn(serve: Serve, pool_of: MakePool) -> None:
    """Who sleeps before the next attempt lets others pass."""
    server = await serve(lambda seen: CUT if seen.target == "/get" else ok())
    pool = pool_of(server.url, limit=1, retry=RetryPolicy(base=100, cap=100), timeout=math.inf)
    task = asyncio.create_task(pool.send(GET, auth=ANONYMOUS))
    await server.until(lambda server: len(server.seen) == 1)
    assert (await asyncio.wait_for(pool.send(PUT, auth=ANONYMOUS), 2)).status == 200
    task.cancel()
    await asyncio.wait([task])


async def test_streams_take_no_turns(serve: Serve, pool_of: MakePool) -> None:
    """More of them than any limit of requests, and a request still passes."""
    server = await serve(lambda seen: endless(silence()) if seen.target == "/watch" else ok())
    pool = pool_of(server.url, limit=1)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        enough = asyncio.Event()

        async def watch() -> None:
            async with pool.stream(STREAM, auth=ANONYMOUS):
                await enough.wait()

        for _ in range(150):
            group.create_task(watch())
        await server.until(lambda server: len(server.seen) == 150)
        assert (await pool.send(GET, auth=ANONYMOUS)).status == 200
        await eventually(lambda: pool.status()[0].streams == 150)
        enough.set()


async def test_stream_that_is_being_opened_takes_no_turn(serve: Serve, pool_of: MakePool) -> None:
    """Nor does it wait for one."""
    server = await serve(lambda seen: HANG if seen.target == "/hang" else ok())
    pool = pool_of(server.url, limit=1, timeout=math.inf)

    async def open_stream(request: Request) -> int:
        async with pool.stream(request, auth=ANONYMOUS) as stream:
            return stream.status

    opening = asyncio.create_task(open_stream(evolve(STREAM, path="/hang")))
    await server.until(lambda server: len(server.seen) == 1)
    assert (await asyncio.wait_for(pool.send(GET, auth=ANONYMOUS), 2)).status == 200
    sending = asyncio.create_task(pool.send(evolve(GET, path="/hang"), auth=ANONYMOUS))
    await server.until(lambda server: len(server.seen) == 3)
    assert await asyncio.wait_for(open_stream(STREAM), 2) == 200
    for task in (opening, sending):
        task.cancel()
    await asyncio.wait([opening, sending])


async def test_fetching_a_token_takes_no_turn_of_those_who_wait_for_it(serve: Serve, pool_of: MakePool) -> None:
    """As many requests as there are turns wait for a token, which is fetched by a request."""
    server = await serve()
    pool = pool_of(server.url, limit=2)

    async def fetch() -> str:
        return (await pool.send(evolve(PUT, path="/token"), auth=ANONYMOUS)).body.decode()

    auth = TokenAuth(fetch)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(pool.send(GET, auth=auth))
    assert Counter(seen.target for seen in server.seen) == {"/token": 1, "/get": 4}


# Health


def tracer(**hooks: Any) -> Tracer:
    return Tracer(Trace(**hooks), debug=False)


def states(events: list[PeerEvent], url: str) -> list[str]:
    return [event.after for event in events if event.peer == url]


async def test_failing_peer_is_ejected_and_comes_back(serve: Serve, pool_of: MakePool) -> None:
    """A few failures in a row put it aside; the pool's own probe, and no caller's request, finds it well again."""
    broken, well = await serve(lambda _: CUT), await serve()
    broken.on_probe = lambda _: CUT
    events: list[PeerEvent] = []
    health = HealthPolicy(eject_after=3, base=0.05, cap=0.1)
    pool = pool_of(broken.url, well.url, health=health, tracer=tracer(on_peer_state=events.append))
    async with asyncio.timeout(5):
        while "ejected" not in states(events, broken.url):
            await pool.send(GET, auth=ANONYMOUS)
    asked = len(broken.seen)
    for _ in range(6):
        await pool.send(GET, auth=ANONYMOUS)
    assert len(broken.seen) == asked
    assert pool.status()[0].last_error is not None
    broken.plan = broken.on_probe = lambda _: ok()
    async with asyncio.timeout(5):
        while pool.status()[0].state != "healthy":
            await pool.send(GET, auth=ANONYMOUS)
            await asyncio.sleep(0.01)
    assert len(broken.seen) == asked
    assert states(events, broken.url)[:2] == ["suspect", "ejected"]
    assert states(events, broken.url)[-2:] == ["probing", "healthy"]
    assert not states(events, well.url)
    await pool.send(GET, auth=ANONYMOUS)
    await pool.send(GET, auth=ANONYMOUS)
    assert len(broken.seen) == asked + 1


async def test_probe_is_judged_by_its_protocol(serve: Serve, pool_of: MakePool) -> None:
    """A peer that says in its own way that it cannot serve is left out, until it says otherwise."""
    away, well = await serve(lambda _: CUT), await serve()
    away.on_probe = lambda _: ok(b"maintenance", "404 Not Found")
    probe = evolve(PROBE, judge=lambda answer: Verdict.NOT_NOW if answer.status == 404 else Verdict.FINAL)
    pool = pool_of(away.url, well.url, probe=probe, health=HealthPolicy(eject_after=1, base=0.05, cap=0.1))
    await pool.send(GET, auth=ANONYMOUS)
    away.plan = lambda _: ok()
    async with asyncio.timeout(5):
        while len(away.probes) < 3:
            await pool.send(GET, auth=ANONYMOUS)
            await asyncio.sleep(0.01)
        assert len(away.seen) == 1
        away.on_probe = lambda _: ok()
        while len(away.seen) == 1:
            await pool.send(GET, auth=ANONYMOUS)
            await asyncio.sleep(0.01)


async def test_all_ejected_peers_are_tried(serve: Serve, pool_of: MakePool) -> None:
    """The pool's opinion may be what is wrong: an answer re-admits."""
    servers = [await serve(lambda _: CUT) for _ in range(2)]
    for server in servers:
        server.on_probe = lambda _: CUT
    pool = pool_of(*(server.url for server in servers), health=HealthPolicy(eject_after=1, base=60, cap=60))
    with pytest.raises(NoPeerAvailable):
        await pool.send(GET, auth=ANONYMOUS)
    assert {status.state for status in pool.status()} == {"ejected"}
    for server in servers:
        server.plan = lambda _: ok()
    assert (await pool.send(GET, auth=ANONYMOUS)).status == 200
    assert "healthy" in {status.state for status in pool.status()}


async def test_slow_request_makes_its_peer_suspect(serve: Serve, pool_of: MakePool) -> None:
    """While it still waits the peer is probed: a well one is trusted again, and the request goes on."""
    release = asyncio.Event()

    async def slowly(_: Seen) -> Reply:
        await release.wait()
        return ok()

    slow, well = await serve(slowly), await serve()
    events: list[PeerEvent] = []
    pool = pool_of(slow.url, well.url, tracer=tracer(on_peer_state=events.append))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pool.send(PUT, auth=ANONYMOUS, peer=slow.url))
        async with asyncio.timeout(5):
            while not slow.probes or pool.status()[0].state != "healthy":
                await pool.send(GET, auth=ANONYMOUS, peer=well.url)
                await asyncio.sleep(0.05)
        release.set()
        assert (await task).status == 200
    assert states(events, slow.url) == ["suspect", "healthy"]
    assert events[0].error == "a request has waited for more than 2 s"


async def test_silent_peer_is_ejected_by_one_probe(serve: Serve, pool_of: MakePool) -> None:
    """A peer that does not even answer that costs the callers one attempt, not one for each failure."""
    silent, well = await serve(lambda _: HANG), await serve()
    silent.on_probe = lambda _: HANG
    pool = pool_of(silent.url, well.url, timeout=0.3, health=HealthPolicy(base=60, cap=60))
    await pool.send(GET, auth=ANONYMOUS)
    await eventually(lambda: pool.status()[0].state == "ejected", within=2)
    assert (len(silent.seen), len(silent.probes)) == (1, 1)


async def test_probe_with_any_answer_but_a_failure_is_well(serve: Serve, pool_of: MakePool) -> None:
    """A proxy that hides the health page does not make its peer ill."""
    broken, well = await serve(lambda _: CUT), await serve()
    broken.on_probe = lambda _: ok(b"", "404 Not Found")
    pool = pool_of(broken.url, well.url)
    await pool.send(GET, auth=ANONYMOUS)
    await eventually(lambda: pool.status()[0].state == "healthy")


async def test_probe_that_says_unwell_does_not_re_admit(serve: Serve, pool_of: MakePool) -> None:
    """A member without a leader answers, and cannot serve."""
    broken, well = await serve(lambda _: CUT), await serve()
    broken.on_probe = lambda _: ok(b"", "503 Service Unavailable")
    pool = pool_of(broken.url, well.url, health=HealthPolicy(base=60, cap=60))
    async with asyncio.timeout(5):
        while pool.status()[0].state != "ejected":
            await pool.send(GET, auth=ANONYMOUS)
    assert broken.probes


async def test_probes_carry_no_credentials(serve: Serve, pool_of: MakePool) -> None:
    """They go to peers that may be anything by now."""
    broken, well = await serve(lambda _: CUT), await serve()
    pool = pool_of(broken.url, well.url)

    async def token() -> str:
        return "secret"

    await pool.send(GET, auth=TokenAuth(token))
    await broken.until(lambda server: bool(server.probes))
    assert "authorization" not in broken.probes[0].headers
    assert broken.probes[0].method == "GET"


async def test_status_tells_load_and_latency(serve: Serve, pool_of: MakePool) -> None:
    """What a user may see of a peer."""
    release = asyncio.Event()

    async def later(_: Seen) -> Reply:
        await release.wait()
        return ok()

    server = await serve(later)
    pool = pool_of(server.url)
    assert (pool.status()[0].latency, pool.status()[0].pending) == (0.0, 0)
    task = asyncio.create_task(pool.send(GET, auth=ANONYMOUS))
    await server.until(lambda server: bool(server.seen))
    assert pool.status()[0].pending == 1
    release.set()
    await task
    assert pool.status()[0].pending == 0
    assert pool.status()[0].latency > 0


async def test_repr_shows_peers_and_no_secrets(pool_of: MakePool) -> None:
    """A pool in a log line."""
    pool = pool_of("http://127.0.0.1:1")
    assert repr(pool) == "<Pool of http://127.0.0.1:1>"
    await pool.aclose()
    assert repr(pool) == "<Pool of http://127.0.0.1:1, closed>"
