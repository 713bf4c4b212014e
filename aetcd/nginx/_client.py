"""The client of one NGINX Plus instance."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from attrs import frozen

from aetcd._routing.balance import make_policy
from aetcd._routing.peer import Peer, parse_peers
from aetcd._routing.retry import RetryPolicy, make_retry
from aetcd._transport import http
from aetcd._transport.auth import ANONYMOUS, Auth, BasicAuth, BearerAuth
from aetcd._transport.channel import Channel
from aetcd._transport.pool import Pool
from aetcd._transport.seats import SeatStatus
from aetcd._transport.timeouts import Timeout
from aetcd._transport.tls import TLS, make_context
from aetcd._transport.trace import Trace, Tracer, show_on_stderr
from aetcd.errors import ConfigError
from aetcd.nginx._caller import Caller, Limit
from aetcd.nginx._codec import KNOWN, versions_request
from aetcd.nginx._http import HTTP
from aetcd.nginx._instance import (
    ConnectionStatistics,
    ProcessStatistics,
    ResolverZones,
    SlabZones,
    SSLStatistics,
    Workers,
)
from aetcd.nginx._models import Info, License
from aetcd.nginx._samples import Samples
from aetcd.nginx._stream import Stream

__all__ = ["Nginx", "Status"]


@frozen(kw_only=True)
class Status:
    """A client, as it is now.

    version: Of the API, that is spoken; None before the first request, where none was pinned.
    """

    version: int | None
    closed: bool
    peer: SeatStatus


class Nginx:
    """The API of one NGINX Plus instance.

        async with Nginx("http://127.0.0.1:8080/api") as nginx:
            await nginx.http.upstream("backend").servers.add("10.0.0.7:8080")

    Nothing is sent, and no loop is needed, until the first call. It belongs to the event loop and the process of that
    call: in another it raises WrongContext.

    url: The location with the directive `api`, such as `http://127.0.0.1:8080/api`. Ports are 80 and 443 by default.
    version: Of the API, 1 to 9. By default the first call asks which ones the server knows, and the newest that both
        sides know is spoken for the client's life. What that one lacks raises Unsupported, before it is sent.
    username, password: For `auth_basic` before the API.
    token: For `auth_jwt` or a proxy's check before the API; sent as a bearer token.
    tls: A `TLS`, an `ssl.SSLContext`, or False to believe any server; for https URLs.
    timeout: Seconds for a whole call, or a `Timeout`; 10 by default.
    retry: How often one request may be sent at most, a `RetryPolicy`, or False for once. Writes of the configuration
        are never sent again where they may have been applied: they raise OutcomeUnknown.
    debug: Logs every call to the logger `aetcd.http` as a curl line, secrets replaced.
    trace: Hooks for metrics and tracing.

    Every call takes `timeout=`. Each raises the errors of `aetcd.nginx`, which are NginxErrors, and those of transport.
    Bad arguments raise ValueError or TypeError, naming the argument, before anything is sent. Cancelling a write leaves
    its outcome unknown.

    http, stream: What is configured in these blocks.
    processes, connections, ssl, slabs, resolvers, workers: What the instance tells of itself.
    """

    def __init__(
        self,
        url: str,
        version: int | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        tls: TLS | ssl.SSLContext | bool | None = None,
        timeout: Timeout | float = 10.0,
        retry: RetryPolicy | int | bool | None = None,
        debug: bool = False,
        trace: Trace | None = None,
    ) -> None:
        peer, slash = _location(url, secure=tls is not None)
        _check_version(version)
        if not isinstance(debug, bool):
            raise TypeError(f"debug must be True or False, not {debug!r}")
        if debug:
            show_on_stderr()
        rng = random.Random()
        context = make_context(tls)
        self._pool = Pool(
            [peer],
            http=lambda: http.HTTP(context),
            balance=make_policy("round_robin", rng),
            retry=make_retry(retry),
            timeout=Timeout.of(timeout),
            probe=versions_request(slash),
            tracer=Tracer(trace, debug=debug) if debug or trace else None,
            rng=rng,
        )
        self._caller = Caller(Channel(self._pool, _auth(username, password, token)), peer.url, slash, version)
        self.url = peer.url
        self.processes = ProcessStatistics(self._caller)
        self.connections = ConnectionStatistics(self._caller)
        self.ssl = SSLStatistics(self._caller)
        self.slabs = SlabZones(self._caller)
        self.resolvers = ResolverZones(self._caller)
        self.workers = Workers(self._caller)
        self.http = HTTP(self._caller)
        self.stream = Stream(self._caller)

    def __repr__(self) -> str:
        version = self._caller.agreed
        state = " closed" if self._pool.closed else ""
        return f"<Nginx at {self.url} version={version or 'not agreed yet'}{state}>"

    # Opening and closing

    async def open(self) -> None:
        """Make ready. Sends nothing and never fails for a dead instance; a second time changes nothing."""
        self._pool.open()

    async def aclose(self) -> None:
        """End connections. From any task, any number of times. Whoever waits in a call gets ClientClosed."""
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def status(self) -> Status:
        """The instance's health as this client sees it, and the version that is spoken. Sends nothing."""
        return Status(version=self._caller.agreed, closed=self._pool.closed, peer=self._pool.status()[0])

    # The instance

    async def versions(self, *, timeout: Limit = None) -> list[int]:
        """The versions of the API that the server knows. (GET of the location itself.)"""
        return await self._caller.versions(timeout)

    async def version(self, *, timeout: Limit = None) -> int:
        """The version that is spoken: pinned, or agreed with the server. Raises Unsupported where there is none."""
        return await self._caller.version(timeout)

    async def endpoints(self, *, timeout: Limit = None) -> list[str]:
        """Names of the endpoints at the root. (GET /.)"""
        return await self._caller.names((), timeout, fields=False)

    async def info(self, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> Info:
        """The running nginx: version, build, reloads, process IDs. (GET /nginx.)

        fields: The members to be told; the others are then `NOT_ASKED`.
        """
        return await self._caller.object(Info, ("nginx",), fields, timeout)

    async def license(self, *, timeout: Limit = None) -> License:
        """The licence. (GET /license, version 9.) Servers before 1.27.2 raise PathNotFound."""
        return await self._caller.object(License, ("license",), timeout=timeout)

    # Following

    def watch(self, interval: float = 1.0) -> Samples:
        """Statistics as a stream: entered by `async with`, it gives a `Sample` each `interval` seconds.

            async with nginx.watch(interval=1.0) as samples:
                async for item in samples:
                    match item:
                        case Sample(): print(item.http.zones["shop"].requests_per_second)
                        case PeerChanged(): print(item.server, item.before, "->", item.after)
                        case Missed(): print("no answer:", item.error)

        Entering it takes the first look, which is `samples.first`; each `Sample` tells what moved since the last look.
        Servers that change state are a `PeerChanged` of their own, before the sample that shows it. Where the instance
        does not answer, there is a `Missed` for each look, and then it goes on. A slow reader gets fewer samples,
        each of a longer time. It runs in the reader's own task: leaving the loop leaves nothing behind.

        interval: Seconds from one look to the next, more than 0.
        """
        return Samples(self, interval)


def _location(url: str, *, secure: bool) -> tuple[Peer, str]:
    """Where the API is, and the slash at its end."""
    if not isinstance(url, str):
        raise TypeError(f"url must be text, not {type(url).__name__}")
    scheme = "https" if secure else "http"
    tls = (url if "://" in url else f"{scheme}://").lower().startswith("https:")
    peers = parse_peers(url, default_port=443 if tls else 80, default_scheme=scheme, argument="url")
    if len(peers) != 1:
        raise ConfigError(f"url names {len(peers)} instances: a Fleet speaks to several")
    return peers[0], "/" if url.endswith("/") else ""


def _check_version(version: int | None) -> None:
    if version is None:
        return
    if isinstance(version, bool) or not isinstance(version, int):
        raise TypeError(f"version must be a whole number, not {version!r}")
    if version not in KNOWN:
        raise ConfigError(f"version must be one of {KNOWN[0]} to {KNOWN[-1]}, not {version}")


def _auth(username: str | None, password: str | None, token: str | None) -> Auth:
    if (username is None) != (password is None):
        raise ConfigError(f"{'password' if password is None else 'username'} is missing")
    if token is not None and username is not None:
        raise ConfigError("token and username are given together: use one of them")
    for argument, text in (("username", username), ("password", password), ("token", token)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{argument} must be text, not {type(text).__name__}")
        if text is not None and (not text.isprintable() if argument == "token" else "\0" in text):
            raise ConfigError(f"{argument} holds what no header can carry")
    if username is not None and password is not None:
        if ":" in username:
            raise ConfigError("username must not hold a colon")
        return BasicAuth(username, password)
    return ANONYMOUS if token is None else BearerAuth(token)
