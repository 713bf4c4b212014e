"""What people and programs are shown of the wire."""

from __future__ import annotations

import asyncio
import logging
import shlex
import subprocess
import sys
from typing import Any

import pytest
from attrs import evolve
from scripted import CUT, GET, HANG, PUT, MakePool, Reply, Serve, endless, ok, refusing, silence

from aetcd import NoPeerAvailable, OutcomeUnknown, RequestTimeout, RetryPolicy, Trace
from aetcd._routing.health import HealthPolicy
from aetcd._transport.auth import ANONYMOUS, BasicAuth
from aetcd._transport.trace import PeerEvent, RequestEvent, ResponseEvent, RetryEvent, Tracer, curl

URL = "http://127.0.0.1:2379/v3/kv/put"


def words(**changes: Any) -> list[str]:
    return shlex.split(curl(evolve(PUT, **changes), URL, {}))


def test_curl_line_can_be_pasted() -> None:
    """A shell reads it back as it was, quotes and all."""
    line = curl(evolve(PUT, body=b'it\'s "so" $HOME `x`\n', headers={"Content-Type": "a/b"}), URL, {"X-Y": "z"})
    assert shlex.split(line) == [
        *("curl", "-sS", "-X", "PUT", "-H", "Content-Type: a/b", "-H", "X-Y: z"),
        *("--data-raw", 'it\'s "so" $HOME `x`\n', URL),
    ]


def test_curl_line_of_a_read() -> None:
    """It is short."""
    assert curl(GET, URL, {}) == f"curl -sS {URL}"


def test_curl_line_hides_a_body_with_secrets() -> None:
    """Only the fact that there is one."""
    assert words(secret=True)[-3:] == ["--data-raw", "***", URL]


@pytest.mark.parametrize("name", ["Authorization", "authorization", "Cookie", "X-Auth-CouchDB-Token"])
def test_curl_line_hides_headers_with_secrets(name: str) -> None:
    """Whoever set them."""
    assert f"{name}: ***" in words(headers={name: "secret"})
    assert f"{name}: ***" in shlex.split(curl(PUT, URL, {name: "secret"}))


def test_curl_line_of_bytes() -> None:
    """A body that is no text does not stop the log."""
    assert words(body=b"\xff\x00")[-2] == "\\xff\x00"


class Events(list[Any]):
    """All that the hooks were told."""

    def tracer(self) -> Tracer:
        trace = Trace(on_request=self.append, on_response=self.append, on_retry=self.append, on_peer_state=self.append)
        return Tracer(trace, debug=False)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


async def test_hooks_tell_a_request_from_its_start_to_its_end(serve: Serve, pool_of: MakePool) -> None:
    """First cut, then answered by another peer."""
    broken, well = await serve(lambda _: CUT), await serve(lambda _: ok(status="202 Accepted"))
    events = Events()
    pool = pool_of(broken.url, well.url, tracer=events.tracer())
    await pool.send(GET, auth=ANONYMOUS)
    kinds = [type(event) for event in events if not isinstance(event, PeerEvent)]
    assert kinds == [RequestEvent, ResponseEvent, RetryEvent, RequestEvent, ResponseEvent]
    first, second = events.of(RequestEvent)
    assert first == RequestEvent(operation="get", peer=broken.url, attempt=1)
    assert second == RequestEvent(operation="get", peer=well.url, attempt=2)
    failed, answered = events.of(ResponseEvent)
    assert (failed.status, failed.attempt, failed.peer) == (None, 1, broken.url)
    assert "broke" in failed.error
    assert (answered.status, answered.error, answered.attempt) == (202, None, 2)
    assert 0 < answered.elapsed < 1
    (retry,) = events.of(RetryEvent)
    assert (retry.operation, retry.peer, retry.attempt, retry.delay) == ("get", broken.url, 1, 0.0)
    assert "broke" in retry.reason


