"""What a contestant does: the few calls that every client is asked for, each in its own manner.

This file, the cases and the adapters run in the environments of the peers: they use nothing but the standard library
and the one client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

__all__ = ["Absent", "Contract", "Renew", "hosts"]

Renew = Callable[[], Awaitable[object]]


class Absent(Exception):
    """The client does not offer this. The text says what it has in place of it."""


class Contract:
    """A connected client. What an adapter does not have is Absent, and its place in the table says so."""

    async def get(self, key: str) -> None:
        """Read one key; linearizable where there is the choice."""
        raise Absent("no get")

    async def put(self, key: str, value: str) -> None:
        """Write one key."""
        raise Absent("no put")

    async def read(self, prefix: str) -> int:
        """Read all keys under `prefix/` and make values of them; how many there are."""
        raise Absent("no read of a prefix")

    def watch(self, key: str, *, recursive: bool = False) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """The values that a key gets, or those under it; it stands when it is entered, as far as the client can say."""
        raise Absent("no watch")

    def lock(self, name: str) -> AbstractAsyncContextManager[object]:
        """Hold a lock for as long as the block runs; others wait."""
        raise Absent("no lock")

    async def lease(self, name: str) -> Renew:
        """A lease of 60 s, and what renews it once. On v2: a key with a TTL."""
        raise Absent("no renewal of a lease")

    def applied(self, error: Exception) -> bool:
        """Whether a write that failed so may have been applied. Where a client does not tell, it may."""
        return True


def hosts(urls: list[str]) -> list[tuple[str, int]]:
    """URLs as hosts and ports."""
    pairs = (url.rpartition("/")[2].rpartition(":") for url in urls)
    return [(host, int(port)) for host, _, port in pairs]
