"""The API's error codes as classes, and the answers that are not the API's at all.

The codes are those of the reference's endpoint tables, versions 1 to 9, and two that servers send without a table
naming them: `PathNotFound` (since version 4 in place of the stream codes) and `UnknownVersion` (in the tables from
version 6 on).
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
from attrs import frozen

from aetcd._wire.message import Request, Response, Verdict
from aetcd.errors import (
    KeyExists,
    KeyNotFound,
    NginxError,
    PermissionDenied,
    RequestTooLarge,
    ServerUnavailable,
    TooManyRequests,
)

__all__ = [
    "CODES",
    "APIError",
    "AccessDenied",
    "BodyReadError",
    "BodyTooLarge",
    "CacheNotFound",
    "EntryExists",
    "ForeignAnswer",
    "GatewayFailed",
    "JsonError",
    "KeyvalFormatError",
    "KeyvalKeyExists",
    "KeyvalKeyNotFound",
    "KeyvalNotFound",
    "LimitConnNotFound",
    "LimitReqNotFound",
    "LocationZoneNotFound",
    "MethodDisabled",
    "NotTheAPI",
    "PathNotFound",
    "Refusal",
    "RequestsLimited",
    "ResolverZoneNotFound",
    "ServerZoneNotFound",
    "SlabNotFound",
    "StreamNotConfigured",
    "UnknownVersion",
    "UpstreamBadAddress",
    "UpstreamBadFailTimeout",
    "UpstreamBadMaxConns",
    "UpstreamBadMaxFails",
    "UpstreamBadRoute",
    "UpstreamBadServerId",
    "UpstreamBadService",
    "UpstreamBadSlowStart",
    "UpstreamBadWeight",
    "UpstreamConfFormatError",
    "UpstreamConfNoResolver",
    "UpstreamNoBackup",
    "UpstreamNotFound",
    "UpstreamOutOfMemory",
    "UpstreamServerImmutable",
    "UpstreamServerNotFound",
    "UpstreamServerWeightImmutable",
    "UpstreamStatic",
    "WorkerNotFound",
    "ZoneSyncNotConfigured",
    "judge",
    "judge_write",
    "raise_error",
]


class Refusal(NginxError):
    """What all errors of this room have.

    status: HTTP status.
    text: The server's own words; of an answer that is not the API's, its first letters.
    code: The server's own code, such as `UpstreamNotFound`; None where the answer is not the API's.
    request_id: nginx's $request_id, which its logs may show; None where the server told none.
    href: Where the server says that the error is described; None where it told none.
    """

    def __init__(
        self, message: str = "", *, request_id: str | None = None, href: str | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.request_id = request_id
        self.href = href


class APIError(Refusal):
    """The API refused. A code that this package does not know is an APIError itself, with its code and text."""


class ForeignAnswer(Refusal):
    """Something else than the API answered: nginx itself, a proxy before it, another program."""


class NotTheAPI(ForeignAnswer):
    """The URL does not lead to the API: a 404 that is not the API's own, a redirect, or a page where JSON belongs."""


class AccessDenied(ForeignAnswer, PermissionDenied):
    """401 or 403 by `deny`, `auth_basic` or a proxy: the API itself knows no users."""


class GatewayFailed(ForeignAnswer, ServerUnavailable):
    """A 5xx that is not the API's own, mostly of a proxy that could not reach it (502, 503, 504)."""


class RequestsLimited(ForeignAnswer, TooManyRequests):
    """429: a `limit_req` or `limit_conn` in front of the API."""


class BodyTooLarge(ForeignAnswer, RequestTooLarge):
    """413: the body is larger than nginx's client_max_body_size (1 MB by default)."""


# The instance and its location


class UnknownVersion(APIError):
    """404: the server does not serve this version of the API."""


class PathNotFound(APIError):
    """404: the server has no such path: there is no `stream` block, no `zone_sync`, or the server is older."""


class StreamNotConfigured(PathNotFound):
    """404 of servers up to version 3: the configuration has no `stream` block."""


class ZoneSyncNotConfigured(PathNotFound):
    """404 of servers up to version 3: no `zone_sync` is configured."""


class MethodDisabled(APIError):
    """405: the location does not say `api write=on`."""


class JsonError(APIError):
    """415: the body is no JSON."""


class BodyReadError(APIError):
    """400, since version 6: the server could not read the body."""


class EntryExists(APIError):
    """409, since version 6: there is such an entry already."""


# Zones


class SlabNotFound(APIError):
    """404: no shared memory zone has this name."""


class ServerZoneNotFound(APIError):
    """404: no `status_zone` of a server has this name."""


class LocationZoneNotFound(APIError):
    """404, since version 5: no `status_zone` of a location has this name."""


class CacheNotFound(APIError):
    """404: no cache zone has this name."""


class LimitConnNotFound(APIError):
    """404, since version 6: no `limit_conn_zone` has this name."""


