"""The API as requests and answers. Nothing here waits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec

from aetcd._wire.decode import encode
from aetcd._wire.message import NO_HEADERS, Effect, Request, Response
from aetcd.errors import DecodeError, Unsupported
from aetcd.nginx._errors import NotTheAPI, judge, judge_write, raise_error

__all__ = [
    "KNOWN",
    "SINCE",
    "api_path",
    "check_fields",
    "check_name",
    "check_server_id",
    "check_since",
    "read_names",
    "read_request",
    "read_versions",
    "reset_request",
    "result",
    "versions_request",
    "write_request",
]

KNOWN = range(1, 10)
"""The versions of the API that this package speaks."""

SINCE: Mapping[str, int] = MappingProxyType(
    {
        "stream/keyvals": 2,
        "stream/zone_sync": 3,
        "http/location_zones": 5,
        "resolvers": 5,
        "expire": 5,
        "http/limit_conns": 6,
        "http/limit_reqs": 6,
        "stream/limit_conns": 6,
        "workers": 9,
        "license": 9,
    }
)
"""What is not there from version 1 on, and the version that brought it."""

JSON = MappingProxyType({"Content-Type": "application/json"})

_FIELD = re.compile(r"[A-Za-z0-9_]+")


def versions_request(slash: str) -> Request:
    """Ask at the location's own path, with a slash at its end or without one, which versions are served."""
    return Request(operation="nginx versions", method="GET", path=slash, effect=Effect.READ, judge=judge)


def api_path(version: int, *segments: str) -> str:
    """A path of the API. Segments are encoded whole; an empty last one is the slash at the end."""
    return "/".join([f"/{version}", *(quote(segment, safe="") for segment in segments)])


def read_request(operation: str, path: str, fields: Iterable[str] | None = None, key: str | None = None) -> Request:
    """Ask for an object, a collection, or with empty `fields` for the names in it."""
    if fields is not None:
        path += f"?fields={','.join(fields)}"
    elif key is not None:
        path += f"?key={quote(key, safe='')}"
    return Request(operation=operation, method="GET", path=path, effect=Effect.READ, judge=judge)


def reset_request(operation: str, path: str) -> Request:
    """Clear counters. Cleared twice they are as cleared once, so that it may be sent again."""
    return Request(operation=operation, method="DELETE", path=path, effect=Effect.REPEATABLE, judge=judge_write)


def write_request(operation: str, method: str, path: str, document: Mapping[str, Any] | None = None) -> Request:
    """Change the configuration.

    Each such request is ONCE: a PATCH that was delayed and is sent again may undo what others wrote in between.
    """
    return Request(
        operation=operation,
        method=method,
        path=path,
        effect=Effect.ONCE,
        body=None if document is None else encode(document),
        headers=NO_HEADERS if document is None else JSON,
        judge=judge_write,
    )


def result(request: Request, response: Response) -> Any:
    """The JSON of an answer; None of one without a body. Raises the error that it stands for."""
    if not 200 <= response.status < 300:
        raise_error(request, response)
    if not response.body:
        return None
    try:
        return msgspec.json.decode(response.body)
    except msgspec.DecodeError:
        raise_error(request, response)


def read_versions(request: Request, response: Response) -> list[int]:
    """The versions that a server serves. Raises NotTheAPI for a list of anything else."""
    served = result(request, response)
    if not isinstance(served, list) or not all(type(version) is int for version in served):
        raise NotTheAPI(
            f"no list of versions (the URL is that of the location, without a version): {response.body[:80]!r}",
            status=response.status,
            peer=response.peer,
            operation=request.operation,
        )
    return served


def read_names(request: Request, value: Any) -> list[str]:
    """An array of names. Raises DecodeError."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DecodeError(f"{request.operation}: the answer does not read as a list of names: {value!r:.80}")
    return value


def check_since(feature: str, version: int) -> None:
    """Raises Unsupported where the version lacks it."""
    if version < SINCE.get(feature, 0):
        raise Unsupported(f"nginx {feature} came with version {SINCE[feature]} of the API; version {version} is spoken")


def check_name(name: str, argument: str = "name") -> str:
    """A zone's or an upstream's name.

    Raises ValueError for one that no server could be asked for: nginx takes `.` and `..` out of a path.
    """
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be text, not {name!r}")
    if name in {"", ".", ".."} or "\0" in name:
        raise ValueError(f"{argument} can be no name in a path: {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError as e:
        raise ValueError(f"{argument} is not text that UTF-8 can hold: {name!r}") from e
    return name


def check_fields(fields: Iterable[str] | None) -> tuple[str, ...] | None:
    """Names of members, at least one. Raises TypeError and ValueError."""
    if fields is None:
        return None
    if isinstance(fields, str):
        raise TypeError(f"fields must be several names, not the one text {fields!r}")
    checked = tuple(fields)
    for name in checked:
        if not isinstance(name, str):
            raise TypeError(f"fields must hold names, not {name!r}")
        if not _FIELD.fullmatch(name):
            raise ValueError(f"fields: {name!r} is no name of a member")
    if not checked:
        raise ValueError("fields: at least one name is needed; names() lists a collection")
    return checked


def check_server_id(id: int) -> int:
    """An ID as nginx gives them. Raises TypeError and ValueError."""
    if isinstance(id, bool) or not isinstance(id, int):
        raise TypeError(f"id must be a whole number, not {id!r}")
    if id < 0:
        raise ValueError(f"id must be at least 0, not {id}")
    return id
