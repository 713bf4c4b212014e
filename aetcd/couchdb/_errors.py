"""What CouchDB refuses, as exceptions, and which answer is which.

    aetcd.errors.CouchDBError
    └── RequestRefused                    `status`, `error`, `reason`, `request_id`
        ├── BadRequest (InvalidRequest)   400, 405, 406, 415, 416, 417
        │   └── TooLarge (RequestTooLarge)
        ├── Unauthorized (Unauthenticated)
        │   └── WrongPassword
        ├── Forbidden (PermissionDenied)
        │   └── AccountLocked
        ├── NotFound
        │   ├── DatabaseNotFound
        │   ├── DocumentNotFound (KeyNotFound)
        │   └── NodeNotFound
        ├── Conflict (CompareFailed)
        ├── DatabaseExists
        ├── NodeDown (ServerUnavailable)
        ├── ServiceUnavailable (ServerUnavailable)
        ├── Throttled (TooManyRequests)
        ├── ServerFailed
        └── ReplicationFailed
    aetcd.errors.Unsupported
    └── EndpointUnsupported               this server is too old for it

Beside its place here, a class has the one in `aetcd.errors` that means the same for every system, in brackets.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aetcd._wire.message import Request, Response, Verdict
from aetcd.errors import (
    CompareFailed,
    CouchDBError,
    InvalidRequest,
    KeyNotFound,
    PermissionDenied,
    RequestTooLarge,
    ServerUnavailable,
    TooManyRequests,
    Unauthenticated,
    Unsupported,
)

__all__ = [
    "AccountLocked",
    "BadRequest",
    "Conflict",
    "DatabaseExists",
    "DatabaseNotFound",
    "DocumentNotFound",
    "EndpointUnsupported",
    "Forbidden",
    "NodeDown",
    "NodeNotFound",
    "NotFound",
    "ReplicationFailed",
    "RequestRefused",
    "ServerFailed",
    "ServiceUnavailable",
    "Throttled",
    "TooLarge",
    "Unauthorized",
    "WrongPassword",
    "facts_in",
    "facts_of",
    "judge",
    "refusal",
]


class RequestRefused(CouchDBError):
    """An error answer.

    status: HTTP status.
    error: The server's short name of it, such as `not_found`; also `code`. None where the answer was not CouchDB's.
    reason: The server's own text, also `message`. It may be an Erlang term, or empty (measured on 3.5.0).
    request_id: X-Couch-Request-ID, under which the server logged it; some endpoints send none.
    """

    def __init__(self, message: str = "", *, request_id: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.request_id = request_id

    @property
    def error(self) -> str | None:
        """The server's short name of it."""
        return None if self.code is None else str(self.code)

    @property
    def reason(self) -> str:
        """The server's own text."""
        return self.message


class BadRequest(RequestRefused, InvalidRequest):
    """The server found the request malformed."""


class TooLarge(BadRequest, RequestTooLarge):
    """A document or an attachment is larger than the server's limit."""


class Unauthorized(RequestRefused, Unauthenticated):
    """No credentials, or ones that do not reach so far: most endpoints of the server want an administrator."""


class WrongPassword(Unauthorized):
    """There is no such user, or the password is another one. Five of them lock the account out."""


class Forbidden(RequestRefused, PermissionDenied):
    """The user may not do this: by the database's security object, or by a validation function."""


class AccountLocked(Forbidden):
    """Too many wrong passwords from this address: refused even with the right one, for five minutes by default.

    Sessions that were begun before go on (measured on 3.5.0).
    """


class NotFound(RequestRefused):
    """There is no such thing."""


class DatabaseNotFound(NotFound):
    """There is no such database."""


class DocumentNotFound(NotFound, KeyNotFound):
    """There is no such document.

    deleted: It was there once.
    """

    @property
    def deleted(self) -> bool:
        """It was there once."""
        return self.message == "deleted"


class NodeNotFound(NotFound):
    """The cluster has no node of this Erlang name."""


