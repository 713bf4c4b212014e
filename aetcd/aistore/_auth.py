"""The token, and how a new one is had when the cluster takes the old one no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aetcd._transport.auth import ANONYMOUS, Auth, BearerAuth
from aetcd.errors import ConfigError

__all__ = ["Token", "TokenSource", "make_auth"]

TokenSource = Callable[[], Awaitable[str]]
Token = str | TokenSource


class _Renewed:
    """A token that is asked for, at first and whenever the cluster refuses the last one.

    At most one such question is on its way at a time; a caller who waited for somebody else's takes its answer.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._headers: Mapping[str, str] | None = None
        self._lock = asyncio.Lock()

    def current(self) -> Mapping[str, str] | None:
        """The token's header, or None before the first was fetched."""
        return self._headers

    async def renew(self, stale: Mapping[str, str] | None) -> Mapping[str, str]:
        """A token other than `stale`."""
        async with self._lock:
            if self._headers is None or self._headers is stale:
                self._headers = {"Authorization": f"Bearer {check_token(await self._source())}"}
            return self._headers

    def __repr__(self) -> str:
        return "<token ***>"


def check_token(token: object) -> str:
    """A token that a header can hold. It is never shown."""
    if not isinstance(token, str):
        raise TypeError(f"token must be text, or an async function that gives it, not {type(token).__name__}")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("token must be printable ASCII without spaces, and not empty")
    return token


def make_auth(token: Token | None) -> Auth:
    """How a client's `token=` is sent. Raises ConfigError or TypeError, naming it."""
    if token is None:
        return ANONYMOUS
    if callable(token):
        return _Renewed(token)
    return BearerAuth(check_token(token))
