"""Errors: a class for each code, and what is not the API's told from what is."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from doubles.nginx import NginxDouble

import aetcd
from aetcd import nginx as room
from aetcd._wire.message import Effect, Request, Response, Verdict
from aetcd.nginx import Nginx
from aetcd.nginx._errors import CODES, judge, judge_write, raise_error

DATA = Path(__file__).parent / "data"
REQUEST = Request(operation="nginx get x", method="GET", path="/9/x", effect=Effect.READ)
PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"


def answer(status: int, body: Any = b"") -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status=status, headers={}, body=raw, peer="http://p:1/api")


def api_error(status: Any, code: str = "UpstreamNotFound", **more: Any) -> dict[str, Any]:
    return {"error": {"status": status, "text": "why", "code": code}, "request_id": "ab", "href": "h", **more}


def documented() -> list[str]:
    """All codes that the tables name."""
    text = "".join(path.read_text() for path in DATA.glob("endpoints_*.md"))
    found = {code for codes in re.findall(r"\d{3} \(([^)]*)\)", text) for code in codes.split(", ")}
    return sorted(found - {"ID"} | {"PathNotFound"})


@pytest.mark.parametrize("code", documented())
def test_each_documented_code_has_its_class(code: str) -> None:
    """It has the code for its name, is public, and is an NginxError with a docstring of its own."""
    kind = getattr(room, code)
    assert CODES[code] is kind
    assert kind.__name__ in room.__all__
    assert issubclass(kind, room.APIError)
    assert issubclass(kind, aetcd.NginxError)
    assert kind.__doc__
    with pytest.raises(kind) as caught:
        raise_error(REQUEST, answer(404, api_error(404, code)))
    assert type(caught.value) is kind


def test_no_class_without_a_documented_code() -> None:
    """What is never sent is not there to be caught."""
    assert CODES.keys() == set(documented())


@pytest.mark.parametrize("status", [404, "404"], ids=["number", "text of versions 1 and 2"])
def test_error_carries_all_that_the_server_told(status: Any) -> None:
    """Status, text, code, request ID and href, whatever the version."""
    with pytest.raises(room.UpstreamNotFound) as caught:
        raise_error(REQUEST, answer(404, api_error(status, path="/api/1/x", method="GET")))
    error = caught.value
    assert (error.status, error.text, error.code) == (404, "why", "UpstreamNotFound")
    assert (error.request_id, error.href) == ("ab", "h")
    assert str(error) == "nginx get x at http://p:1/api: why (HTTP 404, code UpstreamNotFound)"


def test_unknown_code_keeps_its_text() -> None:
    """A later release's error is an APIError that tells all it knows."""
    with pytest.raises(room.APIError) as caught:
        raise_error(REQUEST, answer(400, api_error(400, "UpstreamBadMood")))
    assert type(caught.value) is room.APIError
    assert (caught.value.code, caught.value.text) == ("UpstreamBadMood", "why")


@pytest.mark.parametrize(
    ("kind", "general"),
    [
        (room.KeyvalKeyExists, aetcd.KeyExists),
        (room.KeyvalKeyNotFound, aetcd.KeyNotFound),
        (room.AccessDenied, aetcd.PermissionDenied),
        (room.GatewayFailed, aetcd.ServerUnavailable),
        (room.RequestsLimited, aetcd.TooManyRequests),
        (room.BodyTooLarge, aetcd.RequestTooLarge),
        (room.StreamNotConfigured, room.PathNotFound),
        (room.ZoneSyncNotConfigured, room.PathNotFound),
    ],
)
def test_error_is_also_of_its_general_kind(kind: type[Exception], general: type[Exception]) -> None:
    """Who catches the package's general errors, or what newer servers say instead, need not know the codes."""
    assert issubclass(kind, general)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, PAGE, room.AccessDenied),
        (403, PAGE, room.AccessDenied),
        (404, PAGE, room.NotTheAPI),
        (404, b"", room.NotTheAPI),
        (404, {"detail": "Not Found"}, room.NotTheAPI),
        (301, PAGE, room.NotTheAPI),
        (413, PAGE, room.BodyTooLarge),
        (418, b"short and stout", room.ForeignAnswer),
        (429, PAGE, room.RequestsLimited),
        (500, PAGE, room.GatewayFailed),
        (502, PAGE, room.GatewayFailed),
        (504, b"", room.GatewayFailed),
    ],
)
def test_foreign_answer_is_no_api_error(status: int, body: Any, kind: type[Exception]) -> None:
    """A page of nginx, of a proxy or of another program has classes of its own, and shows its first letters."""
    with pytest.raises(room.ForeignAnswer) as caught:
        raise_error(REQUEST, answer(status, body))
    assert type(caught.value) is kind
    assert not isinstance(caught.value, room.APIError)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, None, None)
    assert caught.value.text == (" ".join(answer(status, body).body.decode().split()) or "an empty answer")


