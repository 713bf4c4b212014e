"""Opening and closing: by any task, in any order, at any moment, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from typing import Any

import anyio
import pytest
from attrs import evolve
from scripted import (
    CUT,
    GET,
    HANG,
    PUT,
    MakePool,
    Reply,
    Scripted,
    Seen,
    Serve,
    deaf,
    endless,
    eventually,
    make_pool,
    ok,
    silence,
)

from aetcd import ClientClosed, OutcomeUnknown, RetryPolicy, Trace, WrongContext
from aetcd._routing.health import HealthPolicy
from aetcd._transport.auth import ANONYMOUS, TokenAuth
from aetcd._transport.pool import Pool
from aetcd._transport.trace import PeerEvent, Tracer
from aetcd._wire.message import Request, Response


async def ask(pool: Pool, request: Request = GET) -> Response:
    return await pool.send(request, auth=ANONYMOUS)


async def test_opened_and_closed_by_different_tasks(serve: Serve, pool_of: MakePool) -> None:
    """And used by a third."""
    server = await serve()
    pool = pool_of(server.url)

    async def opens() -> None:
        pool.open()

    await asyncio.create_task(opens())
    assert (await asyncio.create_task(ask(pool))).status == 200
    await asyncio.create_task(pool.aclose())
    with pytest.raises(ClientClosed):
        await ask(pool)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_pools_close_in_any_order(serve: Serve, pool_of: MakePool, order: tuple[int, int]) -> None:
    """Neither stands in the other's scope."""
    server = await serve()
    pools = [pool_of(server.url), pool_of(server.url)]
    for pool in pools:
        pool.spawn(asyncio.Event().wait, name="work")
        await ask(pool)
    await pools[order[0]].aclose()
    assert (await ask(pools[order[1]])).status == 200
    await pools[order[1]].aclose()


@pytest.mark.parametrize("kind", ["asyncio", "anyio", "group"])
async def test_opened_in_a_scope_that_ends(serve: Serve, pool_of: MakePool, kind: str) -> None:
    """The pool goes on, and so does its background work."""
    server = await serve()
    pool = pool_of(server.url)

    async def begins() -> Any:
        pool.open()
        job = pool.spawn(asyncio.Event().wait, name="work")
        await asyncio.sleep(0.01)
        return job

    if kind == "asyncio":
        async with asyncio.timeout(0.05):
            job = await begins()
    elif kind == "anyio":
        with anyio.CancelScope() as scope:
            job = await begins()
            scope.cancel()
    else:
        async with anyio.create_task_group() as group:
            job = await begins()
            group.cancel_scope.cancel()
    await asyncio.sleep(0.06)
    assert not job.done
    assert (await ask(pool)).status == 200
    await pool.aclose()
    assert job.done


