"""Requests as handlers see them, answers as values, and the faults that can strike an answer."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web
from attrs import define, field, frozen
from doubles.couchdb_terms import Json, dumps

if TYPE_CHECKING:
    from doubles.couchdb import CouchDBDouble
    from doubles.couchdb_world import Node

SERVER = "CouchDB/3.5.0 (Erlang OTP/25)"
PHRASES = {302: "Moved Temporarily", 404: "Object Not Found"}
"""What the server says otherwise than the standard."""

JSON_TYPE = "application/json"


@frozen(kw_only=True)
class Seen:
    """A request as it came. `path` keeps its percent escapes; `query` is the raw text after `?`."""

    node: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))


@frozen
class Status:
    """Another answer in place of the real one."""

    status: int
    error: str = "service_unavailable"
    reason: str = "of the test"
    headers: Mapping[str, str] = {}


@frozen
class Cut:
    """The connection is reset after so many bytes of the body."""

    after: int = 0


@frozen
class HalfChunk:
    """After so many bytes a chunk is announced, of which half comes before the end of the connection."""

    after: int = 0


@frozen
class Silence:
    """After so many bytes of the body nothing more comes; the socket stays open. `None`: not even headers."""

    after: int | None = 0


@frozen
class ErrorInside:
    """After so many bytes a literal answer 500 stands in the body, as the server's defect makes it; socket open."""

    after: int = 0


@frozen
class Refuse:
    """Closed without an answer, the work not done."""


@frozen
class Lost:
    """The work is done and the connection closed without an answer."""


@frozen
class Slow:
    """Seconds of pause before the work is done."""

    seconds: float


Fault = Status | Cut | HalfChunk | Silence | ErrorInside | Refuse | Lost | Slow


@frozen(kw_only=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    content_type: str | None = JSON_TYPE
    chunked: bool = False
    close: bool = False
    request_id: bool = True
    cache: str | None = "must-revalidate"


class Problem(Exception):
    """Ends a handler with an answer of the server's form of error."""

    def __init__(self, status: int, error: str, reason: Json, **options: object) -> None:
        super().__init__(f"{status} {error}: {reason}")
        headers = options.get("headers", {})
        assert isinstance(headers, Mapping)
        body = {"error": error, "reason": reason} | ({"ref": options["ref"]} if "ref" in options else {})
        if "ref" in options:
            headers = {"X-Couch-Stack-Hash": str(options["ref"]), **headers}
        self.answer = Answer(
            status=status,
            body=dumps(body) + b"\n",
            headers=headers,
            request_id=bool(options.get("request_id", True)),
        )


class Unknown(Exception):
    """The double does not know this request: the test must not pass by accident."""


def bad(reason: str) -> Problem:
    return Problem(400, "bad_request", reason)


def not_found(reason: str = "missing") -> Problem:
    return Problem(404, "not_found", reason)


def no_database() -> Problem:
    return not_found("Database does not exist.")


def crash(reason: str = "badarg") -> Problem:
    return Problem(500, "unknown_error", reason, ref=3622002884)


def reply(value: Json, status: int = 200, **options: object) -> Answer:
    """An answer in JSON, with the newline that the server puts behind it."""
    return Answer(status=status, body=dumps(value) + b"\n", **options)  # type: ignore[arg-type]


@frozen(kw_only=True)
class User:
    name: str | None = None
    roles: list[str] = field(factory=list)
    by: str | None = None

    @property
    def is_admin(self) -> bool:
        return "_admin" in self.roles


@define(kw_only=True)
class Call:
    """One request on its way through the double."""

    couch: CouchDBDouble
    node: Node
    request: web.BaseRequest
    content: bytes
    user: User = User()
    set_cookie: str | None = None
    consumed: bool = False
    fault: Fault | None = None
    response: web.StreamResponse | None = None
    """The long answer that a handler has begun."""
    id: str = field(factory=lambda: uuid.uuid4().hex[:10])

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def raw_path(self) -> str:
        return urlsplit(self.request.raw_path).path

    @property
    def parts(self) -> list[str]:
        return [unquote(part) for part in self.raw_path.split("/")[1:]]

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.request.raw_path).query, keep_blank_values=True))

    @property
    def origin(self) -> str:
        """What `Location` begins with."""
        return f"http://{self.headers.get('Host', '127.0.0.1')}"

    def read(self) -> bytes:
        # An answer sent before this carries `Connection: close`, as the server's does.
        self.consumed = True
        return self.content

    def json(self, *, checked: bool = True) -> Json:
        """The body. 415 before it was read where its type is another, 400 where it is no JSON."""
        if checked:
            self.expect_json()
        return parse(self.read())

    def expect_json(self) -> None:
        if self.headers.get("Content-Type", JSON_TYPE).split(";")[0].strip() != JSON_TYPE:
            raise Problem(415, "bad_content_type", "Content-Type must be application/json")

    def allow(self, *methods: str, request_id: bool = True) -> None:
        if self.method not in methods:
            named = ",".join(methods)
            reason = f"Only {named} allowed"
            raise Problem(405, "method_not_allowed", reason, headers={"Allow": named}, request_id=request_id)

    def admin(self) -> None:
        if not self.user.is_admin:
            raise Problem(401, "unauthorized", "You are not a server admin.")

    def flag(self, name: str, *, default: bool = False) -> bool:
        text = self.query.get(name)
        if text not in {None, "true", "false"}:
            raise Problem(400, "query_parse_error", f'Invalid boolean parameter: "{text}"')
        return default if text is None else text == "true"


