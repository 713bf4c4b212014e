"""Every exception of the package.

Two questions are answered by the class alone: did an answer come, and can the request have been applied?

    AetcdError
    ├── ConfigError (also ValueError)       a setting that cannot work; raised before anything is sent
    ├── ClientClosed (also RuntimeError)    used after aclose(), or closed while it ran
    ├── WrongContext (also RuntimeError)    used in another event loop, or after a fork
    ├── Unsupported                         this server or protocol has no such thing; nothing was done
    ├── DecodeError                         an answer came and cannot be read as asked
    ├── TransportError                      no answer came; `outcome` says if it may have been applied
    │   ├── ConnectFailed (also ConnectionError)
    │   ├── RequestTimeout (also TimeoutError)
    │   ├── NoPeerAvailable                 every peer was tried
    │   └── OutcomeUnknown                  a write that may have been applied, and was not sent again
    ├── ServerError                         the server answered no: nothing was applied
    │   ├── KeyNotFound, KeyExists, CompareFailed, NotADirectory, NotAFile, DirectoryNotEmpty, RootReadOnly
    │   ├── InvalidRequest
    │   │   └── RequestTooLarge, RevisionCompacted, RevisionInFuture
    │   ├── Unauthenticated, PermissionDenied, AuthFailed
    │   ├── LeaseNotFound, LeaseExists
    │   ├── MemberNotFound, MemberExists, ClusterRefused
    │   ├── NoLeader, ServerUnavailable, TooManyRequests, QuotaExceeded
    │   └── CouchDBError, NginxError, AIStoreError
    ├── WatchError
    │   ├── HistoryLost                     the events asked for are gone
    │   └── WatchRefused                    the server will not serve this watch
    └── CoordinationError
        ├── LockLost, LeadershipLost, SessionLost
        ├── LockTimeout (also TimeoutError)
        └── NotOwner
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar

__all__ = [
    "AIStoreError",
    "AetcdError",
    "AuthFailed",
    "ClientClosed",
    "ClusterRefused",
    "CompareFailed",
    "ConfigError",
    "ConnectFailed",
    "CoordinationError",
    "CouchDBError",
    "DecodeError",
    "DirectoryNotEmpty",
    "HistoryLost",
    "InvalidRequest",
    "KeyExists",
    "KeyNotFound",
    "LeadershipLost",
    "LeaseExists",
    "LeaseNotFound",
    "LockLost",
    "LockTimeout",
    "MemberExists",
    "MemberNotFound",
    "NginxError",
    "NoLeader",
    "NoPeerAvailable",
    "NotADirectory",
    "NotAFile",
    "NotOwner",
    "Outcome",
    "OutcomeUnknown",
    "PermissionDenied",
    "QuotaExceeded",
    "RequestTimeout",
    "RequestTooLarge",
    "RevisionCompacted",
    "RevisionInFuture",
    "RootReadOnly",
    "ServerError",
    "ServerUnavailable",
    "SessionLost",
    "TooManyRequests",
    "TransportError",
    "Unauthenticated",
    "Unsupported",
    "WatchError",
    "WatchRefused",
    "WrongContext",
]


class Outcome(enum.Enum):
    """What may have become of a request that got no answer."""

    NOT_SENT = "not sent"
    """Certain: the server has seen nothing of it."""
    UNKNOWN = "unknown"
    """The server may have applied it, now or a moment later."""


class AetcdError(Exception):
    """The root of every error of this package."""


class ConfigError(AetcdError, ValueError):
    """A setting that cannot work. Nothing was sent."""


class ClientClosed(AetcdError, RuntimeError):
    """The client was closed, before the call or while it ran."""


class WrongContext(AetcdError, RuntimeError):
    """The client was opened in another event loop or another process (before a fork): make one there."""


class Unsupported(AetcdError):
    """The protocol or the server's version has no such operation. Nothing was done."""


class DecodeError(AetcdError):
    """An answer came that cannot be read as asked.

    key: The key whose value did not decode, or None where it was the answer itself.
    """

    def __init__(self, message: str = "", *, key: str | bytes | None = None) -> None:
        super().__init__(message)
        self.key = key


