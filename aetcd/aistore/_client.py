"""The client of an AIStore cluster."""

from __future__ import annotations

import json
import os
import random
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from aetcd._routing.balance import Policy, make_policy
from aetcd._routing.peer import PeerLike, parse_peers
from aetcd._routing.retry import RetryPolicy, make_retry
from aetcd._transport.http import HTTP
from aetcd._transport.pool import Pool
from aetcd._transport.seats import SeatStatus
from aetcd._transport.timeouts import Timeout
from aetcd._transport.tls import TLS, make_context
from aetcd._transport.trace import Trace, Tracer, show_on_stderr
from aetcd._wire.message import Effect, Request
from aetcd.aistore._arguments import check_flag, check_namespace, check_provider, check_text
from aetcd.aistore._auth import Token, make_auth
from aetcd.aistore._bucket import Bucket
from aetcd.aistore._bucket_shapes import read_buckets
from aetcd.aistore._cluster import Cluster
from aetcd.aistore._codec import BucketRef, action, request
from aetcd.aistore._download import Downloads
from aetcd.aistore._jobs import Job
from aetcd.aistore._link import DIALECTS, Link, TimeoutLike
from aetcd.aistore._membership import Membership, sync_interval
from aetcd.aistore._models import BucketInfo, BucketSummary
from aetcd.aistore._node import Node
from aetcd.aistore._summary import read_summary
from aetcd.errors import ConfigError

__all__ = ["AIStore", "make_pool"]

PORT = 8080
PROBE = Request(operation="health", method="GET", path="/v1/health", effect=Effect.READ)

DialectName = Literal["auto", "3.3", "current"]


def make_pool(
    gateways: Sequence[PeerLike],
    *,
    tls: TLS | ssl.SSLContext | bool | None,
    timeout: Timeout | float,
    balance: str | Policy,
    retry: RetryPolicy | int | bool | None,
    debug: bool,
    trace: Trace | None,
    probe: Request = PROBE,
    port: int = PORT,
) -> Pool:
    """A pool of gateways. Raises ConfigError or TypeError, naming the argument."""
    if check_flag(debug, "debug"):
        show_on_stderr()
    rng = random.Random()
    context = make_context(tls)
    scheme = "http" if tls is None else "https"
    # The default is the reference's own, which is a name and not 127.0.0.1.
    given = gateways or (f"{scheme}://localhost:{port}",)
    return Pool(
        parse_peers(*given, default_port=port, default_scheme=scheme),
        http=lambda: HTTP(context),
        balance=make_policy(balance, rng),
        retry=make_retry(retry),
        timeout=Timeout.of(timeout),
        probe=probe,
        tracer=Tracer(trace, debug=debug) if debug or trace else None,
        rng=rng,
    )


