"""The keys API as requests and answers. Nothing here waits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec

from aetcd._wire.decode import decode, encode
from aetcd._wire.message import NO_HEADERS, Effect, Request, Response, Verdict
from aetcd.errors import DecodeError, Unsupported
from aetcd.etcd.v2._errors import judge, judge_admin, raise_keys_error
from aetcd.etcd.v2._models import KeysResponse, V2Node

__all__ = [
    "MAX_TTL",
    "Told",
    "admin_request",
    "decode_event",
    "decode_keys",
    "decode_told",
    "delete_request",
    "get_request",
    "header_index",
    "key_path",
    "post_request",
    "put_request",
    "refresh_request",
    "wait_request",
]

FORM = MappingProxyType({"Content-Type": "application/x-www-form-urlencoded"})
JSON = MappingProxyType({"Content-Type": "application/json"})

# Of an expiry that int64 nanoseconds cannot hold, in the year 2262, the server silently makes none (measured).
MAX_TTL = 7_000_000_000

MAX_INDEX = (1 << 64) - 1

# Go's mux answers these with a redirect to a cleaned path, percent-encoded or not: to another key, that is.
_CLEANED = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)")
_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*", re.ASCII).fullmatch

# What a reader of a form body takes for something else (`;` up to Go 1.16), and what would break a line of a trace.
# The rest needs no escape, and escaping the whole of a large value would hold up the event loop.
_FORM_SPECIALS = (
    (b"%", b"%25"),
    (b"&", b"%26"),
    (b"+", b"%2B"),
    (b";", b"%3B"),
    (b"\n", b"%0A"),
    (b"\r", b"%0D"),
    (b"\0", b"%00"),
)


def key_path(key: str) -> str:
    """The path under which a key is asked for.

    One leading slash may be there or not, and so may one at the end, since a server makes no difference; `` and `/`
    are the root. Raises ValueError for what would reach another key than the one written.
    """
    if not isinstance(key, str):
        raise TypeError(f"key must be text, not {key!r}")
    return _path_of(key)


@lru_cache(maxsize=4096)  # the same keys are asked for again and again
def _path_of(key: str) -> str:
    bare = key.removeprefix("/")
    if not bare:
        return "/v2/keys/"
    bare = bare.removesuffix("/")
    if _CLEANED.search(bare):
        raise ValueError(f"key: etcd v2 has no empty, `.` or `..` segment, as in {key!r}")
    if _PLAIN(bare):
        return f"/v2/keys/{bare}"
    if "\0" in bare:
        raise ValueError(f"key: no NUL may be in it, as in {key!r}")
    try:
        return f"/v2/keys/{quote(bare, safe='/~')}"
    except UnicodeEncodeError as e:
        raise ValueError(f"key: not text that UTF-8 can hold: {key!r}") from e


def get_request(key: str, *, recursive: bool = False, sort: bool = False, quorum: bool = False) -> Request:
    """Read a key or a directory."""
    return _read_at(key_path(key), recursive, sort, quorum)


@lru_cache(maxsize=4096)  # a value, and often the same one
def _read_at(path: str, recursive: bool, sort: bool, quorum: bool) -> Request:
    options = []
    if recursive:
        options.append("recursive=true")
    if sort:
        options.append("sorted=true")
    if quorum:
        options.append("quorum=true")
    return Request(operation="v2 get", method="GET", path=_with_query(path, options), effect=Effect.READ, judge=judge)


def wait_request(key: str, *, recursive: bool = False, wait_index: int | None = None, stream: bool = False) -> Request:
    """Wait for one change, or with `stream` for many on one connection."""
    options = ["wait=true"]
    if recursive:
        options.append("recursive=true")
    if stream:
        options.append("stream=true")
    if wait_index is not None:
        options.append(f"waitIndex={_index('wait_index', wait_index)}")
    return Request(
        operation="v2 wait", method="GET", path=_with_query(key_path(key), options), effect=Effect.READ, judge=judge
    )


def put_request(
    operation: str,
    key: str,
    value: str | bytes | None,
    *,
    directory: bool = False,
    ttl: int | None = None,
    previous_value: str | bytes | None = None,
    previous_index: int | None = None,
    previous_exist: bool | None = None,
    no_value_on_success: bool = False,
) -> Request:
    """Write a key with a value, or a directory without one."""
    fields = _content(value, directory=directory, ttl=ttl)
    compared = _comparison(previous_value, previous_index)
    if compared and directory:
        raise ValueError("dir: etcd v2 compares no directory with previous_value or previous_index")
    if compared and previous_exist is False:
        raise ValueError("previous_exist: with False the server would ignore previous_value and previous_index")
    fields += compared
    if previous_exist is not None:
        fields.append(b"prevExist=true" if previous_exist else b"prevExist=false")
    if no_value_on_success:
        fields.append(b"noValueOnSuccess=true")
    return _write(operation, "PUT", key, fields, Effect.ONCE)


def refresh_request(
    key: str,
    ttl: int,
    *,
    previous_value: str | bytes | None = None,
    previous_index: int | None = None,
    previous_exist: bool | None = True,
) -> Request:
    """Give a key a new TTL, its value as it was, without an event."""
    fields = [b"refresh=true", b"ttl=%d" % _seconds(ttl)]
    compared = _comparison(previous_value, previous_index)
    if previous_exist is False:
        raise ValueError("previous_exist: only a key that is there can be refreshed")
    fields += compared
    if previous_exist:
        fields.append(b"prevExist=true")
    # The index moves with each refresh, so that a repeated one by index would fail although the first was applied; and
    # one without any comparison makes the key anew each time.
    repeatable = previous_index is None and (previous_exist or previous_value is not None)
    return _write("v2 refresh", "PUT", key, fields, Effect.REPEATABLE if repeatable else Effect.ONCE)


def post_request(
    directory: str,
    value: str | bytes | None,
    *,
    as_directory: bool = False,
    ttl: int | None = None,
    no_value_on_success: bool = False,
) -> Request:
    """Create a node under a name that the server gives: the index, in 20 digits."""
    fields = _content(value, directory=as_directory, ttl=ttl)
    if no_value_on_success:
        fields.append(b"noValueOnSuccess=true")
    return _write("v2 create in order", "POST", directory, fields, Effect.ONCE)


def delete_request(
    operation: str,
    key: str,
    *,
    directory: bool = False,
    recursive: bool = False,
    previous_value: str | bytes | None = None,
    previous_index: int | None = None,
) -> Request:
    """Take away a key or a directory."""
    compared = _comparison(previous_value, previous_index)
    options = [quote(field, safe="=%") for field in compared]
    if directory:
        options.append("dir=true")
    if recursive:
        options.append("recursive=true")
    return Request(
        operation=operation, method="DELETE", path=_with_query(key_path(key), options), effect=Effect.ONCE, judge=judge
    )


def admin_request(
    operation: str,
    path: str,
    *,
    method: str = "GET",
    document: Mapping[str, Any] | None = None,
    judge: Callable[[Response], Verdict] = judge_admin,
) -> Request:
    """Ask about members, statistics or users, or change them by a JSON document."""
    return Request(
        operation=operation,
        method=method,
        path=path,
        effect=Effect.READ if method == "GET" else Effect.ONCE,
        body=None if document is None else encode(document),
        headers=NO_HEADERS if document is None else JSON,
        judge=judge,
        secret=document is not None and "password" in document,
    )


def _write(operation: str, method: str, key: str, fields: list[bytes], effect: Effect) -> Request:
    return Request(
        operation=operation,
        method=method,
        path=key_path(key),
        effect=effect,
        body=b"&".join(fields),
        headers=FORM,
        judge=judge,
    )


def _with_query(path: str, options: list[str]) -> str:
    return f"{path}?{'&'.join(options)}" if options else path


def _content(value: str | bytes | None, *, directory: bool, ttl: int | None) -> list[bytes]:
    if directory and value is not None:
        raise ValueError("value: a directory has none")
    if not directory and value is None:
        raise ValueError("value: needed, but for a directory (the empty text is one)")
    fields = [b"dir=true" if value is None else b"value=" + _form_text("value", value)]
    if ttl is not None:
        fields.append(b"ttl=%d" % _seconds(ttl))
    return fields


def _comparison(previous_value: str | bytes | None, previous_index: int | None) -> list[bytes]:
    fields = []
    if previous_value is not None:
        text = _form_text("previous_value", previous_value)
        if not text:
            raise ValueError("previous_value: etcd v2 cannot compare with an empty value; use previous_index")
        fields.append(b"prevValue=" + text)
    if previous_index is not None:
        fields.append(b"prevIndex=%d" % _index("previous_index", previous_index))
    return fields


def _form_text(name: str, value: str | bytes) -> bytes:
    if isinstance(value, str):
        try:
            text = value.encode()
        except UnicodeEncodeError as e:
            raise ValueError(f"{name}: not text that UTF-8 can hold ({e.reason})") from e
    elif isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError as e:
            raise Unsupported(f"{name}: etcd v2 stores text only, and these bytes are not UTF-8 ({e.reason})") from e
        text = value
    else:
        raise TypeError(f"{name} must be text, or bytes that are UTF-8, not {type(value).__name__}")
    for special, escaped in _FORM_SPECIALS:
        text = text.replace(special, escaped)
    return text


def _seconds(ttl: int) -> int:
    if isinstance(ttl, bool) or not isinstance(ttl, int):
        raise TypeError(f"ttl must be whole seconds, not {ttl!r}")
    if not 1 <= ttl <= MAX_TTL:
        raise ValueError(f"ttl must be from 1 to {MAX_TTL} seconds, not {ttl}")
    return ttl


def _index(name: str, index: int) -> int:
    """An index that is one: of 0 the server makes no comparison at all."""
    if isinstance(index, bool) or not isinstance(index, int):
        raise TypeError(f"{name} must be an index, not {index!r}")
    if not 1 <= index <= MAX_INDEX:
        raise ValueError(f"{name} must be from 1 to {MAX_INDEX}, not {index}")
    return index


class Told(msgspec.Struct, frozen=True, rename={"prev_node": "prevNode"}):
    """The body of an answer of the keys API."""

    action: str
    node: V2Node | None = None
    prev_node: V2Node | None = None


def decode_told(request: Request, response: Response) -> Told:
    """The body of a good answer. Raises the error that any other stands for: of `aetcd.errors`, or DecodeError."""
    if response.status not in {200, 201}:
        raise_keys_error(request, response)
    return decode(response.body, Told)


def decode_keys(request: Request, response: Response) -> KeysResponse:
    """The whole answer. Raises as `decode_told`."""
    told, headers = decode_told(request, response), response.headers
    return KeysResponse(
        action=told.action,
        node=told.node,
        prev_node=told.prev_node,
        index=header_index(response),
        raft_index=header_index(response, "X-Raft-Index"),
        raft_term=header_index(response, "X-Raft-Term"),
        cluster_id=headers.get("X-Etcd-Cluster-Id", ""),
    )


def header_index(response: Response, name: str = "X-Etcd-Index") -> int:
    """A number among the headers; 0 where it is not told. Raises DecodeError."""
    told = response.headers.get(name, "0")
    try:
        return int(told)
    except ValueError as e:
        raise DecodeError(f"{name} of {response.peer} is no number: {told!r}") from e


def decode_event(body: bytes, *, index: int = 0, cluster_id: str = "") -> KeysResponse:
    """One change of a stream, with what the headers of the whole stream said."""
    told = decode(body, Told)
    return KeysResponse(
        action=told.action, node=told.node, prev_node=told.prev_node, index=index, cluster_id=cluster_id
    )