class Conflict(RequestRefused, CompareFailed):
    """The document is not at the revision that the write was for. Nothing was written.

    id: The document's.
    revision: What the write was for; None where it was to create the document.
    document: What was to be written; None of a deletion, and of an attachment.
    current: The `Document` that stands, read after the refusal; None where it was gone by then or could not be read.
    current_revision: Its revision, or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        id: str | None = None,
        revision: str | None = None,
        document: Any = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.id = id
        self.revision = revision
        self.document = document

    @property
    def current_revision(self) -> str | None:
        """The revision that stands, as far as it is known."""
        return None if self.current is None else self.current.revision


class DatabaseExists(RequestRefused):
    """There is a database of this name already."""


class NodeDown(RequestRefused, ServerUnavailable):
    """The node that was asked about is down, or so many are that no copy of the data answers."""


class ServiceUnavailable(RequestRefused, ServerUnavailable):
    """The server cannot do this now, or lacks what it takes: searching needs a plugin."""


class Throttled(RequestRefused, TooManyRequests):
    """The server holds requests back. Nothing was applied."""


class ServerFailed(RequestRefused):
    """The server failed at it. What a write had done by then is not known."""


class ReplicationFailed(RequestRefused):
    """A replication that was asked for by `replicate()` failed.

    The server says so with status 500 for a database that is missing, for credentials that the other side refuses,
    and for a connection that it cannot make; `error` and `reason` tell which (measured on 3.5.0).
    """


class EndpointUnsupported(Unsupported):
    """The server lacks this endpoint.

    needs: The first version of CouchDB that has it.
    version: The server's, where it could be asked; else None.
    """

    def __init__(self, message: str = "", *, needs: str = "", version: str | None = None) -> None:
        super().__init__(message)
        self.needs = needs
        self.version = version


_BY_STATUS: dict[int, type[RequestRefused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: BadRequest,
    406: BadRequest,
    409: Conflict,
    413: TooLarge,
    415: BadRequest,
    416: BadRequest,
    417: BadRequest,
    429: Throttled,
    503: ServiceUnavailable,
}

# One status stands for several things, and the server's own name for it, or the beginning of its reason, tells which.
_BY_ERROR: dict[tuple[int, str], type[RequestRefused]] = {
    (412, "file_exists"): DatabaseExists,
    (412, "nodedown"): NodeDown,
    (500, "nodedown"): NodeDown,
}
_BY_REASON: tuple[tuple[int, str, type[RequestRefused]], ...] = (
    (401, "Name or password is incorrect", WrongPassword),
    (403, "Account is temporarily locked", AccountLocked),
    (404, "Database does not exist", DatabaseNotFound),
    (404, "no such node", NodeNotFound),
)

# With these the server says that it stopped waiting for its other nodes: a write may have reached some of them.
_GAVE_UP = {"timeout", "nodedown"}


def facts_of(body: bytes) -> tuple[str | None, str]:
    """The `error` and the `reason` of an answer's body; of a body that is not CouchDB's, None and its beginning."""
    try:
        read = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None, " ".join(body[:200].decode("utf-8", "replace").split())
    if not isinstance(read, dict) or "error" not in read:
        return None, body[:200].decode("utf-8", "replace").strip()
    error, reason = read["error"], read.get("reason")
    # `/_scheduler/nope` is answered without a reason (measured on 3.5.0).
    return str(error), str(error) if reason is None else str(reason)


def facts_in(error: RequestRefused) -> dict[str, Any]:
    """What an error knows of its answer, for one of another class that takes its place."""
    return {
        "status": error.status,
        "code": error.code,
        "peer": error.peer,
        "operation": error.operation,
        "request_id": error.request_id,
    }


def refusal(request: Request, response: Response) -> RequestRefused:
    """The exception that an error answer stands for."""
    error, reason = facts_of(response.body)
    kind = _BY_ERROR.get((response.status, error or ""))
    if kind is None:
        known = (of for status, start, of in _BY_REASON if status == response.status and reason.startswith(start))
        kind = next(known, _BY_STATUS.get(response.status, ServerFailed if response.status >= 500 else RequestRefused))
    return kind(
        reason or f"HTTP {response.status}",
        status=response.status,
        code=error,
        peer=response.peer,
        operation=request.operation,
        request_id=response.headers.get("X-Couch-Request-ID"),
    )


def judge(response: Response) -> Verdict:
    """What an answer says of the request's fate.

    Only an answer of CouchDB itself is final where its status would leave the fate open: 503 with `service unavailable`
    is its word for a plugin that is missing. Whether 401 means a session that ran out is for the credentials to find
    out.
    """
    if response.status == 401 or (response.status == 400 and b"AuthSession" in response.body):
        return Verdict.STALE_CREDENTIALS
    if response.status == 429:
        return Verdict.NOT_NOW
    if response.status in {502, 504}:
        return Verdict.OPEN
    if response.status in {500, 503}:
        error, _ = facts_of(response.body)
        if error in _GAVE_UP or (error is None and response.status == 503):
            return Verdict.OPEN
    return Verdict.FINAL
