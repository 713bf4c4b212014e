"""One daemon on its own port: what gateways and targets share, down to the shape of an error."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import anyio
from aiohttp import hdrs, web
from attrs import define, field, frozen
from doubles.aistore_state import JSON, PROVIDERS, Bucket

from aetcd.testing._ports import HOST, HeldPort

if TYPE_CHECKING:
    from doubles.aistore import AIStoreDouble

TEXT = {"Content-Type": "text/plain; charset=utf-8"}

LOGGED = 1 << 16
"""A body up to this is kept in the log of requests."""

DRAINED = 256 << 10
"""What Go's server reads of a body that nobody wanted, before it answers and then closes."""

_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class Refusal(Exception):
    """An answer that is an error. Without a message it has no body: so answers who passes on in vain.

    nested: The status within the body, where it differs. tcode: The class of the error, in today's words.
    path: The `url_path` in the body, where it is another's.
    """

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        tcode: str = "",
        nested: int | None = None,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.tcode = tcode
        self.nested = nested
        self.path = path
        self.headers = dict(headers or {})


class Unanswered(Exception):
    """The connection is cut without an answer."""


@frozen(kw_only=True)
class Asked:
    """A request that came. path: As it stood on the wire. size: Bytes of the body that were read.

    body: Empty where it was a large one.
    """

    node: str
    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    size: int

    @property
    def action(self) -> str:
        """The action in the message; empty without one."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return ""
        return str(found.get("action", "")) if isinstance(found, dict) else ""


@define(eq=False)
class Ask:
    """A request on its way through the double. items: The decoded path after `/v1`."""

    node: Node
    request: web.BaseRequest
    path: str
    query: dict[str, str]
    raw_query: str
    items: list[str]
    body: bytes = b""
    read: int = 0
    reversed: bool = False

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def decoded(self) -> str:
        """The path as the servers write it into errors."""
        return unquote(self.path)

    async def whole(self) -> bytes:
        """The body of a control message."""
        if self.read:
            return self.body
        await self._continue()
        self.body = await self.request.content.read(-1)
        self.read = len(self.body)
        return self.body

    async def _continue(self) -> None:
        """Ask for a body that the client holds back."""
        if self.expects and self.request.transport is not None:
            self.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    @property
    def expects(self) -> bool:
        return self.headers.get(hdrs.EXPECT, "").lower() == "100-continue"

    async def message(self, what: str = "*cmn.ActionMsg") -> JSON:
        """The message in the body. Raises Refusal where it is none, as recorded."""
        raw = await self.whole()
        if not raw:
            raise self.unparsed(what, "EOF")
        try:
            found = json.loads(raw)
        except ValueError:
            text = raw.decode(errors="replace")
            wrong = (
                f'cmn.ActionMsg.readFieldHash: expect ", but found {text[1:2]}, error found in #2 byte of '
                f"...|{text[:10]}|..., bigger context ...|{text}|..."
            )
            raise self.unparsed(what, wrong) from None
        if not isinstance(found, dict):
            raise self.unparsed(what, "expect { or n")
        return found

    def unparsed(self, what: str, wrong: str) -> Refusal:
        if self.node.ais.old:
            return Refusal(
                400, f"failed to json-unmarshal {self.method} request, err: {wrong} [{what}](proxy.go, #691)"
            )
        return Refusal(400, f"{self.node}: failed to unmarshal [{what}] ({self.method}), err: {wrong} (ic.go, #221)")

    def bucket(self, name: str, *, provider: str | None = None) -> Bucket:
        """The bucket that the query means. Raises Refusal."""
        provider = provider or self.query.get("provider")
        self.provider(provider)
        found = self.node.ais.buckets.find(name, provider, self.query.get("namespace"))
        if found is None:
            raise self.no_bucket(name, provider)
        return found

    def provider(self, provider: str | None) -> str | None:
        if provider is not None and provider not in PROVIDERS:
            raise Refusal(400, f'invalid provider "{provider}"')
        return PROVIDERS[provider] if provider else None

    def no_bucket(self, name: str, provider: str | None) -> Refusal:
        space = self.query.get("namespace", "")
        where = f"{space}/" if space else ""
        provider = PROVIDERS[provider or "ais"]
        if not self.node.ais.old:
            return Refusal(404, f'bucket "{provider}://{where}{name}" does not exist', tcode="ErrBckNotFound")
        cloud = "" if provider == "ais" else "cloud "
        return Refusal(404, f"{self.node}: {cloud}bucket {provider}://{where}{name} does not exist")


@define(eq=False)
class Node:
    """A gateway or a target. Its port stays its own while it is dead.

    public: The URL that the cluster map and redirects tell; a test may set it to a proxy's before this node.
    starting: Everything is answered 503 without a body.
    """

    ais: AIStoreDouble
    id: str
    public: str = ""
    starting: bool = False
    flags: int = 0
    _port: HeldPort = field(factory=HeldPort)
    _control: HeldPort | None = None
    _server: web.Server[web.BaseRequest] | None = None
    _listeners: list[asyncio.Server] = field(factory=list)
    _failures: list[tuple[int, str]] = field(factory=list)
    _lost: list[str] = field(factory=list)

    kind = "node"

    def __attrs_post_init__(self) -> None:
        self.public = self.url
        if not self.ais.old:
            self._control = HeldPort()

    def __str__(self) -> str:
        return f"{self.kind[0]}[{self.id}]"

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    @property
    def control(self) -> str:
        """Where the intra-cluster control network listens: in 3.3 the same place."""
        return self.public if self._control is None else f"http://{HOST}:{self._control.number}"

    def on_control(self, request: web.BaseRequest) -> bool:
        """Whether a request came by the control network."""
        at = request.transport.get_extra_info("sockname") if request.transport else None
        return self._control is not None and at is not None and at[1] == self._control.number

    @property
    def alive(self) -> bool:
        return bool(self._listeners)

    async def start(self) -> None:
        self._server = web.Server(
            self._answer, access_log=None, lingering_time=0.2, max_line_size=1 << 16, max_field_size=1 << 16
        )
        loop = asyncio.get_running_loop()
        for port in filter(None, [self._port, self._control]):
            self._listeners.append(await loop.create_server(self._server, sock=port.listen()))

    def drop(self) -> None:
        """What `die` does, as far as it needs no waiting."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in self._server.connections if self._server else []:
            if connection.transport is not None:
                connection.transport.abort()

    async def die(self) -> None:
        """Be gone at once: every connection is reset, and new ones are refused. State is kept."""
        self.drop()
        server, self._server = self._server, None
        if server is not None:
            with anyio.CancelScope(shield=True):
                await server.shutdown(0.05)

    def exit_soon(self) -> None:
        """Be gone as soon as the answer under way is out."""
        asyncio.get_running_loop().call_later(0.02, self.drop)

    async def restart(self) -> None:
        """Come back at the same port, with what it had."""
        await self.die()
        await self.start()

    async def close(self) -> None:
        await self.die()
        self._port.release()
        if self._control is not None:
            self._control.release()

    def fail(self, status: int, *, times: int = 1, path: str = "") -> None:
        """Answer the next `times` requests whose path holds `path` with this status and no body at all.

        status: 0 for no answer: the connection is cut before anything is done.
        """
        self._failures += [(status, path)] * times

    def lose(self, *, times: int = 1, path: str = "") -> None:
        """Do what the next `times` requests whose path holds `path` ask for, and cut the connection for an answer."""
        self._lost += [path] * times

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, raw_query = request.raw_path.partition("?")
        if path.startswith("http://"):
            path = "/" + path.split("/", 3)[3]
        if _ESCAPE.search(path):
            malformed = web.Response(status=400, text="400 Bad Request", headers=TEXT)
            malformed.force_close()
            return malformed
        query = dict(parse_qsl(raw_query, keep_blank_values=True))
        items = unquote(path).removeprefix("/v1/").split("/") if path.startswith("/v1/") else []
        ask = Ask(self, request, path, query, raw_query, items)
        try:
            return await self._decide(ask)
        except Refusal as refusal:
            return self._refused(ask, refusal)
        except Unanswered:
            self._cut(request)
            return web.Response(status=500)  # for aiohttp, which notices that it cannot be sent
        except (ConnectionError, web.RequestPayloadError):
            return web.Response(status=500)  # the client has left, and nobody will read this
        except Exception as crash:
            self.ais.crashes.append(crash)
            raise
        finally:
            self._log(ask)

    def _log(self, ask: Ask) -> None:
        body = ask.body if len(ask.body) <= LOGGED else b""
        headers = ask.request.headers.copy()
        self.ais.requests.append(
            Asked(
                node=self.id,
                method=ask.method,
                path=ask.path,
                query=ask.query,
                headers=headers,
                body=body,
                size=ask.read,
            )
        )

    async def _decide(self, ask: Ask) -> web.StreamResponse:
        if self.starting:
            return web.Response(status=503)
        for failure in self._failures:
            if failure[1] in ask.path:
                self._failures.remove(failure)
                if not failure[0]:
                    raise Unanswered
                return web.Response(status=failure[0])
        response = await self.answer(ask)
        for path in self._lost:
            if path in ask.path:
                self._lost.remove(path)
                raise Unanswered
        return response

    async def answer(self, ask: Ask) -> web.StreamResponse:
        raise NotImplementedError

    def _cut(self, request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.abort()

    def _refused(self, ask: Ask, refusal: Refusal) -> web.Response:
        if not refusal.message:
            return web.Response(status=refusal.status)
        path = ask.decoded if refusal.path is None else refusal.path
        at = ask.request.transport.get_extra_info("peername") if ask.request.transport else None
        remote = f"{at[0]}:{at[1]}" if at else ""
        status = refusal.status if refusal.nested is None else refusal.nested
        common = {"message": refusal.message, "method": ask.method, "url_path": path, "remote_addr": remote}
        headers = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"} | refusal.headers
        if self.ais.old:
            told: JSON = {"status": status} | common | {"trace": "[http.go, #281] <- [httpcommon.go, #1214]"}
            text = compact(told) + "\n\n"
        else:
            told = ({"tcode": refusal.tcode} if refusal.tcode else {}) | common
            text = compact(told | {"caller": "", "node": str(self), "status": status}) + "\n"
        if ask.method != "HEAD":
            response = web.Response(status=refusal.status, body=text.encode(), headers=headers)
            if ask.expects and not ask.read:
                response.force_close()  # as Go, which has not asked for the body that may or may not follow
            return response
        if self.ais.old:
            headers["Content-Length"] = str(len(text.encode()))
        else:
            headers["Hdr-Error"] = text.strip()
        return web.Response(status=refusal.status, headers=headers)

    def unknown(self, ask: Ask) -> Refusal:
        """For what the real server may well answer, but this double has not learnt."""
        told = f"{self} {ask.method} {ask.path} {ask.query} {ask.body[:200]!r}"
        self.ais.unknown.append(told)
        return Refusal(501, f"the double does not know this request: {told}")

    def invalid(self, ask: Ask) -> Refusal:
        """A path that no server knows, as recorded."""
        if self.ais.old:
            return Refusal(400, "invalid request")
        at = ask.request.transport.get_extra_info("peername") if ask.request.transport else (HOST, 0)
        return Refusal(400, f"invalid request URI: '{ask.method} {ask.decoded}' from {at[0]}:{at[1]}")

    def json(self, value: object, status: int = 200) -> web.Response:
        charset = "" if self.ais.old else "; charset=utf-8"
        end = "\n" if self.ais.old else ""
        headers = {"Content-Type": f"application/json{charset}"}
        return web.Response(status=status, body=(compact(value) + end).encode(), headers=headers)


def compact(value: object) -> str:
    """JSON as Go writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def text(value: str, status: int = 200) -> web.Response:
    return web.Response(status=status, body=value.encode(), headers=TEXT)


def empty(headers: Mapping[str, Any] | None = None) -> web.Response:
    return web.Response(status=200, headers=headers)
