"""One HTTP exchange with one peer, over aiohttp, and what its failures mean."""

from __future__ import annotations

import asyncio
import io
import math
import ssl
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import aiohttp
import anyio
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from aetcd._routing.peer import Peer
from aetcd._transport.bodies import Body, Upload
from aetcd._transport.deadlines import Deadline, Deadlines
from aetcd._wire.message import Request, Response
from aetcd.errors import ClientClosed, ConnectFailed, Outcome, RequestTimeout, TransportError

__all__ = ["HTTP", "failure"]

IDLE = 30.0  # seconds for which an unused connection is kept
CLOSING = 2.0  # seconds for connections to say goodbye
LARGE = 2**20  # bytes

# Bytes that are received at a time at most. asyncio would make room for 256 KiB for each piece that comes, and from
# 128 KiB on glibc's malloc has that from the system anew, page by page (M_MMAP_THRESHOLD in mallopt(3)): measured on
# Linux 6.18, an exchange takes a sixth more CPU so, and a long body twice as much for each byte.
RECEIVED = 127 * 1024


@lru_cache(maxsize=256)
def _timeout(connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=_finite(connect), sock_read=_finite(read))


@lru_cache(maxsize=4096)
def _url(peer: str, path: str) -> URL:
    return URL(peer + path, encoded=True)


def _finite(seconds: float | None) -> float | None:
    return None if seconds == math.inf else seconds


def failure(error: Exception, *, peer: str, operation: str, connected: bool = True) -> TransportError:
    """What an exception of the HTTP library says of the request's fate.

    Only a connection that never stood is proof that nothing was sent: bytes that were written may have arrived.
    """
    text = str(error) or type(error).__name__
    if not connected:
        text = "no connection in time" if isinstance(error, TimeoutError) else text
        return ConnectFailed(text, outcome=Outcome.NOT_SENT, peer=peer, operation=operation)
    if isinstance(error, TimeoutError):
        return RequestTimeout("no answer in time", peer=peer, operation=operation)
    if isinstance(error, aiohttp.ClientResponseError):
        text = f"what came is no HTTP: {' '.join(error.message.split())}"
        return ConnectFailed(text, peer=peer, operation=operation)
    return ConnectFailed(f"the connection broke before the answer was whole: {text}", peer=peer, operation=operation)


def _failed(error: Exception, running: _Running, peer: Peer, request: Request) -> TransportError:
    return failure(error, peer=peer.url, operation=request.operation, connected=not running.connecting)


def _cause(error: Exception) -> BaseException | None:
    # The repr of a ClientResponseError holds the request's headers, and with them the credentials.
    return error.__cause__ if isinstance(error, aiohttp.ClientResponseError) else error


class _Running(Deadline):
    """An exchange under way.

    connecting: Its connection does not stand yet, so that certainly nothing was sent.
    """

    connecting: bool = False


