"""What the facade needs of a protocol: one hierarchical key space, in the caller's own keys."""

from __future__ import annotations

from typing import Any, Protocol

from aetcd._transport.timeouts import Timeout
from aetcd.etcd._entries import Entry, Owned, Queue
from aetcd.etcd._session import Lease, Session
from aetcd.etcd._values import Result
from aetcd.etcd._watch import Feed

__all__ = ["KeySpace", "Queues"]


class KeySpace(Protocol):
    """Each call is one of the facade's, its values already bytes and its arguments already checked.

    full: Whether the caller will look at more than what the call alone must tell; a protocol that has to ask for it
        may leave the rest of the result empty without it.
    """

    name: str

    async def value(self, key: str, *, consistent: bool, timeout: Timeout) -> bytes | None:
        """What a key holds, or None. Raises NotAFile for a directory."""
        ...

    async def get(self, key: str, *, consistent: bool, timeout: Timeout) -> Result | None:
        """Raises NotAFile for a directory."""
        ...

    async def find(self, key: str, *, consistent: bool, full: bool, timeout: Timeout) -> Result | None:
        """As `get`, directories included."""
        ...

    async def set(
        self, key: str, raw: bytes, *, ttl: int | None, session: Session | None, full: bool, timeout: Timeout
    ) -> Result | None:
        """Write, whatever stands there. Without `full` nothing need be told."""
        ...

    async def create(
        self, key: str, raw: bytes, *, ttl: int | None, session: Session | None, timeout: Timeout
    ) -> Result:
        """Raises KeyExists."""
        ...

    async def update(self, key: str, raw: bytes, *, ttl: int | None, full: bool, timeout: Timeout) -> Result:
        """Raises KeyNotFound."""
        ...

    async def compare_and_swap(
        self,
        key: str,
        raw: bytes,
        *,
        previous_raw: bytes | None,
        previous_revision: int | None,
        ttl: int | None,
        full: bool,
        timeout: Timeout,
    ) -> Result:
        """Exactly one of the two is given. Raises KeyNotFound, CompareFailed."""
        ...

    async def delete(self, key: str, *, recursive: bool, timeout: Timeout) -> Result:
        """Raises KeyNotFound."""
        ...

    async def compare_and_delete(
        self, key: str, *, previous_raw: bytes | None, previous_revision: int | None, timeout: Timeout
    ) -> Result:
        """Exactly one of the two is given. Raises KeyNotFound, CompareFailed."""
        ...

    async def refresh(self, key: str, *, ttl: int | None, full: bool, timeout: Timeout) -> Result:
        """None removes the expiry. Raises KeyNotFound."""
        ...

    async def ls(self, key: str, *, consistent: bool, timeout: Timeout) -> Result:
        """The directory with its children. Raises KeyNotFound, NotADirectory."""
        ...

    async def tree(self, key: str, *, consistent: bool, timeout: Timeout) -> Result:
        """The directory with all that is under it. Raises KeyNotFound, NotADirectory."""
        ...

    async def mkdir(self, key: str, *, ttl: int | None, timeout: Timeout) -> Result:
        """Raises KeyExists, Unsupported."""
        ...

    async def rmdir(self, key: str, *, recursive: bool, timeout: Timeout) -> Result:
        """Raises KeyNotFound, NotADirectory, DirectoryNotEmpty."""
        ...

    def feed(self, key: str, *, recursive: bool, type: Any) -> Feed:
        """The changes of a key, or of it and all under it, their values to be read as `type`."""
        ...

    def lease(self) -> Lease:
        """What a session is on this protocol, not begun yet."""
        ...


class Queues(Protocol):
    """What recipes need of a protocol, beside sessions and watches."""

    async def enter(self, queue: str, raw: bytes, session: Session) -> Entry:
        """Create an entry of one's own, tied to the session. Sent again safely, for its name is the client's own."""
        ...

    async def queue(self, queue: str) -> Queue:
        """The entries, in order of creation, by a linearizable read."""
        ...

    async def swap(self, entry: Owned, raw: bytes, session: Session) -> Entry:
        """Raises NotOwner."""
        ...

    async def leave(self, entry: Owned, session: Session) -> bool:
        """False where the entry was gone."""
        ...