class LimitReqNotFound(APIError):
    """404, since version 6: no `limit_req_zone` has this name."""


class ResolverZoneNotFound(APIError):
    """404, since version 5: no `status_zone` of a resolver has this name."""


class WorkerNotFound(APIError):
    """404, since version 9: there is no such worker."""


# Upstreams


class UpstreamNotFound(APIError):
    """404: no upstream has this name."""


class UpstreamStatic(APIError):
    """400: the upstream has no `zone`, so it can neither be changed nor asked for."""


class UpstreamServerNotFound(APIError):
    """404: the upstream has no server of this ID."""


class UpstreamBadServerId(APIError):
    """400: the ID is no number."""


class UpstreamServerImmutable(APIError):
    """400: the address cannot be changed, or the server not be removed: it was found by resolving a name."""


class UpstreamServerWeightImmutable(APIError):
    """400: the weight cannot be changed: it comes from a DNS SRV record."""


class UpstreamConfFormatError(APIError):
    """400: a parameter is unknown, is missing, or has a value of the wrong kind."""


class UpstreamBadAddress(APIError):
    """400: the address does not parse, lacks a port (stream), has one with `service`, or is no name with `service`."""


class UpstreamBadWeight(APIError):
    """400: `weight` is no good."""


class UpstreamBadMaxConns(APIError):
    """400: `max_conns` is no good."""


class UpstreamBadMaxFails(APIError):
    """400: `max_fails` is no good."""


class UpstreamBadFailTimeout(APIError):
    """400: `fail_timeout` is no good."""


class UpstreamBadSlowStart(APIError):
    """400: `slow_start` is no good."""


class UpstreamBadRoute(APIError):
    """400: `route` is too long."""


class UpstreamBadService(APIError):
    """400: `service` is empty."""


class UpstreamConfNoResolver(APIError):
    """400: the address is a name, and no `resolver` is configured."""


class UpstreamNoBackup(APIError):
    """400: the upstream's balancing method knows no backup servers."""


class UpstreamOutOfMemory(APIError):
    """400: the upstream's `zone` is full."""


# Key-value zones


class KeyvalNotFound(APIError):
    """404: no `keyval_zone` has this name."""


class KeyvalKeyNotFound(APIError, KeyNotFound):
    """404: the zone has no such key."""


class KeyvalKeyExists(APIError, KeyExists):
    """409: the zone has such a key already."""


class KeyvalFormatError(APIError):
    """400: no key, more keys than one where one is possible, a value that is no text, an expiry where none can be."""


CODES: dict[str, type[APIError]] = {
    name: kind
    for name, kind in list(globals().items())
    if isinstance(kind, type) and issubclass(kind, APIError) and kind is not APIError
}
"""The class of each of the server's codes: it has the code for its name."""

SHOWN = 200  # letters of an answer that is not the API's

_BY_STATUS: dict[int, type[ForeignAnswer]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotTheAPI,
    413: BodyTooLarge,
    429: RequestsLimited,
}


@frozen
class _Error:
    code: str
    text: str = ""
    status: int = 0


@frozen
class _Document:
    """`path` and `method`, which versions up to 3 send too, tell nothing that the caller does not know."""

    error: _Error
    request_id: str | None = None
    href: str | None = None


# strict=False reads the status, which was text before version 3.
_decoder = msgspec.json.Decoder(_Document, strict=False)


def judge(response: Response) -> Verdict:
    """The fate of a read: a 5xx of a proxy may be over in a moment."""
    return Verdict.OPEN if response.status in {502, 503, 504} and _read(response) is None else Verdict.FINAL


def judge_write(response: Response) -> Verdict:
    """The fate of a write: only the API's own word settles it.

    A gateway's 5xx may come behind the API's back. A page that came in place of JSON with a good status, such as a form
    to log in, tells nothing of the API either.
    """
    if 200 <= response.status < 300:
        return Verdict.OPEN if response.body and not _is_json(response.body) else Verdict.FINAL
    return Verdict.OPEN if response.status >= 500 and _read(response) is None else Verdict.FINAL


def raise_error(request: Request, response: Response) -> NoReturn:
    """The error that an answer stands for."""
    document = _read(response)
    where: dict[str, Any] = {"status": response.status, "peer": response.peer, "operation": request.operation}
    if document is not None:
        kind = CODES.get(document.error.code, APIError)
        raise kind(
            document.error.text,
            code=document.error.code or None,
            request_id=document.request_id,
            href=document.href,
            **where,
        )
    foreign = _BY_STATUS.get(response.status)
    if foreign is None:
        foreign = GatewayFailed if response.status >= 500 else NotTheAPI if response.status < 400 else ForeignAnswer
    shown = " ".join(response.body[:SHOWN].decode(errors="replace").split())
    raise foreign(shown or "an empty answer", **where)


def _read(response: Response) -> _Document | None:
    try:
        return _decoder.decode(response.body)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True