class HTTP:
    """The connections of one client. Two lanes, so that long streams never take the place of ordinary requests.

    How many requests run at once is the pool's decision: aiohttp's own limits are off.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        # aiohttp's own limit of the total is not used: it rounds up to whole seconds, and cannot be brought forward.
        self._exchanges = Deadlines(_Running)
        self._closed = False
        self._ended: asyncio.Event | None = None
        self._ordinary = _session(context, self._exchanges)
        self._streams = _session(context, self._exchanges)

    async def exchange(
        self,
        peer: Peer,
        request: Request,
        headers: Mapping[str, str],
        *,
        total: float,
        connect: float | None,
        read: float | None,
    ) -> Response:
        """Send, and read the whole answer. Limits are in seconds.

        Raises TransportError (ConnectFailed, RequestTimeout), and ClientClosed where nothing can be sent any more.
        """
        running = self._begin(total)
        try:
            answer = await self._ordinary.request(
                request.method,
                _url(peer.url, request.path),
                data=_data(request.body),
                headers={**request.headers, **headers} if headers else request.headers,
                timeout=_timeout(connect, read),
                allow_redirects=False,
            )
            body = await answer.read()
            return Response(status=answer.status, headers=answer.headers, body=body, peer=peer.url)
        except asyncio.CancelledError as e:
            if running.overdue:
                raise _failed(TimeoutError(), running, peer, request) from e
            raise
        except (aiohttp.ClientError, OSError) as e:  # OSError is also the base of TimeoutError
            raise _failed(e, running, peer, request) from _cause(e)
        finally:
            self._end(running)

    async def open(
        self,
        peer: Peer,
        request: Request,
        headers: Mapping[str, str],
        *,
        connect: float | None,
        first_byte: float,
        body: Body | None = None,
    ) -> aiohttp.ClientResponse:
        """Send, and wait for the head of an answer that has no set end.

        body: Sent in place of the request's own. The limit of an upload begins anew with each piece that is taken.

        Raises as `exchange` does, and what the body's source raises.
        """
        running = self._begin(first_byte)
        headers = {**request.headers, **headers}
        if body is not None and body.length is not None:
            headers["Content-Length"] = str(body.length)
        if isinstance(body, Upload):
            body.progress = partial(self._exchanges.prolong, running, first_byte)
        try:
            return await self._streams.request(
                request.method,
                _url(peer.url, request.path),
                data=_data(request.body) if body is None else body,
                headers=headers,
                timeout=_timeout(connect, None),
                allow_redirects=False,
            )
        except asyncio.CancelledError as e:
            if running.overdue:
                raise _failed(TimeoutError(), running, peer, request) from e
            raise
        except (aiohttp.ClientError, OSError) as e:
            if body is not None and body.error is not None:
                raise body.error from None
            raise _failed(e, running, peer, request) from _cause(e)
        finally:
            self._end(running)

    def _begin(self, total: float) -> _Running:
        """An exchange of the running task begins."""
        if self._closed:
            raise ClientClosed("the client was closed")
        return self._exchanges.begin(total)

    def _end(self, running: _Running) -> None:
        self._exchanges.end(running)
        if self._ended is not None and not self._exchanges.running:
            self._ended.set()

    async def aclose(self) -> None:
        """End what is under way, and close every connection."""
        self._closed = True
        self._ended = self._ended or asyncio.Event()
        # Connections are closed after their users are gone: aiohttp would leave who reads a body waiting for ever, or
        # give it a RuntimeError.
        self._exchanges.give_up()
        # A peer that takes no more bytes would hold up the closing of its connection.
        with anyio.move_on_after(CLOSING, shield=True):
            try:
                if self._exchanges.running:
                    await self._ended.wait()
            finally:
                try:
                    await self._ordinary.close()
                finally:
                    await self._streams.close()


class _Protocol(ResponseHandler):
    """A connection that receives less at a time than asyncio would.

    And which is parsed again when reading goes on after it was paused: aiohttp (from 3.14 on) does so after each piece.
    """

    _held = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Through TLS it is the protocol beneath that makes the room. Other loops have their own ways.
        receiver: Any = getattr(transport, "_ssl_protocol", transport)
        if hasattr(receiver, "max_size"):
            receiver.max_size = RECEIVED

    def pause_reading(self) -> None:
        self._held = True
        super().pause_reading()

    def resume_reading(self, *args: Any, **kwargs: Any) -> None:
        if self._held:
            self._held = False
            super().resume_reading(*args, **kwargs)


class _Connector(aiohttp.TCPConnector):
    """Notes which exchange waits for its connection: until that stands it is certain that nothing was sent."""

    def __init__(self, exchanges: Deadlines[_Running], context: ssl.SSLContext | None) -> None:
        super().__init__(limit=0, keepalive_timeout=IDLE, ssl=True if context is None else context)
        self._factory = partial(_Protocol, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # a subclass
        self._exchanges = exchanges

    # What a connector is for; one that was kept is taken without it.
    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        running = self._exchanges.running[asyncio.current_task()]
        running.connecting = True
        made = await super()._create_connection(req, traces, timeout)
        running.connecting = False
        return made


def _data(body: bytes | None) -> bytes | io.BytesIO | None:
    """The body as aiohttp wants it: it warns of bytes that are written in one piece and not in several."""
    return body if body is None or len(body) <= LARGE else io.BytesIO(body)


def _session(context: ssl.SSLContext | None, exchanges: Deadlines[_Running]) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=_Connector(exchanges, context),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=_timeout(None, None),
        trust_env=False,
    )
    # aiohttp sends PUT and DELETE a second time, by itself, when a kept connection turns out to be dead. Those are
    # writes: whether they may be sent again is for the pool alone to decide. There is no public switch.
    session._retry_connection = False  # noqa: SLF001
    return session
