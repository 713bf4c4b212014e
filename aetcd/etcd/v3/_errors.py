"""What etcd's refusals mean: the class of the error, and whether the request may have been applied all the same.

The gateway writes the text of etcd's own error (`api/v3rpc/rpctypes/error.go`) in one of four shapes:

    {"error": text, "message": text, "code": grpc code}               a call, up to 3.5
    {"code": grpc code, "message": text, "details": [...]}            a call, from 3.6
    {"error": {"grpc_code", "http_code", "message", "http_status"}}   within a stream, up to 3.5
    {"error": {"code", "message"}}                                    within a stream, from 3.6

The text decides, for servers differ in code and status (3.4 answers 412 where 3.5 answers 400); then the gRPC code;
then the HTTP status, for what a proxy or Go's own HTTP server wrote.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aetcd._wire.message import Response, Verdict
from aetcd.errors import (
    AetcdError,
    AuthFailed,
    ClusterRefused,
    CompareFailed,
    InvalidRequest,
    KeyNotFound,
    LeaseExists,
    LeaseNotFound,
    MemberExists,
    MemberNotFound,
    NoLeader,
    PermissionDenied,
    QuotaExceeded,
    RequestTooLarge,
    RevisionCompacted,
    RevisionInFuture,
    ServerError,
    ServerUnavailable,
    TooManyRequests,
    Unauthenticated,
    Unsupported,
)

__all__ = ["Fault", "error_of", "fault_of", "judge"]

_Meaning = tuple[type[ServerError], Verdict]

FINAL, NOT_NOW, OPEN, STALE = Verdict.FINAL, Verdict.NOT_NOW, Verdict.OPEN, Verdict.STALE_CREDENTIALS

# Without the `etcdserver: ` that stands before each, or the `auth: ` that the maintenance calls leave as it was.
MEANINGS: dict[str, _Meaning] = {
    "key is not provided": (InvalidRequest, FINAL),
    "key not found": (KeyNotFound, FINAL),
    "value is provided": (InvalidRequest, FINAL),
    "lease is provided": (InvalidRequest, FINAL),
    "ttl is 0": (InvalidRequest, FINAL),
    "too many operations in txn request": (RequestTooLarge, FINAL),
    "duplicate key given in txn request": (InvalidRequest, FINAL),
    "invalid client api version": (InvalidRequest, FINAL),
    "invalid sort option": (InvalidRequest, FINAL),
    "mvcc: required revision has been compacted": (RevisionCompacted, FINAL),
    "mvcc: required revision is a future revision": (RevisionInFuture, FINAL),
    "mvcc: database space exceeded": (QuotaExceeded, FINAL),
    "request is too large": (RequestTooLarge, FINAL),
    # The member has fallen behind in applying its log: it refuses before it proposes.
    "too many requests": (TooManyRequests, NOT_NOW),
    "requested lease not found": (LeaseNotFound, FINAL),
    "lease already exists": (LeaseExists, FINAL),
    "too large lease TTL": (InvalidRequest, FINAL),
    "watch canceled": (ServerUnavailable, OPEN),
    "member ID already exist": (MemberExists, FINAL),
    "Peer URLs already exists": (MemberExists, FINAL),
    "given member URLs are invalid": (InvalidRequest, FINAL),
    "member not found": (MemberNotFound, FINAL),
    "re-configuration failed due to not enough started members": (ClusterRefused, FINAL),
    "can only promote a learner member": (ClusterRefused, FINAL),
    "can only promote a learner member which is in sync with leader": (ClusterRefused, FINAL),
    "too many learner members in cluster": (ClusterRefused, FINAL),
    "cluster ID mismatch": (ClusterRefused, FINAL),
    # The answer to a change of membership, checked before it is proposed: another peer would only say the same.
    "unhealthy cluster": (ClusterRefused, FINAL),
    "bad leader transferee": (ClusterRefused, FINAL),
    # Only a move of leadership is refused so; everything else is passed on to the leader.
    "not leader": (ClusterRefused, FINAL),
    "wrong downgrade target version format": (InvalidRequest, FINAL),
    "invalid downgrade target version": (InvalidRequest, FINAL),
    "cluster version not found during downgrade": (ClusterRefused, FINAL),
    "cluster has a downgrade job in progress": (ClusterRefused, FINAL),
    "no inflight downgrade job": (ClusterRefused, FINAL),
    "root user does not exist": (AuthFailed, FINAL),
    "root user does not have root role": (AuthFailed, FINAL),
    "user name already exists": (AuthFailed, FINAL),
    "user name not found": (AuthFailed, FINAL),
    "role name already exists": (AuthFailed, FINAL),
    "role name not found": (AuthFailed, FINAL),
    "role name is empty": (AuthFailed, FINAL),
    "role is not granted to the user": (AuthFailed, FINAL),
    "permission not given": (AuthFailed, FINAL),
    "permission is not granted to the role": (AuthFailed, FINAL),
    "authentication is not enabled": (AuthFailed, FINAL),
    "invalid auth management": (AuthFailed, FINAL),
    # Wrong from the start: fetching another token with the same password would fail in the same way.
    "authentication failed, invalid user ID or password": (Unauthenticated, FINAL),
    "permission denied": (PermissionDenied, FINAL),
    # Tokens live five minutes, and a restarted member has forgotten those it gave.
    "invalid auth token": (Unauthenticated, STALE),
    # What a call without any token gets, so also when authentication was turned on under a running client.
    "user name is empty": (Unauthenticated, STALE),
    "revision of auth store is old": (Unauthenticated, STALE),
    "revision in header is old": (Unauthenticated, STALE),  # the same: 3.5.1 says it to every call
    # Checked on arrival, before anything is proposed.
    "no leader": (NoLeader, NOT_NOW),
    "not capable": (ServerUnavailable, NOT_NOW),
    "rpc not supported for learner": (ServerUnavailable, NOT_NOW),
    "raft proposal dropped": (ServerUnavailable, NOT_NOW),
    # A corrupt member applies nothing more, so its answer is about the request and not about its fate.
    "corrupt cluster": (ServerUnavailable, FINAL),
    "leader changed": (ServerUnavailable, OPEN),
    "server stopped": (ServerUnavailable, OPEN),
    "request timed out": (ServerUnavailable, OPEN),
    "request timed out, possibly due to previous leader failure": (ServerUnavailable, OPEN),
    "request timed out, possibly due to connection lost": (ServerUnavailable, OPEN),
    "request timed out, waiting for the applied index took too long": (ServerUnavailable, OPEN),
    # A member without a leader says this of a write too: it cannot tell if the proposal got away.
    "context deadline exceeded": (ServerUnavailable, OPEN),
    "context canceled": (ServerUnavailable, OPEN),
    "request canceled": (ServerUnavailable, OPEN),
    # What the server's own lock and election say, all with code 2.
    "election: no leader": (KeyNotFound, FINAL),
    "election: not leader": (CompareFailed, FINAL),
    "mutex: session is expired": (LeaseNotFound, FINAL),
}

# Texts with facts in them. The gateway reaches its own server by a connection of its own, which may break.
_FRAGMENTS: tuple[tuple[str, _Meaning], ...] = (
    ("larger than max", (RequestTooLarge, FINAL)),
    ("transport is closing", (ServerUnavailable, OPEN)),
    ("connection refused", (ServerUnavailable, OPEN)),
    ("connection error", (ServerUnavailable, OPEN)),
    ("connection reset", (ServerUnavailable, OPEN)),
    ("error while dialing", (ServerUnavailable, OPEN)),
    ("SubConns are in TransientFailure", (ServerUnavailable, OPEN)),
    ("client disconnected", (ServerUnavailable, OPEN)),
    ("stream terminated", (ServerUnavailable, OPEN)),
    ("request timed out", (ServerUnavailable, OPEN)),
    ("deadline exceeded", (ServerUnavailable, OPEN)),
)

# An unknown text under a code that tells of the request itself is final; under any other its fate is open.
_BY_CODE: dict[int, _Meaning] = {
    1: (ServerUnavailable, OPEN),
    2: (ServerError, OPEN),
    3: (InvalidRequest, FINAL),
    4: (ServerUnavailable, OPEN),
    5: (ServerError, FINAL),
    6: (ServerError, FINAL),
    7: (PermissionDenied, FINAL),
    8: (TooManyRequests, OPEN),
    9: (InvalidRequest, FINAL),
    10: (ServerError, OPEN),
    11: (InvalidRequest, FINAL),
    12: (ServerError, FINAL),
    13: (ServerError, OPEN),
    14: (ServerUnavailable, OPEN),
    15: (ServerError, OPEN),
    16: (Unauthenticated, FINAL),
}

_BY_STATUS: dict[int, _Meaning] = {
    400: (InvalidRequest, FINAL),
    401: (Unauthenticated, FINAL),
    403: (PermissionDenied, FINAL),
    408: (ServerUnavailable, OPEN),
    413: (RequestTooLarge, FINAL),
    # Etcd never writes this without a code: a proxy in front of it turned the request away.
    429: (TooManyRequests, NOT_NOW),
    501: (ServerError, FINAL),
    502: (ServerUnavailable, OPEN),
    503: (ServerUnavailable, OPEN),
    504: (ServerUnavailable, OPEN),
}

_UNIMPLEMENTED = 12


class Fault(msgspec.Struct, frozen=True):
    """A refusal as the server wrote it.

    code: gRPC code; None where the text is not etcd's but a proxy's or Go's HTTP server's.
    """

    status: int
    code: int | None
    text: str

    @property
    def meaning(self) -> _Meaning:
        """The class of the error, and the verdict on the request."""
        text = self.text.removeprefix("etcdserver: ").removeprefix("auth: ")
        known = MEANINGS.get(text)
        if known is None and self.code is not None:
            known = next((meaning for fragment, meaning in _FRAGMENTS if fragment in text), _BY_CODE.get(self.code))
        if known is None:
            known = _BY_STATUS.get(self.status)
        return known or (ServerError, OPEN if self.status >= 500 or self.status < 300 else FINAL)

    @property
    def unknown_route(self) -> bool:
        """The server has no such operation. Its own "not found" (a lease, a member) is a 404 too, but has a code."""
        return self.code == _UNIMPLEMENTED or (self.code is None and self.status in {404, 405, 501})


def fault_of(body: bytes, status: int) -> Fault:
    """Read a refusal in whichever shape it came."""
    try:
        told: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        told = None
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        told = told["error"]
        status = _number(told.get("http_code")) or status
    if not isinstance(told, dict):
        return Fault(status, None, body.decode(errors="replace").strip())
    text = told.get("message") or told.get("error") or ""
    return Fault(status, _number(told.get("code", told.get("grpc_code"))), str(text))


def _number(told: object) -> int | None:
    return told if isinstance(told, int) else None


def judge(response: Response) -> Verdict:
    """What an answer of the v3 gateway says of the request's fate. In doubt, that it is open."""
    if response.status == 200:
        return FINAL
    return fault_of(response.body, response.status).meaning[1]


def error_of(fault: Fault, *, operation: str, peer: str | None = None, needs: str | None = None) -> AetcdError:
    """The error that a refusal is to the caller, `Unsupported` where the server has no such route.

    needs: The first etcd version with the route, where that is known.
    """
    if fault.unknown_route:
        wanted = f": it needs etcd {needs} or later" if needs else ""
        at = f" at {peer}" if peer else ""
        return Unsupported(f"{operation}{at} is unknown to this server{wanted} (HTTP {fault.status}, {fault.text!r})")
    kind = fault.meaning[0]
    return kind(fault.text, status=fault.status, code=fault.code, peer=peer, operation=operation)
