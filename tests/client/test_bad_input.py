"""What cannot work is refused before anything is sent, and the error names the argument."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import aetcd
from aetcd.testing import EtcdServer

Refused = Callable[[aetcd.Client], Awaitable[Any]]


@pytest.fixture
def sent() -> list[str]:
    """The operations of requests that were sent."""
    return []


# The last has yet to find out what it speaks: asking for that would be sending, too.
PROTOCOLS: list[aetcd.Protocol] = ["v3", "v2", "auto"]


@pytest.fixture(params=PROTOCOLS)
async def client(request: pytest.FixtureRequest, etcd35: EtcdServer, sent: list[str]) -> AsyncIterator[aetcd.Client]:
    """Counts what it sends."""
    trace = aetcd.Trace(on_request=lambda event: sent.append(event.operation))
    async with aetcd.Client(etcd35.url, protocol=request.param, trace=trace) as client:
        yield client


async def enter(block: Any) -> None:
    async with block:
        pytest.fail("it was entered")


def each(argument: str, error: type[Exception], *calls: Refused) -> list[Any]:
    """Test cases: these calls are refused with this error, which names this argument."""
    return [pytest.param(call, argument, error, id=f"{argument}-{n}") for n, call in enumerate(calls)]


EMPTY_KEY = each(
    "key",
    ValueError,
    lambda c: c.get(""),
    lambda c: c.exists(""),
    lambda c: c.ttl(""),
    lambda c: c.set("", "x"),
    lambda c: c.create("", "x"),
    lambda c: c.update("", "x"),
    lambda c: c.compare_and_swap("", "x", previous_value="y"),
    lambda c: c.compare_and_delete("", previous_value="y"),
    lambda c: c.delete(""),
    lambda c: c.delete("", recursive=True),
    lambda c: c.refresh("", 5),
    lambda c: c.mkdir(""),
    lambda c: c.rmdir("", recursive=True),
    lambda c: c.wait(""),
    lambda c: enter(c.watch("")),
)

NUL_IN_KEY = each(
    "key",
    ValueError,
    lambda c: c.get("a\0b"),
    lambda c: c.set("\0", "x"),
    lambda c: c.delete("a\0"),
    lambda c: c.ls("a\0"),
    lambda c: c.tree("a\0"),
    lambda c: c.wait("a\0"),
    lambda c: enter(c.watch("a\0", recursive=True)),
)

KEY_OF_ANOTHER_KIND = each(
    "key",
    TypeError,
    lambda c: c.get(b"bytes"),  # type: ignore[call-overload]
    lambda c: c.set(5, "x"),  # type: ignore[call-overload]
    lambda c: c.delete(None),  # type: ignore[call-overload]
    lambda c: c.ls(None),  # type: ignore[call-overload]
    lambda c: enter(c.watch(["a"])),  # type: ignore[arg-type]
)

KEY_THAT_IS_NO_TEXT = each("key", ValueError, lambda c: c.get("\ud800"), lambda c: c.set("a\udfff", "x"))

NAME = [
    *each("name", ValueError, lambda c: enter(c.lock("")), lambda c: enter(c.election("a\0"))),
    *each("name", TypeError, lambda c: enter(c.lock(5)), lambda c: enter(c.election(None))),  # type: ignore[arg-type]
]

VALUE = [
    *each(
        "value",
        TypeError,
        lambda c: c.set("k", object()),
        lambda c: c.create("k", lambda: None),
        lambda c: c.update("k", {("a", "b"): 1}),
        lambda c: c.compare_and_swap("k", complex(1), previous_value="x"),
        lambda c: enter(c.election("e", value=object())),
    ),
    *each("value", ValueError, lambda c: c.set("k", "\ud800")),
    *each(
        "previous_value",
        TypeError,
        lambda c: c.compare_and_swap("k", "x", previous_value=object()),
        lambda c: c.compare_and_delete("k", previous_value=object()),
    ),
]


def with_ttl(ttl: Any) -> tuple[Refused, ...]:
    """Every call that takes one."""
    return (
        lambda c: c.set("k", "x", ttl=ttl),
        lambda c: c.create("k", "x", ttl=ttl),
        lambda c: c.update("k", "x", ttl=ttl),
        lambda c: c.compare_and_swap("k", "x", previous_value="y", ttl=ttl),
        lambda c: c.mkdir("k", ttl=ttl),
        lambda c: c.refresh("k", ttl),
        lambda c: enter(c.lock("l", ttl=ttl)),
        lambda c: enter(c.election("e", ttl=ttl)),
        lambda c: enter(c.session(ttl=ttl)),
    )


TTL = [
    *(case for ttl in (0, -1, -(2**40)) for case in each("ttl", ValueError, *with_ttl(ttl))),
    *(case for ttl in (True, 1.5, 5.0, "5", "x") for case in each("ttl", TypeError, *with_ttl(ttl))),
    *each("ttl", TypeError, *(lambda c, call=call: call(c) for call in with_ttl(None)[5:])),  # type: ignore[misc]
    *each("ttl", TypeError, lambda c: c.set("k", "x", ttl=False)),
]

COMPARISON = [
    *each(
        "previous_value",
        ValueError,
        lambda c: c.compare_and_swap("k", "x", previous_value="y", previous_revision=1),
        lambda c: c.compare_and_delete("k", previous_value="", previous_revision=1),
        lambda c: c.compare_and_swap("k", "x"),
        lambda c: c.compare_and_delete("k"),
    ),
    *each(
        "previous_revision",
        ValueError,
        lambda c: c.compare_and_swap("k", "x", previous_value="y", previous_revision=1),
        lambda c: c.compare_and_swap("k", "x", previous_revision=0),
        lambda c: c.compare_and_swap("k", "x", previous_revision=-1),
        lambda c: c.compare_and_delete("k", previous_revision=0),
    ),
    *each(
        "previous_revision",
        TypeError,
        lambda c: c.compare_and_swap("k", "x", previous_revision=True),
        lambda c: c.compare_and_swap("k", "x", previous_revision=1.0),  # type: ignore[call-overload]
        lambda c: c.compare_and_delete("k", previous_revision="1"),  # type: ignore[call-overload]
    ),
]

OPTIONS = [
    *each("since", ValueError, lambda c: enter(c.watch("k", since=0)), lambda c: c.wait("k", since=-1)),
    *each("since", TypeError, lambda c: enter(c.watch("k", since=True)), lambda c: c.wait("k", since="1")),  # type: ignore[arg-type]
    *each("since", ValueError, lambda c: enter(c.watch("k", since=1, initial=True))),
    *each("initial", TypeError, lambda c: enter(c.watch("k", initial="yes"))),  # type: ignore[arg-type]
    *each("on_history_lost", ValueError, lambda c: enter(c.watch("k", on_history_lost="ignore"))),  # type: ignore[arg-type]
    *each(
        "on_lost",
        ValueError,
        lambda c: enter(c.lock("l", on_lost="ignore")),  # type: ignore[arg-type]
        lambda c: enter(c.election("e", on_lost="raise")),  # type: ignore[arg-type]
    ),
    *each(
        "recursive",
        TypeError,
        lambda c: c.delete("k", recursive="yes"),  # type: ignore[call-overload]
        lambda c: c.rmdir("k", recursive=1),  # type: ignore[call-overload]
        lambda c: enter(c.watch("k", recursive=None)),  # type: ignore[arg-type]
    ),
    *each(
        "consistent",
        TypeError,
        lambda c: c.get("k", consistent="no"),  # type: ignore[call-overload]
        lambda c: c.ls("k", consistent=0),  # type: ignore[call-overload]
    ),
    *each(
        "type",
        TypeError,
        lambda c: c.get("k", type=5),  # type: ignore[call-overload]
        lambda c: c.ls("k", type="int"),
        lambda c: c.tree("k", type=list["nothing"]),  # type: ignore[name-defined]  # noqa: F821
        lambda c: enter(c.watch("k", type=lambda: None)),
    ),
    *each(
        "timeout",
        ValueError,
        lambda c: c.get("k", timeout=0),
        lambda c: c.set("k", "x", timeout=-1),
        lambda c: c.delete("k", timeout=float("nan")),
        lambda c: c.wait("k", timeout=-1),
        lambda c: enter(c.lock("l", timeout=-1)),
        lambda c: enter(c.election("e", timeout=float("nan"))),
    ),
    *each(
        "timeout",
        TypeError,
        lambda c: c.get("k", timeout="5"),  # type: ignore[call-overload]
        lambda c: c.ls("k", timeout=True),
        lambda c: enter(c.lock("l", timeout="5")),  # type: ignore[arg-type]
    ),
]

SESSION = [
    *each(
        "session",
        ValueError,
        lambda c: c.set("k", "x", ttl=5, session=c.session()),
        lambda c: c.create("k", "x", ttl=5, session=c.session()),
    ),
    *each("session", TypeError, lambda c: c.set("k", "x", session="mine")),  # type: ignore[call-overload]
]


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        *EMPTY_KEY,
        *NUL_IN_KEY,
        *KEY_OF_ANOTHER_KIND,
        *KEY_THAT_IS_NO_TEXT,
        *NAME,
        *VALUE,
        *TTL,
        *COMPARISON,
        *OPTIONS,
        *SESSION,
    ],
)
async def test_refused_before_anything_is_sent(
    etcd35: EtcdServer, sent: list[str], call: Refused, argument: str, error: type[Exception]
) -> None:
    """The type of error, the argument's name in it, and nothing on the wire, whatever is spoken."""
    trace = aetcd.Trace(on_request=lambda event: sent.append(event.operation))
    for protocol in PROTOCOLS:
        async with aetcd.Client(etcd35.url, protocol=protocol, trace=trace) as client:
            with pytest.raises(error, match=rf"\b{argument}\b"):
                async with asyncio.timeout(5):
                    await call(client)
    assert sent == []