async def test_hooks_tell_the_end_of_a_request_that_was_cancelled(serve: Serve, pool_of: MakePool) -> None:
    """A gauge of requests under way comes back to zero."""
    silent = await serve(lambda _: HANG)
    events = Events()
    pool = pool_of(silent.url, tracer=events.tracer())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.send(GET, auth=ANONYMOUS)
    with pytest.raises(OutcomeUnknown):
        await pool.send(PUT, auth=ANONYMOUS, timeout=0.05)
    with pytest.raises(RequestTimeout):
        await pool.send(GET, auth=ANONYMOUS, timeout=0.05)
    assert [event.error is not None for event in events.of(ResponseEvent)] == [True] * 3
    assert events.of(ResponseEvent)[0].error == "cancelled"
    assert len(events.of(RequestEvent)) == 3


async def test_hooks_tell_of_streams(serve: Serve, pool_of: MakePool) -> None:
    """The head of its answer is the response."""
    server = await serve(lambda _: endless(silence()))
    events = Events()
    async with pool_of(server.url, tracer=events.tracer()).stream(GET, auth=ANONYMOUS):
        assert [type(event) for event in events] == [RequestEvent, ResponseEvent]
        assert events[1].status == 200


async def test_hooks_tell_of_peers(serve: Serve, pool_of: MakePool) -> None:
    """Each change of a peer's health, with what was wrong."""
    away, well = refusing(), await serve()
    events = Events()
    pool = pool_of(away, well.url, tracer=events.tracer(), health=HealthPolicy(eject_after=1, base=60, cap=60))
    await pool.send(GET, auth=ANONYMOUS)
    (event,) = events.of(PeerEvent)
    assert (event.peer, event.before, event.after) == (away, "healthy", "ejected")
    assert "Cannot connect" in event.error


async def test_debug_lines(serve: Serve, pool_of: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    """What is sent, what came of it, and why it goes again."""
    caplog.set_level(logging.DEBUG, "aetcd.http")
    broken, well = await serve(lambda _: CUT), await serve()
    pool = pool_of(broken.url, well.url, tracer=Tracer(None, debug=True))
    await pool.send(GET, auth=BasicAuth("jo", "secret"))
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert lines[0] == f"curl -sS -H 'Authorization: ***' {broken.url}/get"
    assert lines[1].startswith(f"# get at {broken.url}: ")
    assert lines[2].startswith("# get: again in 0 ms, for the connection broke")
    assert lines[3] == f"curl -sS -H 'Authorization: ***' {well.url}/get"
    assert f"# get at {well.url}: 200 in " in lines[4]
    assert {record.name for record in caplog.records} == {"aetcd.http"}


async def test_without_debug_nothing_is_logged(
    serve: Serve, pool_of: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests are the hooks' business then."""
    caplog.set_level(logging.DEBUG)
    server = await serve(lambda _: Reply(then="rst"))
    pool = pool_of(server.url, retry=RetryPolicy(attempts=1))
    with pytest.raises(NoPeerAvailable):
        await pool.send(GET, auth=ANONYMOUS)
    assert not [record for record in caplog.records if record.name.startswith("aetcd")]


PROGRAM = """
import asyncio, logging, aetcd
{setup}
async def main():
    async with aetcd.Client("http://127.0.0.1:1", protocol="v3", debug={debug}, retry=False) as client:
        try:
            await client.get("key")
        except aetcd.NoPeerAvailable:
            pass
{clients}
asyncio.run(main())
"""


def stderr_of(setup: str = "", debug: bool = True, clients: str = "") -> list[str]:
    program = PROGRAM.format(setup=setup, debug=debug, clients=clients)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_debug_is_seen_without_any_logging_set_up() -> None:
    """On stderr, each line once, also with several clients."""
    lines = stderr_of(clients="aetcd.Client(debug=True); aetcd.Client(debug=True)")
    assert sum(line.startswith("curl -sS") for line in lines) == 1


@pytest.mark.parametrize("where", ["", '"aetcd"'])
def test_debug_adds_no_handler_where_there_is_one(where: str) -> None:
    """The program's own is used: on the root logger, or on the package's."""
    setup = (
        "handler = logging.StreamHandler(); handler.setFormatter(logging.Formatter('MINE %(message)s'));"
        f"logging.getLogger({where}).addHandler(handler)"
    )
    lines = stderr_of(setup)
    assert sum("curl -sS" in line for line in lines) == 1
    assert all(line.startswith("MINE ") for line in lines if "curl" in line)


def test_no_debug_is_silent() -> None:
    """Nothing is written to the user's terminal."""
    assert stderr_of(debug=False) == []
