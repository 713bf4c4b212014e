"""Credentials: one refresh at a time, one retry, and never shown."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections import Counter
from typing import Any

import pytest
from attrs import evolve
from scripted import CUT, GET, HANG, PUT, MakePool, Reply, Scripted, Seen, Serve, ok

from aetcd import NoPeerAvailable, Outcome, OutcomeUnknown, RequestTimeout, RetryPolicy, Unauthenticated
from aetcd._transport.auth import ANONYMOUS, Auth, BasicAuth, BearerAuth, NoAuth, TokenAuth
from aetcd._transport.pool import Pool
from aetcd._transport.trace import Trace, Tracer
from aetcd._wire.message import Response, Verdict


def judge(response: Response) -> Verdict:
    return Verdict.STALE_CREDENTIALS if response.status == 401 else Verdict.FINAL


READ, WRITE = evolve(GET, judge=judge), evolve(PUT, judge=judge)
AUTHENTICATE = evolve(GET, operation="authenticate", method="POST", path="/authenticate", body=b"pw", secret=True)


class Guarded:
    """A server that takes the newest token it gave out."""

    def __init__(self) -> None:
        self.tokens = 0
        self.password_is_right = True
        self.slowly: asyncio.Event | None = None
        self.at_once = self.most_at_once = 0

    async def __call__(self, seen: Seen) -> Reply:
        if seen.target == AUTHENTICATE.path:
            return await self.authenticate()
        good = self.tokens > 0 and seen.headers.get("authorization") == f"token-{self.tokens}"
        return ok() if good else ok(b"stale", "401 Unauthorized")

    async def authenticate(self) -> Reply:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.slowly is not None:
                await self.slowly.wait()
            await asyncio.sleep(0.01)
        finally:
            self.at_once -= 1
        if not self.password_is_right:
            return ok(b"wrong", "400 Bad Request")
        self.tokens += 1
        return ok(f"token-{self.tokens}".encode())

    def forget(self) -> None:
        """The token that it gave is good no longer."""
        self.tokens += 1


def token_auth(pool: Pool) -> TokenAuth:
    async def fetch() -> str:
        answer = await pool.send(AUTHENTICATE, auth=ANONYMOUS)
        if answer.status != 200:
            raise Unauthenticated("wrong password", status=answer.status)
        return answer.body.decode()

    return TokenAuth(fetch)


def counts(server: Scripted) -> dict[str, int]:
    return dict(Counter(seen.target for seen in server.seen))


async def test_token_is_fetched_once_for_all(serve: Serve, pool_of: MakePool) -> None:
    """Many callers, one question; and the next caller asks none."""
    guarded = Guarded()
    server = await serve(guarded)
    pool = pool_of(server.url)
    auth = token_auth(pool)
    assert auth.current() is None
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(pool.send(READ, auth=auth)) for _ in range(40)]
    assert {task.result().status for task in asked} == {200}
    await pool.send(WRITE, auth=auth)
    assert counts(server) == {"/authenticate": 1, "/get": 40, "/put": 1}


async def test_stale_token_is_renewed_once_for_all(serve: Serve, pool_of: MakePool) -> None:
    """Exactly one refresh in flight, and each request that found it stale goes once more, writes too."""
    guarded = Guarded()
    server = await serve(guarded)
    pool = pool_of(server.url)
    auth = token_auth(pool)
    await pool.send(READ, auth=auth)
    guarded.forget()
    server.seen.clear()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(pool.send(WRITE, auth=auth)) for _ in range(40)]
    assert {task.result().status for task in asked} == {200}
    assert guarded.most_at_once == 1
    assert counts(server) == {"/authenticate": 1, "/put": 80}


async def test_request_is_sent_again_once_for_its_token(serve: Serve, pool_of: MakePool) -> None:
    """A server that finds every token stale is not asked for ever: the caller gets its answer."""
    guarded = Guarded()
    server = await serve(
        lambda seen: guarded(seen) if seen.target == AUTHENTICATE.path else ok(b"stale", "401 Unauthorized")
    )
    pool = pool_of(server.url)
    answer = await pool.send(WRITE, auth=token_auth(pool))
    assert (answer.status, answer.body) == (401, b"stale")
    assert counts(server) == {"/authenticate": 2, "/put": 2}


async def test_renewal_takes_no_attempt(serve: Serve, pool_of: MakePool) -> None:
    """Of two that are allowed both are left; hooks count what was sent."""
    guarded = Guarded()
    gets: list[Seen] = []

    def plan(seen: Seen) -> Any:
        gets.extend([seen] if seen.target == "/get" else [])
        return CUT if seen.target == "/get" and len(gets) == 3 else guarded(seen)

    server = await serve(plan)
    sent: list[Any] = []
    tracer = Tracer(Trace(on_request=lambda event: sent.append((event.operation, event.attempt))), debug=False)
    pool = pool_of(server.url, retry=RetryPolicy(attempts=2, base=0.01), tracer=tracer)
    auth = token_auth(pool)
    await pool.send(READ, auth=auth)
    guarded.forget()
    sent.clear()
    assert (await pool.send(READ, auth=auth)).status == 200
    assert sent == [("get", 1), ("authenticate", 1), ("get", 2), ("get", 3)]


async def test_wrong_password_is_not_tried_for_ever(serve: Serve, pool_of: MakePool) -> None:
    """Each call asks once, and says what the server said."""
    guarded = Guarded()
    guarded.password_is_right = False
    server = await serve(guarded)
    pool = pool_of(server.url)
    auth = token_auth(pool)
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="wrong password"):
            await pool.send(WRITE, auth=auth)
    assert counts(server) == {"/authenticate": 2}


async def test_password_that_was_changed(serve: Serve, pool_of: MakePool) -> None:
    """The token is stale and no other is to be had: no endless round."""
    guarded = Guarded()
    server = await serve(guarded)
    pool = pool_of(server.url)
    auth = token_auth(pool)
    await pool.send(READ, auth=auth)
    guarded.forget()
    guarded.password_is_right = False
    server.seen.clear()
    with pytest.raises(Unauthenticated):
        await pool.send(READ, auth=auth)
    assert counts(server) == {"/get": 1, "/authenticate": 1}


async def test_cancel_of_the_one_who_refreshes_hangs_nobody(serve: Serve, pool_of: MakePool) -> None:
    """Another one takes over the question."""
    guarded = Guarded()
    guarded.slowly = asyncio.Event()
    server = await serve(guarded)
    pool = pool_of(server.url)
    auth = token_auth(pool)
    first = asyncio.create_task(pool.send(READ, auth=auth))
    await server.until(lambda server: len(server.seen) == 1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        others = [group.create_task(pool.send(READ, auth=auth)) for _ in range(5)]
        await asyncio.sleep(0.02)
        assert counts(server) == {"/authenticate": 1}
        first.cancel()
        await server.until(lambda server: len(server.seen) == 2)
        guarded.slowly.set()
    assert {task.result().status for task in others} == {200}
    with pytest.raises(asyncio.CancelledError):
        await first
    assert counts(server)["/authenticate"] == 2


async def test_call_that_waits_for_a_token_keeps_its_deadline(serve: Serve, pool_of: MakePool) -> None:
    """Also where somebody else asks for it with more patience. What was asked for was not sent."""
    guarded = Guarded()
    guarded.slowly = asyncio.Event()
    server = await serve(guarded)
    pool = pool_of(server.url)
    auth = token_auth(pool)
    first = asyncio.create_task(pool.send(READ, auth=auth))
    await server.until(lambda server: len(server.seen) == 1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(RequestTimeout, match="no credentials: not in time") as caught:
        await pool.send(WRITE, auth=auth, timeout=0.1)
    assert loop.time() - started < 0.5
    assert (caught.value.outcome, caught.value.operation) == (Outcome.NOT_SENT, "put")
    guarded.slowly.set()
    assert (await first).status == 200


@pytest.mark.parametrize("trouble", [CUT, HANG])
async def test_token_that_cannot_be_had(serve: Serve, pool_of: MakePool, trouble: Reply) -> None:
    """The write itself was not sent, whatever became of the question."""
    server = await serve(lambda _: trouble)
    pool = pool_of(server.url, timeout=0.2)
    with pytest.raises((NoPeerAvailable, RequestTimeout), match="no credentials") as caught:
        await pool.send(WRITE, auth=token_auth(pool))
    assert (caught.value.outcome, caught.value.operation) == (Outcome.NOT_SENT, "put")


async def test_basic(serve: Serve, pool_of: MakePool) -> None:
    """A name and a password with every request; refused ones are refused for good."""
    server = await serve(lambda _: ok(b"no", "401 Unauthorized"))
    pool = pool_of(server.url)
    assert (await pool.send(WRITE, auth=BasicAuth("jo", "pä:ss"))).status == 401
    assert len(server.seen) == 1
    scheme, encoded = server.seen[0].headers["authorization"].split()
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", "jo:pä:ss")


async def test_nobody_has_nothing_to_renew() -> None:
    """So that a stale answer is handed back at once."""
    auth: Auth = NoAuth()
    assert await auth.renew(None) is None
    assert auth.current() == {}


SECRET = "s3cr3t"


@pytest.mark.parametrize("kind", ["basic", "bearer", "token"])
@pytest.mark.parametrize("fault", ["refused", "cut", "garbled", "silent", "stale", "no token"])
async def test_credentials_are_never_shown(
    serve: Serve, pool_of: MakePool, caplog: pytest.LogCaptureFixture, kind: str, fault: str
) -> None:
    """Not in errors and their causes, nor in what is logged, nor in any repr."""
    plans = {
        "cut": CUT,
        "garbled": Reply(b"nonsense\r\n\r\n", "fin"),
        "silent": HANG,
        "stale": ok(b"", "401 Unauthorized"),
    }
    server = await serve(lambda _: plans.get(fault, ok()))
    if fault == "refused":
        await server.refuse()
    caplog.set_level(logging.DEBUG)
    pool = pool_of(server.url, timeout=0.1, tracer=Tracer(None, debug=True), retry=RetryPolicy(attempts=2, base=0.01))

    async def fetch() -> str:
        if fault == "no token":
            raise Unauthenticated("no")
        return SECRET

    basic = BasicAuth("jo", SECRET)
    kinds: dict[str, Auth] = {"basic": basic, "bearer": BearerAuth(SECRET), "token": TokenAuth(fetch)}
    auth = kinds[kind]
    shown = [repr(auth), str(auth)]
    for request in (READ, evolve(WRITE, body=SECRET.encode(), secret=True)):
        try:
            answer = await pool.send(request, auth=auth)
        except Exception as e:  # noqa: BLE001 - whichever it is
            error: BaseException | None = e
            shown.append("".join(traceback.format_exception(e)))
            while error is not None:
                shown += [repr(error), str(error), repr(getattr(error, "request", ""))]
                error = error.__cause__ or error.__context__
        else:
            shown.append(repr(answer))
    encoded = base64.b64encode(f"jo:{SECRET}".encode()).decode()
    text = "\n".join(shown) + caplog.text
    assert "curl" in caplog.text or fault == "no token"
    assert SECRET not in text
    assert encoded not in text


async def test_unknown_outcome_holds_the_request_without_its_body(serve: Serve, pool_of: MakePool) -> None:
    """The caller has it; a log line does not."""
    server = await serve(lambda _: CUT)
    with pytest.raises(OutcomeUnknown) as caught:
        await pool_of(server.url).send(PUT, auth=BasicAuth("jo", SECRET))
    assert caught.value.request is PUT
    assert "value" not in repr(caught.value.request)
