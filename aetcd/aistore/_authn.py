"""AuthN, the server of its own that gives out tokens for clusters."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec
from attrs import frozen

from aetcd._routing.balance import Policy
from aetcd._routing.peer import PeerLike
from aetcd._routing.retry import RetryPolicy
from aetcd._transport.auth import Auth, BasicAuth
from aetcd._transport.channel import Channel
from aetcd._transport.pool import Pool
from aetcd._transport.timeouts import Timeout
from aetcd._transport.tls import TLS
from aetcd._transport.trace import Trace
from aetcd._wire.decode import decode
from aetcd._wire.message import Effect, Response
from aetcd.aistore._arguments import check_text
from aetcd.aistore._auth import Token, TokenSource, make_auth
from aetcd.aistore._client import make_pool
from aetcd.aistore._codec import message, request
from aetcd.aistore._errors import NotFound, raise_error
from aetcd.aistore._link import TimeoutLike
from aetcd.errors import ConfigError

__all__ = ["AuthN", "ClusterRights", "Permission", "RegisteredCluster", "Role", "User"]

PORT = 52001


class Permission:
    """Bits of a right, as roles and buckets have them: `Permission.GET | Permission.LIST`."""

    GET = 1
    HEAD = 2
    PUT = 4
    APPEND = 8
    DOWNLOAD = 16
    DELETE = 32
    RENAME = 64
    PROMOTE = 128
    HEAD_BUCKET = 256
    LIST = 512
    RENAME_BUCKET = 1024
    PATCH = 2048
    MIRROR = 4096
    ERASURE_CODE = 8192
    SYNC = 16384
    DESTROY_BUCKET = 32768
    CREATE_BUCKET = 65536
    LIST_BUCKETS = 131072
    ADMIN = 262144


@frozen(kw_only=True)
class ClusterRights:
    """What is allowed in a cluster, or in a bucket: bits of `Permission`."""

    id: str
    permissions: int = 0


@frozen(kw_only=True)
class User:
    """A user. The server tells a hash of the password too, which is not kept here."""

    name: str
    roles: tuple[str, ...] = ()
    clusters: tuple[ClusterRights, ...] = ()


@frozen(kw_only=True)
class Role:
    """A role: what users who have it may do."""

    name: str
    description: str = ""
    clusters: tuple[ClusterRights, ...] = ()
    admin: bool = False


@frozen(kw_only=True)
class RegisteredCluster:
    """A cluster that takes this server's tokens."""

    id: str
    alias: str = ""
    urls: tuple[str, ...] = ()


class _Rights(msgspec.Struct):
    id: str = ""
    perm: int = 0

    def read(self) -> ClusterRights:
        return ClusterRights(id=self.id, permissions=self.perm)


class _User(msgspec.Struct):
    id: str
    roles: tuple[str, ...] | None = None
    clusters: tuple[_Rights, ...] | None = None

    def read(self) -> User:
        return User(name=self.id, roles=self.roles or (), clusters=tuple(one.read() for one in self.clusters or ()))


class _Role(msgspec.Struct):
    name: str
    desc: str = ""
    clusters: tuple[_Rights, ...] | None = None
    admin: bool = False

    def read(self) -> Role:
        rights = tuple(one.read() for one in self.clusters or ())
        return Role(name=self.name, description=self.desc, clusters=rights, admin=self.admin)


class _Cluster(msgspec.Struct):
    id: str
    alias: str = ""
    urls: tuple[str, ...] | None = None

    def read(self) -> RegisteredCluster:
        return RegisteredCluster(id=self.id, alias=self.alias, urls=self.urls or ())


class _Clusters(msgspec.Struct):
    clusters: dict[str, _Cluster] | None = None


class _Login(msgspec.Struct):
    token: str