class _AboutRequest(AetcdError):
    """What errors of one request share: their text names the operation and the peer."""

    def __init__(self, message: str = "", *, peer: str | None = None, operation: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.peer = peer
        self.operation = operation

    def _where(self) -> str:
        parts = [self.operation, f"at {self.peer}" if self.peer else None]
        return " ".join(part for part in parts if part)

    def __str__(self) -> str:
        where = self._where()
        return f"{where}: {self.message}" if where else self.message


class TransportError(_AboutRequest):
    """No answer came.

    outcome: Whether the request may have been applied all the same.
    peer: URL of the peer that was asked last, without credentials.
    operation: The name of what was asked, such as `v3 range`.
    """

    default_outcome: ClassVar[Outcome] = Outcome.UNKNOWN

    def __init__(
        self,
        message: str = "",
        *,
        outcome: Outcome | None = None,
        peer: str | None = None,
        operation: str | None = None,
    ) -> None:
        super().__init__(message, peer=peer, operation=operation)
        self.outcome = outcome or self.default_outcome


class ConnectFailed(TransportError, ConnectionError):
    """No connection could be made (outcome `NOT_SENT`), or it broke before the answer (outcome `UNKNOWN`)."""


class RequestTimeout(TransportError, TimeoutError):
    """A read, or a write that may safely be sent again, got no answer in time."""


class NoPeerAvailable(TransportError):
    """Every peer was tried as often as allowed, and none answered. The cause is the last peer's error."""


class OutcomeUnknown(TransportError):
    """A write may have been applied: it was sent, and no answer tells. It was not sent again.

    Read the present state before deciding what to do.

    request: The `Request` whose fate is open; its `operation` names it.
    peer: URL of the peer that it was sent to.
    """

    def __init__(
        self,
        message: str = "",
        *,
        peer: str | None = None,
        operation: str | None = None,
        request: Any = None,
    ) -> None:
        super().__init__(message, outcome=Outcome.UNKNOWN, peer=peer, operation=operation)
        self.request = request


class ServerError(_AboutRequest):
    """The server answered that it will not. Nothing was applied.

    status: HTTP status.
    code: The server's own code: an etcd v2 error code, a gRPC code for etcd v3, text elsewhere; None without one.
    message: The server's own text.
    peer: URL of the peer that answered.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: int | str | None = None,
        peer: str | None = None,
        operation: str | None = None,
    ) -> None:
        super().__init__(message, peer=peer, operation=operation)
        self.status = status
        self.code = code

    def __str__(self) -> str:
        # A refusal that was read from a good answer has no status that would tell anything.
        facts = [
            f"HTTP {self.status}" if self.status >= 300 else "",
            f"code {self.code}" if self.code is not None else "",
        ]
        known = ", ".join(fact for fact in facts if fact)
        return f"{super().__str__()} ({known})" if known else super().__str__()


class KeyNotFound(ServerError):
    """There is no such key."""


class KeyExists(ServerError):
    """`create` found the key there already."""


class CompareFailed(ServerError):
    """The key is not as the compare-and-swap or compare-and-delete expected it.

    current: The `Node` that stands, where the server told; else None.
    """

    def __init__(self, message: str = "", *, current: Any = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.current = current


class NotADirectory(ServerError):
    """A directory was needed, and a key with a value stands there (v2)."""


class NotAFile(ServerError):
    """A key with a value was needed, and a directory stands there (v2)."""


class DirectoryNotEmpty(ServerError):
    """The directory has children: delete it with `recursive=True`."""


class RootReadOnly(ServerError):
    """The root of the key space cannot be written (v2)."""


class InvalidRequest(ServerError):
    """The server found the request malformed."""


class RequestTooLarge(InvalidRequest):
    """The request is larger than the server takes (etcd: 1.5 MiB, 128 operations a transaction)."""


class RevisionCompacted(InvalidRequest):
    """A read of a past revision that the server no longer keeps."""


class RevisionInFuture(InvalidRequest):
    """A read of a revision that the server has not reached."""


class Unauthenticated(ServerError):
    """No credentials, wrong ones, or ones that ran out."""


class PermissionDenied(ServerError):
    """The user may not do this."""


class AuthFailed(ServerError):
    """A change of users, roles or of authentication itself was refused."""


class LeaseNotFound(ServerError):
    """There is no such lease: it ran out or was revoked."""


class LeaseExists(ServerError):
    """A lease with this ID exists already."""


class MemberNotFound(ServerError):
    """The cluster has no such member."""


class MemberExists(ServerError):
    """The cluster has such a member already."""


class ClusterRefused(ServerError):
    """The cluster will not change its membership, its leader or its version now."""


class NoLeader(ServerError):
    """The peer knows no leader: the cluster has no quorum, or the peer is cut off from it."""


class ServerUnavailable(ServerError):
    """The peer cannot serve now, or gave up on a read."""


class TooManyRequests(ServerError):
    """The server holds requests back. Nothing was applied."""


class QuotaExceeded(ServerError):
    """The server's storage is full. Nothing was applied."""


class CouchDBError(ServerError):
    """An error answer of CouchDB.

    request_id: X-Couch-Request-ID, by which the server's log names the request; None where it told none.
    """

    request_id: str | None = None


class NginxError(ServerError):
    """An error answer of NGINX Plus, or of what stands before it.

    text: The server's own words; of an answer that is not the API's, its first letters.
    request_id: nginx's $request_id, which its logs may show; None where the server told none.
    href: Where the server says that the error is described; None where it told none.
    """

    request_id: str | None = None
    href: str | None = None

    @property
    def text(self) -> str:
        """The server's own words."""
        return self.message


class AIStoreError(ServerError):
    """An error answer of AIStore."""


class WatchError(AetcdError):
    """A watch ended."""


class HistoryLost(WatchError):
    """Events between the cursor and the present are gone: compacted, cleared, or of another cluster.

    first_available: The first revision that can still be watched, where the server told; else None.
    """

    def __init__(self, message: str = "", *, first_available: int | None = None) -> None:
        super().__init__(message)
        self.first_available = first_available


class WatchRefused(WatchError):
    """The server will not serve this watch; its reason is the text."""


class CoordinationError(AetcdError):
    """A lock, an election or a session is not as the caller holds it to be."""


class LockLost(CoordinationError):
    """The lock can no longer be trusted: another may hold it."""


class LockTimeout(CoordinationError, TimeoutError):
    """The lock was not had in time. Nothing is left in the queue."""


class LeadershipLost(CoordinationError):
    """Leadership can no longer be trusted: another may lead."""


class SessionLost(CoordinationError):
    """The session ended, and with it every key that it held."""


class NotOwner(CoordinationError):
    """The caller does not own what it wants to change or release."""


PASSING = (TransportError, NoLeader, ServerUnavailable, TooManyRequests)
"""What passes by itself, for background work that goes on trying."""
