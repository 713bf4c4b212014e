"""The one way from this room to the pool: asks, and turns refusals into exceptions."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import msgspec
from attrs import define, field

from aetcd._routing.peer import parse_peers
from aetcd._transport.channel import Channel
from aetcd._transport.streams import Stream
from aetcd._transport.timeouts import Timeout
from aetcd._wire.message import Request, Response
from aetcd.couchdb._auth import SessionAuth, session_request
from aetcd.couchdb._codec import make
from aetcd.couchdb._errors import EndpointUnsupported, NodeNotFound, RequestRefused, refusal
from aetcd.errors import ConfigError, OutcomeUnknown, ServerError, TransportError

__all__ = ["PORT", "Limit", "Link"]

Limit = Timeout | float | None

PORT = 5984

REFUSED = 64 * 1024  # bytes that are read of a refusal which came as a stream

# What an endpoint that is not there is answered with: mostly its name is taken for a database's.
_MISSING = (400, 404, 405, 501)


@define(eq=False)
class Link:
    """A channel as this room uses it.

    rng: For the waits of feeds and of those who wait for a job.
    """

    channel: Channel
    rng: Random = field(factory=Random)

    async def ask(
        self,
        request: Request,
        *,
        timeout: Limit = None,
        peer: str | None = None,
        allow: tuple[int, ...] = (),
        needs: str = "",
        anonymous: bool = False,
    ) -> Response:
        """An answer that is no refusal.

        allow: Statuses of 300 and more that are answers too.
        needs: The first version of CouchDB with this endpoint: where it is missing, EndpointUnsupported is raised.

        Raises RequestRefused, EndpointUnsupported, and what `Pool.send` raises.
        """
        answer = await self.channel.send(request, timeout=timeout, peer=peer, anonymous=anonymous)
        self._learn(answer)
        if answer.status >= 300 and answer.status not in allow:
            raise await self.refusal(request, answer, needs)
        return answer

    async def refusal(
        self, request: Request, answer: Response, needs: str = ""
    ) -> RequestRefused | EndpointUnsupported:
        """The exception that an answer stands for, where the server may be too old for the question."""
        error = refusal(request, answer)
        return (await self._unsupported(request, error, needs) if needs else None) or error

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeout: Limit = None, peer: str | None = None, needs: str = ""
    ) -> AsyncIterator[Stream]:
        """A long answer that is no refusal. A session that ran out is renewed, once.

        Raises as `ask` does.
        """
        used = self.channel.auth.current()
        async with self.channel.stream(request, timeout=timeout, peer=peer) as stream:
            # The very first credentials were fetched on the way.
            used = used or self.channel.auth.current()
            if stream.status < 300:
                self._learn(stream.response(b""))
                yield stream
                return
            answer = await _short(stream, self.limits(timeout).total)
        if answer.status == 401 and await self.channel.auth.renew(used) is not None:
            async with self.channel.stream(request, timeout=timeout, peer=peer) as stream:
                if stream.status < 300:
                    yield stream
                    return
                answer = await _short(stream, self.limits(timeout).total)
        raise await self.refusal(request, answer, needs)

    async def upload(
        self, request: Request, content: AsyncIterable[bytes], *, length: int | None, timeout: Limit = None
    ) -> Response:
        """The answer to a body that is sent piece by piece. Raises as `ask` does."""
        auth = self.channel.auth
        if auth.current() is None or isinstance(auth, SessionAuth):
            # The body can be sent once only, so credentials that ran out are found out before.
            await self.ask(session_request(), timeout=timeout)
        async with self.channel.upload(request, content, length=length, timeout=timeout) as stream:
            try:
                answer = await _short(stream, self.limits(timeout).total)
            except (TimeoutError, TransportError) as e:
                text = f"it was answered {stream.status}, and the answer did not come whole"
                raise OutcomeUnknown(text, peer=stream.peer, operation=request.operation, request=request) from e
        if answer.status >= 300:
            raise refusal(request, answer)
        return answer

    def limits(self, timeout: Limit) -> Timeout:
        """The limits of a call; the client's by default."""
        return self.channel.pool.timeout if timeout is None else Timeout.of(timeout)

    def patient(self, timeout: Limit) -> Timeout:
        """The limits of a read that may take the server long: no other peer is tried for being slow."""
        limits = self.limits(timeout)
        return limits if limits.read is not None else Timeout(limits.total, limits.connect, limits.total)

    def chosen_peer(self, peer: str | None) -> str | None:
        """The whole URL of a peer that a caller chose; None where none was chosen.

        Raises ConfigError for what is no single peer.
        """
        if peer is None:
            return None
        scheme = "https" if self.channel.pool.peers[0].tls else "http"
        found = parse_peers(peer, default_port=PORT, default_scheme=scheme, argument="peer")
        if len(found) != 1:
            raise ConfigError(f"peer: one is needed, not {len(found)}")
        return found[0].url

    def only_peer(self, peer: str | None, what: str) -> str:
        """The peer that a question about one node goes to.

        Raises ConfigError where there are several and none was chosen.
        """
        chosen = self.chosen_peer(peer)
        if chosen is not None:
            return chosen
        peers = self.channel.pool.peers
        if len(peers) != 1:
            raise ConfigError(f"peer: {what} is one node's own matter, and there are {len(peers)} peers: choose one")
        return peers[0].url

    async def version(self, peer: str) -> str | None:
        """A peer's version; None where it does not tell."""
        request = make("server", "GET", "/")
        try:
            answer = await self.channel.send(request, peer=peer)
        except (TransportError, ServerError):
            return None
        return _version_in(answer.body) if answer.status == 200 else None

    def _learn(self, answer: Response) -> None:
        if isinstance(self.channel.auth, SessionAuth):
            self.channel.auth.learn(answer)

    async def _unsupported(self, request: Request, error: RequestRefused, needs: str) -> EndpointUnsupported | None:
        """What the refusal means where the server lacks the endpoint; else None.

        A server without an endpoint answers as if a database were missing, or a thing of another kind: its version
        alone tells.
        """
        if error.status not in _MISSING or isinstance(error, NodeNotFound):
            return None
        version = await self.version(error.peer) if error.peer else None
        if version is None or _parts(version) >= _parts(needs):
            return None
        text = f"{request.operation} needs CouchDB {needs}, and {error.peer} is {version}"
        unsupported = EndpointUnsupported(text, needs=needs, version=version)
        unsupported.__cause__ = error
        return unsupported


async def _short(stream: Stream, seconds: float) -> Response:
    """The whole of an answer that is short.

    Raises TimeoutError and TransportError, but not of a refusal: its status says enough.
    """
    body = b""
    try:
        async with asyncio.timeout(None if seconds == math.inf else seconds):
            while len(body) <= REFUSED and (chunk := await stream.read()):
                body += chunk
    except (TimeoutError, TransportError):
        if stream.status < 300:
            raise
    return stream.response(body)


def _parts(version: str) -> tuple[int, ...]:
    """Numbers of a version, as far as they are: `3.4.0-rc1` is 3.4.0."""
    numbers = []
    for part in version.split("-", maxsplit=1)[0].split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _version_in(body: bytes) -> str | None:
    try:
        read = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    version = read.get("version") if isinstance(read, dict) else None
    return version if isinstance(version, str) else None
