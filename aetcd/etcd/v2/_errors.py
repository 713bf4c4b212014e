"""The errors of a v2 server: what they mean, and what they say of a request's fate."""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from aetcd._wire.message import Request, Response, Verdict
from aetcd.errors import (
    AuthFailed,
    ClusterRefused,
    CompareFailed,
    DirectoryNotEmpty,
    HistoryLost,
    InvalidRequest,
    KeyExists,
    KeyNotFound,
    MemberExists,
    MemberNotFound,
    NoLeader,
    NotADirectory,
    NotAFile,
    PermissionDenied,
    RequestTooLarge,
    RootReadOnly,
    ServerError,
    ServerUnavailable,
    TooManyRequests,
    Unauthenticated,
    Unsupported,
)

__all__ = ["CODES", "judge", "judge_admin", "judge_health", "raise_admin_error", "raise_auth_error", "raise_keys_error"]


class CredentialsRefused(Unauthenticated, PermissionDenied):
    """The server wants other credentials.

    A v2 server gives one and the same answer to none, to wrong ones and to those of a user without the right.
    """


CODES: dict[int, type[ServerError]] = {
    100: KeyNotFound,
    101: CompareFailed,
    102: NotAFile,
    103: ClusterRefused,  # no more peers may join
    104: NotADirectory,
    105: KeyExists,
    106: InvalidRequest,  # the key is reserved
    107: RootReadOnly,
    108: DirectoryNotEmpty,
    109: MemberExists,
    110: CredentialsRefused,
    200: InvalidRequest,
    201: InvalidRequest,
    202: InvalidRequest,
    203: InvalidRequest,
    204: InvalidRequest,
    205: InvalidRequest,
    206: InvalidRequest,
    207: InvalidRequest,
    208: InvalidRequest,
    209: InvalidRequest,
    210: InvalidRequest,
    211: InvalidRequest,
    212: InvalidRequest,
    300: ServerUnavailable,
    301: NoLeader,
    402: ServerUnavailable,  # a standby
    403: InvalidRequest,
    404: InvalidRequest,
}
"""The server's codes. 400 and 401 are not here, since they end a watch and raise HistoryLost."""

_CLEARED = {400, 401}
_RAFT_INTERNAL = 300

# etcd 3.5 answers so to every update of a directory, also of its TTL, and applies nothing: etcd issue 13589.
_DIRECTORY_UPDATE = "nodePath "
_TOO_MANY_REQUESTS = "etcdserver: too many requests"


class _KeysError(msgspec.Struct, rename={"code": "errorCode"}):
    code: int
    message: str = ""
    cause: str = ""


class _Message(msgspec.Struct):
    message: str


_keys_error = msgspec.json.Decoder(_KeysError)
_message = msgspec.json.Decoder(_Message)


def judge(response: Response) -> Verdict:
    """The fate of a request to the keys API."""
    if response.status < 500:
        return Verdict.FINAL
    error = _read(response)
    if error is None or error.code != _RAFT_INTERNAL:
        return Verdict.OPEN
    if error.cause.startswith(_DIRECTORY_UPDATE):
        return Verdict.FINAL
    return Verdict.NOT_NOW if error.cause == _TOO_MANY_REQUESTS else Verdict.OPEN


def judge_admin(response: Response) -> Verdict:
    """The fate of a request about members or users: these travel through raft too, and time out with a bare 500."""
    return Verdict.FINAL if response.status < 500 else Verdict.OPEN


def judge_health(response: Response) -> Verdict:
    """A peer that says it is not well has answered the question."""
    return Verdict.FINAL


def raise_keys_error(request: Request, response: Response) -> NoReturn:
    """The error that an answer of the keys API stands for."""
    error = _read(response)
    if error is None:
        _raise_foreign(request, response)
    text = f"{error.message}: {error.cause}" if error.cause else error.message
    if error.code in _CLEARED:
        oldest = re.search(r"\[(\d+)/\d+\]", error.cause)
        raise HistoryLost(
            f"{request.operation} at {response.peer}: {text} (code {error.code})",
            first_available=int(oldest[1]) if oldest else None,
        )
    kind = CODES.get(error.code, ServerError)
    if error.code == _RAFT_INTERNAL and error.cause.startswith(_DIRECTORY_UPDATE):
        kind, text = NotAFile, f"{text}; etcd 3.5 cannot change the TTL of a directory that is there"
    elif error.code == _RAFT_INTERNAL and error.cause == _TOO_MANY_REQUESTS:
        kind = TooManyRequests
    _raise(kind, text, request, response, code=error.code)


def raise_admin_error(request: Request, response: Response) -> NoReturn:
    """The error that an answer about members, statistics or versions stands for."""
    text = _text(response)
    if text is None:
        _raise_foreign(request, response)
    kinds: dict[int, type[ServerError]] = {
        400: InvalidRequest,
        401: CredentialsRefused,
        403: ServerUnavailable,  # only the leader tells the leader's statistics
        404: MemberNotFound,
        409: MemberExists,
        410: MemberNotFound,
        503: NoLeader,
    }
    _raise(kinds.get(response.status, _by_status(response.status)), text, request, response)


def raise_auth_error(request: Request, response: Response) -> NoReturn:
    """The error that an answer about users and roles stands for."""
    text = _text(response)
    if text is None:
        _raise_foreign(request, response)
    if response.status == 401:
        _raise(CredentialsRefused, text, request, response)
    _raise(AuthFailed if response.status < 500 else _by_status(response.status), text, request, response)


def _raise(
    kind: type[ServerError], text: str, request: Request, response: Response, *, code: int | None = None
) -> NoReturn:
    raise kind(text, status=response.status, code=code, peer=response.peer, operation=request.operation)


def _raise_foreign(request: Request, response: Response) -> NoReturn:
    """An answer that is not of the API at all: of a server without v2, or of a proxy."""
    text = response.body[:200].decode(errors="replace").strip()
    if response.status == 404 and request.path.startswith("/v2/"):
        raise Unsupported(
            f"{request.operation}: {response.peer} does not serve etcd v2, which 3.4 and 3.5 do with --enable-v2 only, "
            f"and later versions not at all ({text})"
        )
    _raise(_by_status(response.status), text or "an empty answer", request, response)


def _by_status(status: int) -> type[ServerError]:
    if status == 401:
        return CredentialsRefused
    if status == 403:
        return PermissionDenied
    if status == 429:
        return TooManyRequests
    if status == 413:
        return RequestTooLarge
    if status in {400, 405, 414, 431}:
        return InvalidRequest
    return ServerUnavailable if status >= 500 else ServerError


def _read(response: Response) -> _KeysError | None:
    try:
        return _keys_error.decode(response.body)
    except msgspec.DecodeError:
        return None


def _text(response: Response) -> str | None:
    """The server's words, from either shape of its errors."""
    error = _read(response)
    if error is not None:
        return f"{error.message}: {error.cause}" if error.cause else error.message
    try:
        return _message.decode(response.body).message
    except msgspec.DecodeError:
        return None
