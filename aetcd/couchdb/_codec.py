"""Requests and answers of CouchDB as values. Nothing here waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
import msgspec
from attrs import NOTHING, frozen

from aetcd._wire.decode import encode
from aetcd._wire.message import Effect, Request, Response
from aetcd.couchdb._errors import judge
from aetcd.couchdb._times import read_time
from aetcd.errors import DecodeError

__all__ = ["decode", "etag_of", "instant", "make", "read", "renamed", "to_json", "with_query"]

T = TypeVar("T")

# Without it some answers come as text/plain; and `text/html` would turn a 401 into a redirect to a login page.
ACCEPT = MappingProxyType({"Accept": "application/json"})
JSON = MappingProxyType({"Accept": "application/json", "Content-Type": "application/json"})

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/,:@()")


def _escaped(text: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode())


def to_json(value: object, argument: str) -> bytes:
    """Raises TypeError, naming the argument, for what JSON cannot say."""
    try:
        return encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as e:
        raise TypeError(f"{argument} of type {type(value).__name__} cannot be written as JSON: {e}") from e


def with_query(path: str, query: Mapping[str, object] | None) -> str:
    """Options behind a path: None is left out, text goes as it is, anything else as JSON."""
    shown = [
        f"{name}={_escaped(value if isinstance(value, str) else to_json(value, name).decode())}"
        for name, value in (query or {}).items()
        if value is not None
    ]
    return f"{path}?{'&'.join(shown)}" if shown else path


def make(
    operation: str,
    method: str,
    path: str,
    *,
    query: Mapping[str, object] | None = None,
    document: object = None,
    body: bytes | None = None,
    effect: Effect | None = None,
    headers: Mapping[str, str] | None = None,
    secret: bool = False,
    judge: Callable[[Response], Any] = judge,
) -> Request:
    """A request. GET and HEAD read; anything else is sent once only, unless `effect` says more.

    document: What is sent as JSON; `body` is JSON already.
    """
    if document is not None:
        body = to_json(document, "document")
    sent = dict(ACCEPT if body is None else JSON)
    if headers:
        sent.update(headers)
    if effect is None:
        effect = Effect.READ if method in {"GET", "HEAD"} else Effect.ONCE
    return Request(
        operation=operation,
        method=method,
        path=with_query(path, query),
        effect=effect,
        body=body,
        headers=sent,
        judge=judge,
        secret=secret,
    )


def decode(request: Request, response: Response, kind: Any = None) -> Any:
    """An answer's JSON, as plain values or as `kind`, whatever its Content-Type says.

    Raises DecodeError.
    """
    try:
        return msgspec.json.decode(response.body) if kind is None else msgspec.json.decode(response.body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        text = f"{request.operation} at {response.peer}: the answer does not read: {e}: {response.body[:80]!r}"
        raise DecodeError(text) from e


def etag_of(response: Response) -> str | None:
    """The answer's ETag without its quotes. (The server writes the name in two ways; names have no case.)"""
    etag = response.headers.get("ETag")
    return None if etag is None else etag.removeprefix("W/").strip('"')


# Models: attrs classes whose fields say how the wire differs.


def renamed(*names: str) -> dict[str, Any]:
    """The metadata of a field that has another name on the wire, or one of several."""
    return {"names": names}


def instant(*names: str) -> dict[str, Any]:
    """The metadata of a field that is a time, in whatever form it comes."""
    return {"names": names, "time": True}


@frozen
class _Field:
    name: str
    names: tuple[str, ...]
    is_time: bool
    has_default: bool


@cache
def _fields(kind: type) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            one.name,
            one.metadata.get("names") or (one.name,),
            bool(one.metadata.get("time")),
            one.default is not NOTHING,
        )
        for one in attrs.fields(kind)
        if one.init
    )


def read(kind: type[T], raw: Mapping[str, Any], **known: Any) -> T:
    """A model from what came: names and times brought into form, and what it has no field for kept in `extra`.

    Null is the default of a field that has one. known: Fields whose values are settled.

    Raises DecodeError.
    """
    values: dict[str, Any] = dict(known)
    used: set[str] = set()
    keeps_extra = False
    try:
        for one in _fields(kind):  # type: ignore[arg-type]  # a class is hashable
            if one.name == "extra":
                keeps_extra = True
                continue
            used.update(one.names)
            if one.name in known:
                continue
            found = next((raw[name] for name in one.names if raw.get(name) is not None), None)
            if one.is_time:
                values[one.name] = read_time(found)
            elif found is not None or not one.has_default:
                values[one.name] = found
        if keeps_extra:
            values["extra"] = {name: value for name, value in raw.items() if name not in used}
        return msgspec.convert(values, kind, strict=False)
    except (msgspec.ValidationError, ValueError, AttributeError) as e:
        raise DecodeError(f"the answer does not read as {kind.__name__}: {e}: {str(raw)[:120]}") from e
