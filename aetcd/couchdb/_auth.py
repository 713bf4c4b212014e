"""Who the client is: by password, by a session's cookie, by a proxy's word, or by a token."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Literal

from aetcd._transport.auth import ANONYMOUS, Auth, BasicAuth, BearerAuth, NoAuth, TokenAuth
from aetcd._wire.message import Effect, Request, Response, Verdict
from aetcd.couchdb._arguments import check_list, check_text
from aetcd.couchdb._codec import decode, make
from aetcd.couchdb._errors import judge, refusal
from aetcd.errors import ConfigError

if TYPE_CHECKING:
    from aetcd._transport.pool import Pool

__all__ = ["AuthName", "JWTAuth", "ProxyAuth", "SessionAuth", "make_auth", "session_request"]

AuthName = Literal["basic", "session", "proxy", "jwt"]

COOKIE = "AuthSession"


class SessionAuth:
    """A cookie that the server hands out for a name and a password, and that runs out: after 10 minutes by default.

    It is fetched with the first request, exchanged for each newer one that comes with an answer (the server sends one
    when less than 90% of its life is left, measured on 3.5.0), and fetched anew when it has run out. One such question
    is on its way at a time; a caller who waited for somebody else's takes its answer.

    All nodes of a cluster must share their `chttpd_auth/secret`, or the cookie of one means nothing to another.
    """

    def __init__(self, pool: Pool, username: str, password: str) -> None:
        self._pool = pool
        self._username = username
        self._password = password
        self._headers: Mapping[str, str] | None = None
        self._lock = asyncio.Lock()

    def current(self) -> Mapping[str, str] | None:
        """The cookie's header, or None before the first was fetched."""
        return self._headers

    async def renew(self, stale: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """A cookie other than `stale`, or None where `stale` is still good: then it was not what the server refused.

        Raises WrongPassword and AccountLocked.
        """
        async with self._lock:
            if self._headers is None or self._headers is stale:
                # A 401 says the same of a cookie that ran out and of a user who may not. `_session` tells them apart:
                # without an error it names nobody when the cookie ran out.
                if stale is not None and await self._stands(stale):
                    return None
                self._headers = await self._log_in()
            return self._headers

    def learn(self, response: Response | Mapping[str, str]) -> None:
        """Take over the newer cookie that an answer brings."""
        headers = response.headers if isinstance(response, Response) else response
        cookie = _cookie_in(headers)
        if cookie and self._headers is not None:
            self._headers = {"Cookie": f"{COOKIE}={cookie}"}

    async def forget(self) -> None:
        """End the session: on the server's word it is over, though its cookie would be good until it runs out."""
        async with self._lock:
            held, self._headers = self._headers, None
        if held is not None:
            request = make("end session", "DELETE", "/_session", effect=Effect.REPEATABLE, headers=held, judge=_final)
            await self._pool.send(request, auth=ANONYMOUS)

    async def _stands(self, headers: Mapping[str, str]) -> bool:
        request = make("session", "GET", "/_session", headers=headers, judge=_final)
        answer = await self._pool.send(request, auth=ANONYMOUS)
        if answer.status != 200:
            return False
        read = decode(request, answer)
        return bool(isinstance(read, dict) and (read.get("userCtx") or {}).get("name"))

    async def _log_in(self) -> Mapping[str, str]:
        login = {"name": self._username, "password": self._password}
        # Twice does no harm: it makes two cookies.
        request = make(
            "log in", "POST", "/_session", document=login, effect=Effect.REPEATABLE, secret=True, judge=_final
        )
        answer = await self._pool.send(request, auth=ANONYMOUS)
        cookie = _cookie_in(answer.headers)
        if answer.status != 200 or not cookie:
            raise refusal(request, answer)
        return {"Cookie": f"{COOKIE}={cookie}"}

    def __repr__(self) -> str:
        return f"<SessionAuth of {self._username} ***>"


class ProxyAuth(NoAuth):
    """The word of a trusted proxy: a name and roles, and a token that proves to know the server's secret.

    secret: The server's `chttpd_auth/secret`, or None where it asks for no proof (`proxy_use_secret = false`, the
        default: then every name is believed that reaches the server).
    algorithm: Of the HMAC: `sha256`, or `sha1` for servers before 3.4. (3.5.0 takes both, measured.)

    With a token that is wrong the server answers as to nobody in particular, without an error (measured on 3.5.0).
    """

    def __init__(
        self,
        username: str,
        roles: Iterable[str] = (),
        secret: str | None = None,
        algorithm: Literal["sha256", "sha1"] = "sha256",
    ) -> None:
        check_text(username, "username")
        listed = check_list(roles, "roles")
        for role in listed:
            if "," in role:
                raise ValueError(f"roles: {role!r} holds a comma, which separates roles")
        if algorithm not in {"sha256", "sha1"}:
            raise ValueError(f'algorithm must be "sha256" or "sha1", not {algorithm!r}')
        self._username = username
        self._headers = {"X-Auth-CouchDB-UserName": username, "X-Auth-CouchDB-Roles": ",".join(listed)}
        if secret is not None:
            check_text(secret, "secret")
            digest = getattr(hashlib, algorithm)
            token = hmac.new(secret.encode(), username.encode(), digest).hexdigest()
            self._headers["X-Auth-CouchDB-Token"] = token

    def current(self) -> Mapping[str, str]:
        """The same headers, always."""
        return self._headers

    def __repr__(self) -> str:
        return f"<ProxyAuth of {self._username} ***>"


class JWTAuth(TokenAuth):
    """A token signed by somebody whom the server believes.

    fetch: Makes a token. It is asked at the first request, and when the server refuses a token with 401. The server
        wants `exp` in it by default, and answers 400 or 401 without (measured on 3.5.0).
    """

    def _authorization(self, token: str) -> str:
        return f"Bearer {check_text(token, 'token')}"


def make_auth(
    kind: AuthName | Auth,
    pool: Pool,
    *,
    username: str | None,
    password: str | None,
    roles: Iterable[str],
    secret: str | None,
    token: str | Callable[[], Awaitable[str]] | None,
) -> Auth:
    """The credentials that a client's arguments stand for.

    Raises ConfigError, naming the argument that is missing or does not belong there.
    """
    if not isinstance(kind, str):
        if not (callable(getattr(kind, "current", None)) and callable(getattr(kind, "renew", None))):
            raise TypeError(f"auth must be a name or an object with current() and renew(), not {kind!r}")
        return kind
    if kind not in {"basic", "session", "proxy", "jwt"}:
        raise ConfigError(f"auth must be basic, session, proxy or jwt, not {kind!r}")
    listed = check_list(roles, "roles")
    given = {
        "password": password is not None,
        "roles": bool(listed),
        "secret": secret is not None,
        "token": token is not None,
    }
    used = {"basic": {"password"}, "session": {"password"}, "proxy": {"roles", "secret"}, "jwt": {"token"}}[kind]
    for argument, present in given.items():
        if present and argument not in used:
            raise ConfigError(f'{argument}: auth="{kind}" has no use for it')
    if kind == "jwt":
        if username is not None:
            raise ConfigError('username: auth="jwt" has no use for it: the token names its user')
        if token is None:
            raise ConfigError('token: auth="jwt" needs it')
        return JWTAuth(token) if callable(token) else BearerAuth(check_text(token, "token"))
    if kind == "proxy":
        if username is None:
            raise ConfigError('username: auth="proxy" needs it')
        return ProxyAuth(username, listed, secret)
    if (username is None) != (password is None):
        raise ConfigError(f"{'username' if username is None else 'password'}: the one needs the other")
    if username is None or password is None:
        if kind == "session":
            raise ConfigError('username: auth="session" needs it, and a password')
        return ANONYMOUS
    check_text(username, "username")
    if not isinstance(password, str):
        raise TypeError(f"password must be text, not {type(password).__name__}")
    if ":" in username and kind == "basic":
        raise ConfigError('username: a colon in it ends the name in basic authentication; auth="session" takes it')
    return SessionAuth(pool, username, password) if kind == "session" else BasicAuth(username, password)


def session_request() -> Request:
    """Who the server takes the client for."""
    return make("session", "GET", "/_session", judge=_judge_session)


def _judge_session(response: Response) -> Verdict:
    # A cookie that ran out is no error here: it is nobody's (measured on 3.5.0).
    if response.status == 200 and b'"name":null' in response.body:
        return Verdict.STALE_CREDENTIALS
    return judge(response)


def _final(response: Response) -> Verdict:
    verdict = judge(response)
    # What these requests bring is not the client's own credentials, so there is nothing to renew.
    return Verdict.FINAL if verdict is Verdict.STALE_CREDENTIALS else verdict


def _cookie_in(headers: Mapping[str, str]) -> str | None:
    """The session's cookie in an answer; an empty one is how the server takes a cookie away."""
    for name, value in headers.items():
        if name.lower() == "set-cookie":
            try:
                found = SimpleCookie(value).get(COOKIE)
            except CookieError:
                continue
            if found is not None:
                return found.value or None
    return None