@pytest.mark.parametrize("client", ["v2"], indirect=True)
@pytest.mark.parametrize("key", ["..", "../a", "a/../b", "a/..", ".", "a/./b", "a//b", "//a", "a//"])
async def test_segments_that_v2_has_not(client: aetcd.Client, sent: list[str], key: str) -> None:
    """They would be cleaned away by the server, and reach another key."""
    for call in (
        lambda: client.get(key),
        lambda: client.set(key, "x"),
        lambda: client.delete(key, recursive=True),
        lambda: client.ls(key),
        lambda: enter(client.watch(key)),
        lambda: enter(client.lock(key, timeout=5)),
    ):
        with pytest.raises(ValueError, match="key"):
            await call()
    assert sent == []


@pytest.mark.parametrize("client", ["v2"], indirect=True)
async def test_bytes_that_v2_cannot_store(client: aetcd.Client, sent: list[str]) -> None:
    """v2 stores text only: Unsupported."""
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: client.set("k", b"\xff"),
        lambda: client.create("k", b"\xff"),
        lambda: client.update("k", b"\xff"),
        lambda: client.compare_and_swap("k", b"\xff", previous_value="x"),
        lambda: client.compare_and_swap("k", "x", previous_value=b"\xff"),
        lambda: client.compare_and_delete("k", previous_value=b"\xff"),
    ]
    for call in calls:
        with pytest.raises(aetcd.Unsupported, match="value"):
            await call()
    assert sent == []