class AuthN:
    """The server that gives out tokens.

        async with AuthN("http://10.0.0.1:52001") as authn:
            token = await authn.login("bob", "secret")
        ais = AIStore("http://10.0.0.1:8080", token=token)

    A token ends after a day by default. `AIStore(token=authn.source("bob", "secret"))` logs in when it is needed, and
    again when the cluster refuses the last token.

    token: An administrator's, for everything but `login`.
    username, password: An administrator's, in place of a token.

    Source: the server of 3.3; the reference links to it only. Logging in, registering a cluster, users, roles and the
    revocation of tokens were recorded; where a method was not, it says so.
    """

    def __init__(
        self,
        *servers: PeerLike,
        token: Token | None = None,
        username: str | None = None,
        password: str | None = None,
        tls: TLS | ssl.SSLContext | bool | None = None,
        timeout: Timeout | float = 10.0,
        balance: str | Policy = "round_robin",
        retry: RetryPolicy | int | bool | None = None,
        debug: bool = False,
        trace: Trace | None = None,
    ) -> None:
        if (username is None) != (password is None):
            raise ConfigError(f"{'password' if password is None else 'username'} is missing")
        if token is not None and username is not None:
            raise ConfigError("token and username: one of the two is enough")
        self._pool: Pool = make_pool(
            servers,
            tls=tls,
            timeout=timeout,
            balance=balance,
            retry=retry,
            debug=debug,
            trace=trace,
            probe=request("authn probe", "GET", "/v1/users"),
            port=PORT,
        )
        auth: Auth = make_auth(token)
        if username is not None and password is not None:
            auth = BasicAuth(check_text(username, "username", empty=False), check_text(password, "password"))
        self._channel = Channel(self._pool, auth)

    async def open(self) -> None:
        """Make ready. Sends nothing."""
        self._pool.open()

    async def aclose(self) -> None:
        """End connections. Any number of times."""
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # Tokens

    async def login(self, name: str, password: str, *, timeout: TimeoutLike = None) -> str:
        """A token for a user, good for a day by default. Raises TokenRefused (401)."""
        body = message({"password": check_text(password, "password")})
        path = f"/v1/users/{_name(name)}"
        asked = request("login", "POST", path, effect=Effect.REPEATABLE, body=body, secret=True)
        response = await self._channel.send(asked, timeout=timeout, anonymous=True)
        if response.status != 200:
            raise_error(asked, response)
        return decode(response.body, _Login).token

    def source(self, name: str, password: str) -> TokenSource:
        """What gives a new token whenever a client wants one: `AIStore(token=authn.source("bob", "secret"))`."""
        _name(name)
        check_text(password, "password")

        async def fetch() -> str:
            return await self.login(name, password)

        return fetch

    async def revoke(self, token: str, *, timeout: TimeoutLike = None) -> None:
        """End a token before its time; the clusters are told."""
        body = message({"token": check_text(token, "token", empty=False)})
        await self._send("revoke", "DELETE", "/v1/tokens", body, timeout, secret=True)

    # Users

    async def users(self, *, timeout: TimeoutLike = None) -> dict[str, User]:
        """All users by name."""
        answer = await self._send("users", "GET", "/v1/users", None, timeout)
        return {name: user.read() for name, user in decode(answer.body, dict[str, _User]).items()}

    async def add_user(
        self, name: str, password: str, *, roles: Iterable[str] = (), timeout: TimeoutLike = None
    ) -> None:
        """Make a user with these roles; unknown ones bring no rights."""
        _name(name)
        body = message({"id": name, "pass": check_text(password, "password", empty=False), "roles": _roles(roles)})
        await self._send("add user", "POST", "/v1/users", body, timeout, secret=True)

    async def update_user(
        self,
        name: str,
        *,
        password: str | None = None,
        roles: Iterable[str] | None = None,
        timeout: TimeoutLike = None,
    ) -> None:
        """Give a user another password or other roles. Not recorded."""
        value: dict[str, Any] = {"id": name}
        if password is not None:
            value["pass"] = check_text(password, "password", empty=False)
        if roles is not None:
            value["roles"] = _roles(roles)
        await self._send("update user", "PUT", f"/v1/users/{_name(name)}", message(value), timeout, secret=True)

    async def remove_user(self, name: str, *, timeout: TimeoutLike = None) -> None:
        """Remove a user. Tokens that it has stay good until they end. Not recorded."""
        await self._send("remove user", "DELETE", f"/v1/users/{_name(name)}", None, timeout)

    # Roles

    async def roles(self, *, timeout: TimeoutLike = None) -> list[Role]:
        """All roles. A cluster that is registered brings three: its owner's, a bucket owner's and a guest's."""
        answer = await self._send("roles", "GET", "/v1/roles", None, timeout)
        found: Any = decode(answer.body, list[_Role] | None)  # type: ignore[arg-type]
        return [role.read() for role in found or ()]

    async def add_role(
        self,
        name: str,
        *,
        description: str = "",
        clusters: Mapping[str, int] | None = None,
        timeout: TimeoutLike = None,
    ) -> None:
        """Make a role. clusters: Bits of `Permission` by the cluster's ID. Not recorded."""
        rights = [{"id": cluster, "perm": str(bits)} for cluster, bits in (clusters or {}).items()]
        value = {"name": check_text(name, "name", empty=False), "desc": description, "clusters": rights}
        await self._send("add role", "POST", "/v1/roles", message(value), timeout)

    async def remove_role(self, name: str, *, timeout: TimeoutLike = None) -> None:
        """Remove a role. Not recorded."""
        await self._send("remove role", "DELETE", f"/v1/roles/{_name(name)}", None, timeout)

    # Clusters

    async def clusters(self, *, timeout: TimeoutLike = None) -> dict[str, RegisteredCluster]:
        """Clusters that take this server's tokens, by ID."""
        answer = await self._send("clusters", "GET", "/v1/clusters", None, timeout)
        return {known: one.read() for known, one in (decode(answer.body, _Clusters).clusters or {}).items()}

    async def register_cluster(
        self, id: str, urls: Iterable[str], *, alias: str = "", timeout: TimeoutLike = None
    ) -> None:
        """Register a cluster by the URLs of its gateways, so that it learns which tokens are revoked."""
        if isinstance(urls, str):
            raise TypeError("urls must be a list of URLs, not text")
        listed = [check_text(url, "urls", empty=False) for url in urls]
        if not listed:
            raise ValueError("urls must hold a URL at least")
        body = message({"id": check_text(id, "id", empty=False), "alias": check_text(alias, "alias"), "urls": listed})
        await self._send("register cluster", "POST", "/v1/clusters", body, timeout)

    async def unregister_cluster(self, id: str, *, timeout: TimeoutLike = None) -> None:
        """Forget a cluster. Not recorded."""
        await self._send("unregister cluster", "DELETE", f"/v1/clusters/{_name(id, 'id')}", None, timeout)

    async def _send(
        self,
        operation: str,
        method: str,
        path: str,
        body: bytes | None,
        timeout: TimeoutLike,
        *,
        secret: bool = False,
    ) -> Response:
        effect = Effect.READ if method == "GET" else Effect.ONCE
        asked = request(operation, method, path, effect=effect, body=body, secret=secret)
        response = await self._channel.send(asked, timeout=timeout)
        if response.status >= 300:
            raise_error(asked, response, NotFound)
        return response

    def __repr__(self) -> str:
        return f"<AuthN at {self._pool.urls}>"


def _name(name: str, argument: str = "name") -> str:
    return quote(check_text(name, argument, empty=False), safe="")


def _roles(roles: Iterable[str]) -> list[str]:
    if isinstance(roles, str):
        raise TypeError("roles must be a list of names, not text")
    return [check_text(role, "roles", empty=False) for role in roles]
