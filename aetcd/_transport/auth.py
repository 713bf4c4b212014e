"""Credentials: how they travel, and how stale ones are renewed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aetcd._wire.message import NO_HEADERS

__all__ = ["ANONYMOUS", "Auth", "BasicAuth", "BearerAuth", "NoAuth", "TokenAuth"]


class Auth(Protocol):
    """How a pool authenticates its requests."""

    def current(self) -> Mapping[str, str] | None:
        """The headers to send, or None where they must be fetched first."""
        ...

    async def renew(self, stale: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """Headers newer than `stale`, or None where there is nothing to renew."""
        ...


class NoAuth:
    """Nobody in particular."""

    def current(self) -> Mapping[str, str]:
        """No headers."""
        return NO_HEADERS

    async def renew(self, stale: Mapping[str, str] | None) -> None:
        """There is nothing to renew."""


ANONYMOUS = NoAuth()


class _Fixed(NoAuth):
    def __init__(self, authorization: str) -> None:
        self._headers = {"Authorization": authorization}

    def current(self) -> Mapping[str, str]:
        """The same headers, always."""
        return self._headers

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ***>"


class BasicAuth(_Fixed):
    """A name and a password with every request."""

    def __init__(self, username: str, password: str) -> None:
        super().__init__("Basic " + base64.b64encode(f"{username}:{password}".encode()).decode())


class BearerAuth(_Fixed):
    """A token that was given from outside."""

    def __init__(self, token: str) -> None:
        super().__init__(f"Bearer {token}")


class TokenAuth:
    """A token that the server hands out, and that runs out.

    fetch: Asks the server for a new one. At most one such question is on its way at a time; a caller who waited for
    somebody else's takes its answer.
    """

    def __init__(self, fetch: Callable[[], Awaitable[str]]) -> None:
        self._fetch = fetch
        self._headers: Mapping[str, str] | None = None
        self._lock = asyncio.Lock()

    def current(self) -> Mapping[str, str] | None:
        """The token's header, or None before the first was fetched."""
        return self._headers

    async def renew(self, stale: Mapping[str, str] | None) -> Mapping[str, str]:
        """A token other than `stale`: somebody else's newer one, or a fresh one."""
        async with self._lock:
            if self._headers is None or self._headers is stale:
                self._headers = {"Authorization": self._authorization(await self._fetch())}
            return self._headers

    def _authorization(self, token: str) -> str:
        # etcd takes the bare token: `Bearer x` is answered by 401.
        return token

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ***>"
