"""The errors of AIStore: what they mean, and what they say of a request's fate.

AIStoreError
├── NotFound
│   └── BucketNotFound, ObjectNotFound, NodeNotFound, JobNotFound, MountpathNotFound
├── BucketExists, MountpathExists
├── BadRequest (also InvalidRequest)
│   └── NotRemote               the bucket is AIStore's own, and the operation is for those of a cloud
├── TokenRefused (also Unauthenticated), AccessDenied (also PermissionDenied)
├── RangeRefused                there are no such bytes
├── ChecksumMismatch            what came, or what the target got, is not what was sent
├── ObjectChanged               the object is another one than when its reading began
├── ListingIncomplete           a listing that cannot be followed to its end
├── ForeignRedirect             a gateway sends to somebody who is not of the cluster
├── JobFailed
│   └── JobAborted
├── Busy (also TooManyRequests)
└── Unavailable (also ServerUnavailable)
"""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from aetcd._wire.message import Request, Response, Verdict
from aetcd.errors import (
    AIStoreError,
    InvalidRequest,
    PermissionDenied,
    ServerUnavailable,
    TooManyRequests,
    Unauthenticated,
)

__all__ = [
    "AccessDenied",
    "BadRequest",
    "BucketExists",
    "BucketNotFound",
    "Busy",
    "ChecksumMismatch",
    "ForeignRedirect",
    "JobAborted",
    "JobFailed",
    "JobNotFound",
    "ListingIncomplete",
    "MountpathExists",
    "MountpathNotFound",
    "NodeNotFound",
    "NotFound",
    "NotRemote",
    "ObjectChanged",
    "ObjectNotFound",
    "RangeRefused",
    "TokenRefused",
    "Unavailable",
    "judge",
    "raise_error",
]


class NotFound(AIStoreError):
    """What was asked for is not there."""


class BucketNotFound(NotFound):
    """There is no such bucket, for this provider and namespace."""


class ObjectNotFound(NotFound):
    """The bucket has no such object. One that is being appended to is not there until the flush."""


class NodeNotFound(NotFound):
    """The cluster map has no such gateway or target."""


class JobNotFound(NotFound):
    """No node of the cluster knows such a job."""


class MountpathNotFound(NotFound):
    """The target has no such mountpath, whatever the status it says so with (400 or 404)."""


class BucketExists(AIStoreError):
    """There is such a bucket already: 409 when it is made, 400 when another is renamed to it."""


class MountpathExists(AIStoreError):
    """The target has such a mountpath already."""


class BadRequest(AIStoreError, InvalidRequest):
    """The cluster found the request wrong: nearly everything that is, is status 400."""


class NotRemote(BadRequest):
    """The bucket is AIStore's own: it has no copy elsewhere, so there is nothing to evict or to prefetch."""


class TokenRefused(AIStoreError, Unauthenticated):
    """No token, one that ran out or was revoked, or one without the right. AIStore has one status for all: 401."""


class AccessDenied(AIStoreError, PermissionDenied):
    """The bucket's access attributes, or the network that the request came by, forbid it."""


class RangeRefused(AIStoreError):
    """The object has no such bytes."""


class ChecksumMismatch(AIStoreError):
    """Bytes are not those that the checksum was made of: the target kept nothing, or what was read is not whole."""


class ObjectChanged(AIStoreError):
    """The object is another one than when its reading began: what was read so far does not go with the rest."""


class ListingIncomplete(AIStoreError):
    """The listing cannot be followed to its end. What was listed so far is true, and is not all."""


class ForeignRedirect(AIStoreError):
    """A gateway sends to a host that is not of the cluster map, or to another scheme. Nothing was sent there."""


class JobFailed(AIStoreError):
    """The job ended with an error; its text is the server's."""


class JobAborted(JobFailed):
    """The job was aborted, by somebody or by the cluster itself."""


class Busy(AIStoreError, TooManyRequests):
    """The cluster holds requests back. Nothing was applied."""