class AIStore:
    """An AIStore cluster: buckets, objects, nodes and jobs.

        async with AIStore("http://10.0.0.1:8080") as ais:
            await ais.bucket("photos").create()
            await ais.bucket("photos").object("2026/cat.jpg").put(Path("cat.jpg"))

    Nothing is sent, and no loop is needed, until the first call. That one reads the cluster map, and learns which
    version's names the cluster speaks. It belongs to the event loop and the process of that call.

    gateways: URLs of one or more gateways, `http://localhost:8080` by default. Any serves, and the others of the
        cluster map are used beside them.
    token: What AuthN gave, or an async function that gives it, such as `authn.source("bob", "secret")`: that is asked
        again when the cluster refuses the last one. It goes to gateways and to nodes of the cluster map, and to nobody
        else.
    dialect: `auto` learns it of the server's own answers; `3.3` or `current` raises ConfigError where they are others,
        for a wrong name destroys data.
    provider, namespace: Of buckets that are named without them.
    redirect_hosts: Hosts, `host` or `host:port`, to which a gateway may redirect although they are not in the cluster
        map. They get the token too. Others raise ForeignRedirect, and get nothing.
    member_sync: Reads the cluster map every 60 s and when a gateway was lost, and uses its gateways; or the number of
        seconds. False uses the configured ones only.
    tls, timeout, balance, retry, debug, trace: As of `aetcd.Client`. `timeout` is 30 s by default; the transfer of an
        object's bytes has none, but pauses have.

    Calls raise the errors of `aetcd.errors` and those of this room, which are AIStoreError. A write whose fate is open
    raises OutcomeUnknown, and was not sent twice. Bad arguments raise ValueError or TypeError, naming the argument,
    before anything is sent.
    """

    def __init__(
        self,
        *gateways: PeerLike,
        token: Token | None = None,
        dialect: DialectName = "auto",
        provider: str | None = None,
        namespace: str | None = None,
        redirect_hosts: Iterable[str] = (),
        member_sync: bool | float = True,
        tls: TLS | ssl.SSLContext | bool | None = None,
        timeout: Timeout | float = 30.0,
        balance: str | Policy = "round_robin",
        retry: RetryPolicy | int | bool | None = None,
        debug: bool = False,
        trace: Trace | None = None,
    ) -> None:
        if dialect != "auto" and dialect not in DIALECTS:
            raise ConfigError(f'dialect must be "auto", "3.3" or "current", not {dialect!r}')
        if isinstance(redirect_hosts, str):
            raise TypeError("redirect_hosts must be a list of hosts, not text")
        self._provider = check_provider(provider)
        self._namespace = check_namespace(namespace)
        self._pool = make_pool(
            gateways, tls=tls, timeout=timeout, balance=balance, retry=retry, debug=debug, trace=trace
        )
        self._link = Link(
            pool=self._pool,
            auth=make_auth(token),
            wanted=None if dialect == "auto" else DIALECTS[dialect],
            trusted=frozenset(check_text(host, "redirect_hosts", empty=False).lower() for host in redirect_hosts),
            retry=make_retry(retry),
        )
        interval = sync_interval(member_sync)
        if interval is not None:
            self._link.on_map = Membership(self._link, interval).learn

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """A client with the settings of the command line tool's environment variables.

        Read are AIS_ENDPOINT (several separated by commas), AIS_AUTHN_TOKEN, AIS_AUTHN_TOKEN_FILE (the tool's own file,
        or a bare token), AIS_CLIENT_CA, AIS_CRT, AIS_CRT_KEY and AIS_SKIP_VERIFY_CRT. Arguments of this call go before
        them. Raises ConfigError, naming the variable.
        """
        env = os.environ if environ is None else environ
        gateways = [text.strip() for text in env.get("AIS_ENDPOINT", "").split(",") if text.strip()]
        found: dict[str, Any] = {}
        if token := _token(env):
            found["token"] = token
        if tls := _tls(env):
            found["tls"] = tls
        return cls(*gateways, **{**found, **settings})

    def __repr__(self) -> str:
        spoken = self._link.spoken
        return f"<AIStore at {self._pool.urls} dialect={spoken or 'auto'}{' closed' if self._pool.closed else ''}>"

    # Opening and closing

    async def open(self) -> None:
        """Make ready. Sends nothing and never fails for dead gateways; a second time changes nothing."""
        self._pool.open()

    async def aclose(self) -> None:
        """End transfers and connections. From any task, any number of times. Jobs of the cluster go on."""
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def status(self) -> list[SeatStatus]:
        """Gateways and nodes that were asked, and their health. Sends nothing."""
        return self._pool.status()

    async def dialect(self, *, timeout: TimeoutLike = None) -> str:
        """Which version's names the cluster speaks: `3.3` or `current`. Asked for once."""
        return (await self._link.dialect(timeout)).name

    # What there is

    def bucket(self, name: str, *, provider: str | None = None, namespace: str | None = None) -> Bucket:
        """A bucket by its name, whether it exists or not. Sends nothing.

        provider: `ais`, `aws` (`s3`), `gcp` (`gs`), `azure` (`az`), `oci`, `ht`; None finds it among all.
        namespace: A name, or `@<cluster>#<name>`; None is the global one.

        Source: reference, "Cloud Provider".
        """
        return Bucket(
            self._link,
            BucketRef(
                name=name,
                provider=self._provider if provider is None else provider,
                namespace=self._namespace if namespace is None else namespace,
            ),
        )

    async def buckets(
        self, *, provider: str | None = None, namespace: str | None = None, timeout: TimeoutLike = None
    ) -> list[BucketInfo]:
        """Buckets that exist, of one provider or namespace, or all.

        Source: reference, "Get bucket names". Today the question is an action in the body of a GET, and `*` is 400.
        """
        query = _place(provider, namespace)
        dialect = await self._link.dialect(timeout)
        method, path = dialect.buckets
        body = action(dialect.action("list buckets")) if dialect.in_query else None
        answer = await self._link.ask(request("buckets", method, path, query=query, body=body), timeout)
        return read_buckets(answer.body)

    async def summaries(
        self,
        *,
        provider: str | None = None,
        namespace: str | None = None,
        fast: bool = False,
        cached: bool = False,
        timeout: TimeoutLike = None,
    ) -> list[BucketSummary]:
        """What each bucket holds, of one provider or namespace, or all. See `Bucket.summary`.

        Source: of the servers; a summary of one bucket alone was recorded.
        """
        place = ("/v1/buckets/", _place(provider, namespace))
        return await read_summary(self._link, *place, fast=fast, cached=cached, timeout=timeout)

    @property
    def cluster(self) -> Cluster:
        """The cluster as a whole."""
        return Cluster(self._link)

    def node(self, id: str) -> Node:
        """A gateway or a target by its ID. Sends nothing."""
        return Node(self._link, id)

    @property
    def downloads(self) -> Downloads:
        """What the cluster downloads by itself."""
        return Downloads(self._link)

    def job(self, id: str, kind: str = "") -> Job:
        """A job by its ID, whether it exists or not. Sends nothing."""
        return Job(self._link, check_text(id, "id", empty=False), check_text(kind, "kind"))

    async def health(self, *, timeout: TimeoutLike = None) -> bool:
        """Whether a gateway serves. False where each says that it does not, as while the cluster starts."""
        limits = self._link.budget(timeout).left()
        response = await self._pool.send(PROBE, auth=self._link.auth, timeout=limits)
        return response.status == 200


def _place(provider: str | None, namespace: str | None) -> list[tuple[str, str]]:
    pairs = [("provider", check_provider(provider)), ("namespace", check_namespace(namespace))]
    return [(name, value) for name, value in pairs if value is not None]


def _token(env: Mapping[str, str]) -> str | None:
    if token := env.get("AIS_AUTHN_TOKEN"):
        return token
    path = env.get("AIS_AUTHN_TOKEN_FILE")
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
        token = json.loads(text)["token"] if text.startswith("{") else text
    except (OSError, ValueError, KeyError) as e:
        raise ConfigError(f"AIS_AUTHN_TOKEN_FILE: no token can be read from {path}: {type(e).__name__}") from None
    if not isinstance(token, str) or not token:
        raise ConfigError(f"AIS_AUTHN_TOKEN_FILE: no token can be read from {path}")
    return token


def _tls(env: Mapping[str, str]) -> TLS | None:
    ca, cert, key = (env.get(name) or None for name in ("AIS_CLIENT_CA", "AIS_CRT", "AIS_CRT_KEY"))
    skip = env.get("AIS_SKIP_VERIFY_CRT", "").lower() in {"1", "t", "true", "yes"}
    return TLS(ca=ca, cert=cert, key=key, verify=not skip) if ca or cert or key or skip else None