def parse(body: bytes) -> Json:
    try:
        return json.loads(body)
    except ValueError as e:
        raise bad("invalid UTF-8 JSON") from e


@define(kw_only=True)
class Line:
    """A long answer being written. Headers go out with the first byte, as late as that is: see `start`."""

    call: Call
    headers: Mapping[str, str]
    status: int = 200
    response: web.StreamResponse | None = None
    sent: int = 0

    async def start(self) -> web.StreamResponse:
        if self.response is None:
            phrase = PHRASES.get(self.status)
            self.response = web.StreamResponse(status=self.status, reason=phrase, headers=self.headers)
            self.call.response = self.response
            self.response.enable_chunked_encoding()
            writer = await self.response.prepare(self.call.request)
            assert writer is not None
            writer.send_headers()  # aiohttp would hold them back until the first chunk
        return self.response

    async def write(self, data: bytes) -> None:
        """One chunk, as far as the fault of this request lets it through."""
        response = await self.start()
        fault = self.call.fault
        if isinstance(fault, Cut | HalfChunk | Silence | ErrorInside):
            room = (fault.after or 0) - self.sent
            if len(data) >= room:
                if room > 0:
                    await response.write(data[:room])
                await self.strike(fault, data[max(room, 0) :])
        await response.write(data)
        self.sent += len(data)

    async def strike(self, fault: Cut | HalfChunk | Silence | ErrorInside, rest: bytes) -> None:
        """Never returns: the handler of this request ends by cancellation."""
        transport = self.call.request.transport
        assert transport is not None
        match fault:
            case Cut():
                transport.abort()
            case HalfChunk():
                transport.write(f"{len(rest) + 16:x}\r\n".encode() + rest[: len(rest) // 2])
                transport.close()
            case ErrorInside():
                transport.write(error_inside(self.call))
        await forever()

    async def end(self) -> None:
        response = await self.start()
        fault = self.call.fault
        if isinstance(fault, Cut | HalfChunk | Silence | ErrorInside):
            await self.strike(fault, b"")
        await response.write_eof()


async def forever() -> None:
    await asyncio.Event().wait()


def error_inside(call: Call) -> bytes:
    """What the server writes into a chunked body when its own feed crashes: a whole answer, status line and all."""
    reason = '{"eventsource",\n {delayed_resp,#Fun<chttpd.4.27967804>,\n     {httpd}}}'
    body = dumps({"error": "badmatch", "reason": reason, "ref": 2890924169}) + b"\n"
    head = (
        "HTTP/1.1 500 Internal Server Error\r\nCache-Control: must-revalidate\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\nDate: {formatdate(usegmt=True)}\r\n"
        f"Server: {SERVER}\r\nX-Couch-Request-ID: {call.id}\r\n"
        "X-Couch-Stack-Hash: 2890924169\r\nX-CouchDB-Body-Time: 0\r\n\r\n"
    )
    return head.encode() + body


def http_date(at: float) -> str:
    return formatdate(at, usegmt=True)


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Handler = Callable[[Call], Awaitable[Answer | None]]
Route = tuple[re.Pattern[str], Handler]