@pytest.mark.parametrize("client", ["v3"], indirect=True)
async def test_what_v3_has_not(client: aetcd.Client, sent: list[str]) -> None:
    """v3 has no directories to make: Unsupported."""
    with pytest.raises(aetcd.Unsupported, match="mkdir"):
        await client.mkdir("dir")
    assert sent == []


async def test_a_value_too_large(client: aetcd.Client, prefix: str) -> None:
    """Its limit is the server's setting: on v3 it is refused by the server, and nothing is stored; v2 has none."""
    value = "x" * 2_000_000
    if client.status().protocol == "v2":
        await client.set(f"{prefix}big", value)
    else:
        with pytest.raises(aetcd.RequestTooLarge):
            await client.set(f"{prefix}big", value)
        assert await client.exists(f"{prefix}big") is False


async def test_a_closed_client(client: aetcd.Client, sent: list[str]) -> None:
    """ClientClosed, whatever is called."""
    used = aetcd.Client(protocol="v3")
    calls: list[Refused] = [
        lambda c: c.open(),
        lambda c: c.get("k"),
        lambda c: c.set("k", "x"),
        lambda c: c.ls(),
        lambda c: c.wait("k", timeout=5),
        lambda c: enter(c.watch("k")),
        lambda c: enter(c.lock("l")),
        lambda c: enter(c.election("e")),
        lambda c: enter(c.session()),
        lambda c: c.v3.version(),
        enter,
    ]
    for closing in (client, used):
        await closing.aclose()
        for call in calls:
            with pytest.raises(aetcd.ClientClosed):
                await call(closing)
    assert sent == []


def test_another_loop(etcd35: EtcdServer) -> None:
    """A client belongs to the loop of its first call: WrongContext in another."""
    sent: list[str] = []
    client = aetcd.Client(etcd35.url, trace=aetcd.Trace(on_request=lambda event: sent.append(event.operation)))
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(client.set("k", "x"))
        sent.clear()
        for call in (lambda: client.get("k"), client.open, lambda: enter(client.watch("k"))):
            with pytest.raises(aetcd.WrongContext, match="loop"):
                second.run(call())
        assert sent == []
        assert first.run(client.get("k")) == "x"
        first.run(client.aclose())


FORK = """
import asyncio, os, sys
import aetcd

sent = []
client = aetcd.Client(sys.argv[1], trace=aetcd.Trace(on_request=lambda event: sent.append(event.operation)))

async def use():
    await client.get("k")

runner = asyncio.Runner()
runner.run(use())
sent.clear()
child = os.fork()
if child == 0:
    try:
        asyncio.new_event_loop().run_until_complete(use())
    except aetcd.WrongContext as error:
        os._exit(0 if "fork" in str(error) and not sent else 3)
    os._exit(4)
_, status = os.waitpid(child, 0)
runner.run(use())
runner.run(client.aclose())
runner.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_after_a_fork(etcd35: EtcdServer) -> None:
    """WrongContext in the child, which would share the parent's connections; the parent goes on."""
    run = subprocess.run(
        [sys.executable, "-c", FORK, etcd35.url], check=False, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