async def test_background_failure_does_not_reach_a_caller(
    serve: Serve, pool_of: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """The one who opened it, and the requests under way, go on."""
    release = asyncio.Event()

    async def later(_: Seen) -> Reply:
        await release.wait()
        return ok()

    server = await serve(later)
    pool = pool_of(server.url)
    pool.open()

    async def fail() -> None:
        raise ZeroDivisionError

    async with asyncio.TaskGroup() as group:
        task = group.create_task(ask(pool))
        await server.until(lambda server: bool(server.seen))
        await pool.spawn(fail, name="work").wait()
        release.set()
        assert (await task).status == 200
    assert "ZeroDivisionError" in caplog.text


async def test_opening_sends_nothing_and_never_fails(pool_of: MakePool) -> None:
    """Any number of times, with dead peers, and closed without having been used."""
    with deaf() as url:
        pool = pool_of(url)
        pool.open()
        pool.open()
        await pool.aclose()
        with pytest.raises(ClientClosed):
            pool.open()


async def test_never_opened_and_closed(pool_of: MakePool) -> None:
    """There is nothing to close, and it stays closed."""
    pool = pool_of("http://127.0.0.1:1")
    await pool.aclose()
    assert pool.closed
    with pytest.raises(ClientClosed):
        await ask(pool)
    with pytest.raises(ClientClosed):
        pool.spawn(asyncio.Event().wait, name="work")


def test_made_without_a_loop() -> None:
    """And thrown away: nothing was opened."""
    assert not make_pool("http://127.0.0.1:1").closed


async def test_closed_twice_and_at_once(serve: Serve, pool_of: MakePool) -> None:
    """Every call returns when it is closed."""
    server = await serve()
    pool = pool_of(server.url)
    pool.spawn(asyncio.Event().wait, name="work")
    await ask(pool)
    async with asyncio.timeout(2):
        await asyncio.gather(*(pool.aclose() for _ in range(4)))
        await pool.aclose()
    await server.until(lambda server: server.open_connections == 0)


HALF = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234", "hang")


@pytest.mark.parametrize("stage", [HANG, HALF], ids=["no answer", "mid answer"])
async def test_closing_ends_requests_on_the_wire(serve: Serve, pool_of: MakePool, stage: Reply) -> None:
    """A read learns that the client is closed, a write that its outcome is open, and none waits for its limit."""
    server = await serve(lambda _: stage)
    pool = pool_of(server.url, timeout=float("inf"))
    tasks = [asyncio.create_task(ask(pool, request)) for request in (GET, PUT)]
    await server.until(lambda server: len(server.seen) == 2)
    async with asyncio.timeout(2):
        await pool.aclose()
        read, write = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(read, ClientClosed)
    assert isinstance(write, OutcomeUnknown)
    assert "the client was closed" in str(write)
    assert len(server.seen) == 2


async def test_closed_before_it_was_prepared(pool_of: MakePool) -> None:
    """Whoever wants it prepared is told so, and does not wait for what will not be done any more."""
    pool = pool_of("http://127.0.0.1:1", prepare=lambda _: asyncio.Event().wait())
    await pool.aclose()
    with pytest.raises(ClientClosed):
        async with asyncio.timeout(2):
            await pool.prepared()


async def test_closing_ends_who_waits(serve: Serve, pool_of: MakePool) -> None:
    """For a connection, a turn, a token, the next attempt: nothing was sent, and that is what they learn."""
    server = await serve(lambda seen: CUT if seen.target == "/cut" else HANG)
    with deaf() as url:
        retry = RetryPolicy(base=1000, cap=1000)
        settings: dict[str, Any] = {"timeout": float("inf"), "retry": retry}
        connecting, turn, token, pause = (
            pool_of(url, **settings),
            *(pool_of(server.url, limit=1, **settings) for _ in range(3)),
        )
        holder = asyncio.create_task(ask(turn))

        async def fetch() -> str:
            return (await ask(token)).body.decode()

        tasks = [
            asyncio.create_task(ask(connecting, PUT)),
            asyncio.create_task(ask(turn, PUT)),
            asyncio.create_task(token.send(PUT, auth=TokenAuth(fetch))),
            asyncio.create_task(ask(pause, evolve(GET, path="/cut"))),
        ]
        await server.until(lambda server: len(server.seen) == 3)
        await eventually(lambda: pause.status()[0].pending == 0)
        async with asyncio.timeout(2):
            for pool in (connecting, turn, token, pause):
                await pool.aclose()
            ended = await asyncio.gather(*tasks, holder, return_exceptions=True)
    assert [type(error) for error in ended] == [ClientClosed] * 5
    assert not [seen for seen in server.seen if seen.method == "PUT"]


async def test_closing_ends_streams(serve: Serve, pool_of: MakePool) -> None:
    """Those being read, those not read at the moment, and those being opened."""
    server = await serve(lambda seen: endless(silence(b"x")) if seen.target == "/get" else HANG)
    pool = pool_of(server.url, timeout=float("inf"))
    standing: list[asyncio.Event] = [asyncio.Event(), asyncio.Event()]
    closed = asyncio.Event()

    async def reads() -> None:
        async with pool.stream(GET, auth=ANONYMOUS) as stream:
            await stream.read()
            standing[0].set()
            await stream.read()

    async def reads_later() -> None:
        async with pool.stream(GET, auth=ANONYMOUS) as stream:
            standing[1].set()
            await closed.wait()
            await stream.read()

    async def opens() -> None:
        async with pool.stream(evolve(GET, path="/hang"), auth=ANONYMOUS):
            pass

    tasks = [asyncio.create_task(work()) for work in (reads, reads_later, opens)]
    await server.until(lambda server: len(server.seen) == 3)
    for event in standing:
        await event.wait()
    async with asyncio.timeout(2):
        await pool.aclose()
        closed.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in ended] == [ClientClosed] * 3


async def test_closing_while_a_probe_is_under_way(serve: Serve, pool_of: MakePool) -> None:
    """It is background work like any other."""
    server = await serve(lambda _: CUT)
    server.on_probe = lambda _: HANG
    pool = pool_of(server.url)
    task = asyncio.create_task(ask(pool))
    await server.until(lambda server: bool(server.probes))
    async with asyncio.timeout(2):
        await pool.aclose()
        await asyncio.wait([task])
    assert task.exception() is not None


async def test_request_that_ends_after_closing_starts_nothing(serve: Serve, pool_of: MakePool) -> None:
    """That it failed says nothing of its peer, and nobody is sent to ask."""
    server = await serve(lambda _: HANG)
    events: list[PeerEvent] = []
    tracer = Tracer(Trace(on_peer_state=events.append), debug=False)
    pool = pool_of(server.url, timeout=float("inf"), tracer=tracer, health=HealthPolicy(base=60, cap=60))
    tasks = [asyncio.create_task(ask(pool)) for _ in range(5)]
    await server.until(lambda server: len(server.seen) == 5)
    async with asyncio.timeout(2):
        await pool.aclose()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in ended] == [ClientClosed] * 5
    assert (events, server.probes) == ([], [])