class Unavailable(AIStoreError, ServerUnavailable):
    """The node cannot serve now: it starts, the primary gateway changes, or a gateway could not reach another."""


class _Body(msgspec.Struct):
    message: str = ""
    status: int = 0
    tcode: str = ""


_body = msgspec.json.Decoder(_Body)

_BY_CODE: dict[str, type[AIStoreError]] = {
    "ErrBckNotFound": BucketNotFound,
    "ErrRemoteBckNotFound": BucketNotFound,
    "ErrBucketAlreadyExists": BucketExists,
    "ErrRangeNotSatisfiable": RangeRefused,
}

_BY_TEXT: tuple[tuple[re.Pattern[str], type[AIStoreError]], ...] = (
    (re.compile(r"mountpath\b.*(doesn't exist|does not exist)|non-existing mountpath"), MountpathNotFound),
    (re.compile(r"already registered mountpath|mountpath\b.*already (exists|added)"), MountpathExists),
    (re.compile(r"appears to be ais bucket|expecting (cloud|remote)"), NotRemote),
    (re.compile(r"BAD DATA CHECKSUM|bad data checksum"), ChecksumMismatch),
    (re.compile(r'bucket "?[a-z]+://[^ ]+ already exists'), BucketExists),
    (re.compile(r'(^|: )(cloud |remote )?bucket "?[a-z]+://[^ ]+ does not exist'), BucketNotFound),
    (re.compile(r"^xaction '.*' not found$"), JobNotFound),
    (re.compile(r"not present in the [Ss]map|^[Nn]ode '?[^ ]+'? does not exist"), NodeNotFound),
)

_BY_STATUS: dict[int, type[AIStoreError]] = {
    400: BadRequest,
    401: TokenRefused,
    403: AccessDenied,
    404: NotFound,
    409: BucketExists,
    416: RangeRefused,
    429: Busy,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}

_STALE = "token"
_STARTING = re.compile(r"start(ing|ed|up)\b", re.IGNORECASE)


def judge(response: Response) -> Verdict:
    """The fate of a request.

    A 503 without a body comes of a node that starts: it looked at nothing. A 502 is a gateway's that passed the request
    on to another and got no good answer, so that the other may have carried it out.
    """
    status = response.status
    if status == 401:
        # The same status means a missing right, which no other token of this user would bring.
        return Verdict.STALE_CREDENTIALS if _STALE in _read(response).message.lower() else Verdict.FINAL
    if status == 429:
        return Verdict.NOT_NOW
    if status == 503:
        message = _read(response).message
        return Verdict.NOT_NOW if not message or _STARTING.search(message) else Verdict.OPEN
    return Verdict.OPEN if status in {502, 504} else Verdict.FINAL


def raise_error(request: Request, response: Response, missing: type[AIStoreError] = NotFound) -> NoReturn:
    """Raise what an answer says.

    missing: What a 404 means where the answer does not tell: answers to HEAD have no body.
    """
    body = _read(response)
    kind = _BY_CODE.get(body.tcode) or next((kind for text, kind in _BY_TEXT if text.search(body.message)), None)
    if kind is None:
        kind = missing if response.status == 404 else _BY_STATUS.get(response.status, AIStoreError)
    # Nested answers carry a status of their own, which may be another: 404 inside 400.
    inner = body.status if body.status not in {0, response.status} else None
    text = body.message or f"HTTP {response.status} with no word why"
    raise kind(text, status=response.status, code=body.tcode or inner, peer=response.peer, operation=request.operation)


def _read(response: Response) -> _Body:
    """What the server wrote, in the body or, where an answer to HEAD can have none, in a header of today's server."""
    try:
        return _body.decode(response.body or response.headers.get("Hdr-Error", "").encode())
    except (msgspec.DecodeError, msgspec.ValidationError):
        # Plain text of Go's own server, such as `400 Bad Request`, or nothing at all.
        text = response.body[:500].decode("utf-8", "replace").strip()
        return _Body(message="" if text.startswith("<") else text)