@pytest.mark.parametrize(
    ("response", "read", "write"),
    [
        (answer(200, {"a": 1}), Verdict.FINAL, Verdict.FINAL),
        (answer(204), Verdict.FINAL, Verdict.FINAL),
        (answer(404, api_error(404)), Verdict.FINAL, Verdict.FINAL),
        (answer(500, api_error(500, "Any")), Verdict.FINAL, Verdict.FINAL),
        (answer(503, api_error(503, "Any")), Verdict.FINAL, Verdict.FINAL),
        (answer(403, PAGE), Verdict.FINAL, Verdict.FINAL),
        (answer(500, PAGE), Verdict.FINAL, Verdict.OPEN),
        (answer(502, PAGE), Verdict.OPEN, Verdict.OPEN),
        (answer(504), Verdict.OPEN, Verdict.OPEN),
        (answer(200, PAGE), Verdict.FINAL, Verdict.OPEN),
    ],
)
def test_fate(response: Response, read: Verdict, write: Verdict) -> None:
    """Of a write only the API's own word is believed; a page in its place leaves open what became of it."""
    assert (judge(response), judge_write(response)) == (read, write)


async def test_wrong_prefix_is_told_from_a_missing_object(double: NginxDouble) -> None:
    """A 404 of nginx itself names no code: the URL is wrong, not the upstream's name."""
    async with Nginx(double.origin + "/status") as nginx:
        with pytest.raises(room.NotTheAPI, match="404 Not Found"):
            await nginx.info()
    async with Nginx(double.origin + "/status", version=9) as nginx:
        with pytest.raises(room.NotTheAPI):
            await nginx.http.upstreams.get("backend")


async def test_lost_answer_of_a_write_says_so(double: NginxDouble, nginx: Nginx) -> None:
    """It was applied, the client cannot know it, and it is not sent again."""
    await nginx.version()
    double.cut = lambda seen: seen.method == "POST"
    with pytest.raises(aetcd.OutcomeUnknown):
        await nginx.http.upstream("backend").servers.add("10.0.0.7:80")
    assert double.servers() == ["10.0.0.1:8088", "10.0.0.1:8089", "10.0.0.7:80"]
    assert len(double.writes()) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda nginx: nginx.http.upstream("backend").servers.modify(0, down=True),
        lambda nginx: nginx.http.upstream("backend").servers.remove(0),
        lambda nginx: nginx.http.keyval("one").create("a", "1"),
        lambda nginx: nginx.http.keyval("one").clear(),
    ],
    ids=["modify", "remove", "create", "clear"],
)
async def test_no_write_of_the_configuration_goes_twice(double: NginxDouble, nginx: Nginx, write: Any) -> None:
    """Each of them may undo, when it comes late, what another one wrote meanwhile."""
    await nginx.version()
    double.cut = lambda seen: seen.method != "GET"
    with pytest.raises(aetcd.OutcomeUnknown):
        await write(nginx)
    assert len(double.writes()) == 1


async def test_reset_goes_again_where_its_answer_was_lost(double: NginxDouble, nginx: Nginx) -> None:
    """Counters that were cleared twice are as those that were cleared once."""
    await nginx.version()
    left = [True]
    double.cut = lambda seen: seen.method == "DELETE" and bool(left) and left.pop()
    await nginx.http.requests.reset()
    assert double.writes() == ["DELETE /http/requests"] * 2


async def test_cancelled_write_is_not_sent_again(double: NginxDouble, nginx: Nginx) -> None:
    """A cancel leaves one request behind at most, and the client as good as new."""
    await nginx.version()
    arrived = asyncio.Event()
    double.before = lambda seen: arrived.set() if seen.method == "POST" else None
    double.delay = 0.2
    task = asyncio.create_task(nginx.http.keyval("one").create("a", "1"))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    double.delay = 0.0
    assert await nginx.http.keyval("one").all() == {"a": "1"}
    assert len(double.writes()) == 1