@pytest.mark.parametrize("kind", ["asyncio", "anyio"])
async def test_closing_while_being_cancelled_closes(serve: Serve, pool_of: MakePool, kind: str) -> None:
    """The connections do not stay because somebody is in a hurry."""
    server = await serve()
    pool = pool_of(server.url)
    await ask(pool)
    blocked = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                blocked.set()
                await asyncio.sleep(0.1)

    job = pool.spawn(stubborn, name="stubborn")
    await asyncio.sleep(0.01)
    if kind == "anyio":
        with anyio.CancelScope() as scope:
            scope.cancel()
            await pool.aclose()
        assert job.done
    else:
        task = asyncio.create_task(pool.aclose())
        await blocked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await server.until(lambda server: server.open_connections == 0)


def in_another_loop(function: Any) -> Any:
    """What `asyncio.run` of it gives or raises, in a thread."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(asyncio.run(function()))
        except Exception as e:  # noqa: BLE001
            result.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    return result[0]


async def test_used_in_another_loop(serve: Serve, pool_of: MakePool) -> None:
    """It is refused there, and goes on here."""
    server = await serve()
    pool = pool_of(server.url)
    await ask(pool)
    error = await asyncio.to_thread(in_another_loop, lambda: ask(pool))
    assert isinstance(error, WrongContext)
    assert "another event loop" in str(error)
    assert (await ask(pool)).status == 200


AFTER_FORK = """
import asyncio, os, sys, aetcd

async def use(client):
    try:
        await client.get("key", timeout=0.1)
    except aetcd.NoPeerAvailable:
        return "used"
    except aetcd.WrongContext as e:
        return str(e)

async def parent():
    await use(client)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                client._pool.open()
            except aetcd.WrongContext as e:
                os.write(write, str(e).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    print("same loop:", os.read(read, 1000).decode())
    print("parent:", await use(client))
    await client.aclose()

client = aetcd.Client("http://127.0.0.1:1", protocol="v3", retry=False)
asyncio.run(parent())

second = aetcd.Client("http://127.0.0.1:1", protocol="v3", retry=False)
async def only_use():
    await use(second)
    if os.fork() == 0:
        return True
    await second.aclose()
    os.wait()
    return False

if asyncio.run(only_use()):
    print("new loop:", asyncio.run(use(second)), flush=True)
    asyncio.run(second.aclose())
    os._exit(0)
"""


def run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_used_after_a_fork() -> None:
    """Refused in the child, in the loop it inherited and in one of its own; the parent goes on."""
    done = run(AFTER_FORK)
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert "before a fork" in lines["same loop"], done
    assert "before a fork" in lines["new loop"], done
    assert lines["parent"] == "used"


USED = """
import asyncio, aetcd, socket, threading
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    while True:
        connection, _ = listener.accept()
        def answer(connection=connection):
            while connection.recv(65536):
                body = b'{"etcdserver":"3.5.1","etcdcluster":"3.5.0"}'
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(body), body))
        threading.Thread(target=answer, daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
client = aetcd.Client(f"http://127.0.0.1:{listener.getsockname()[1]}", protocol="v3")
async def main():
    await client.get("key")
"""


def test_closed_client_leaves_no_warning() -> None:
    """Also where the loop ends with it, and in development mode."""
    done = run(USED + "    await client.aclose()\nasyncio.run(main())\nlistener.close()", "-X", "dev", "-W", "error")
    # Development mode also tells of what takes long, as the first import of something does.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing ")]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("ending", ["asyncio.run(main())", "asyncio.new_event_loop().run_until_complete(main())"])
def test_abandoned_client_says_only_that_it_was_not_closed(ending: str) -> None:
    """What the HTTP library says of its sessions, and nothing of ours."""
    done = run(f"{USED}\n{ending}\ndel client")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "Task was destroyed" not in done.stderr
    heads = [line for line in done.stderr.splitlines() if line and not line.startswith((" ", "client_session", "conn"))]
    assert set(heads) <= {"Unclosed client session", "Unclosed connector"}, done.stderr


async def test_paused_peer_does_not_hold_up_closing(serve: Serve, pool_of: MakePool) -> None:
    """One that takes no more bytes, with a large request half written."""
    server: Scripted = await serve(lambda _: Reply(then="hang", read=0))
    stuck = asyncio.Event()

    async def stall(_: Seen) -> Reply:
        await stuck.wait()
        return ok()

    server.plan = stall
    pool = pool_of(server.url, timeout=float("inf"))
    task = asyncio.create_task(ask(pool, evolve(PUT, body=b"x" * 20_000_000)))
    await server.until(lambda server: bool(server.seen))
    async with asyncio.timeout(5):
        await pool.aclose()
        await asyncio.wait([task])
    assert isinstance(task.exception(), OutcomeUnknown)
    stuck.set()
