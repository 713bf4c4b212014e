"""Requests to etcd's JSON gateway, and the reading of its answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from aetcd._wire.decode import encode
from aetcd._wire.message import Effect, Request, Response
from aetcd.errors import Unsupported
from aetcd.etcd.v3._arguments import flag
from aetcd.etcd.v3._errors import error_of, fault_of, judge

__all__ = [
    "EVERYTHING",
    "Key",
    "Route",
    "Wire",
    "bytes_of",
    "gateway_prefix",
    "key_range",
    "positive",
    "prefix_end",
    "whole",
]

Key = str | bytes
"""A key: text is sent as UTF-8, bytes as they are."""

Wire = dict[str, Any]
"""A message of the gateway before it is written as JSON: bytes become base64."""

EVERYTHING = b"\0"
"""The `range_end` of "every key from here"; as `key` with it, the first of all keys."""

_JSON: Mapping[str, str] = {"Content-Type": "application/json"}
_INT64 = 1 << 63


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the gateway.

    operation: Its name in errors and traces.
    path: Below the prefix.
    effect: What sending it twice does.
    needs: The first etcd version that has it; None for those that every v3 server has.
    old_path: Where it stands below `/v3beta` and `/v3alpha`, if elsewhere.
    secret: Its body holds credentials.
    guarded: Its answers begin with a header that tells where the key space is.
    """

    operation: str
    path: str
    effect: Effect
    needs: str | None = None
    old_path: str | None = None
    secret: bool = False
    guarded: bool = False

    def request(self, prefix: str, body: bytes, *, effect: Effect | None = None) -> Request:
        """The request, for a gateway below `prefix`. `effect` is for the one whose contents decide it."""
        path = self.path if prefix == "/v3" or self.old_path is None else self.old_path
        return Request(
            operation=self.operation,
            method="POST",
            path=prefix + path,
            effect=effect or self.effect,
            body=body,
            headers=_JSON,
            judge=judge,
            secret=self.secret,
        )

    def check(self, response: Response) -> bytes:
        """The body of an answer; a refusal is raised as what it means."""
        if response.status == 200:
            return response.body
        fault = fault_of(response.body, response.status)
        raise error_of(fault, operation=self.operation, peer=response.peer, needs=self.needs)


def gateway_prefix(version: str) -> str:
    """Below which path a server of this version has its gateway.

    Raises Unsupported for one that speaks no v3.
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found or int(found[1]) < 3:
        raise Unsupported(f"a server of version {version!r} has no v3 gateway")
    release = (int(found[1]), int(found[2]))
    if release >= (3, 4):
        return "/v3"
    return "/v3beta" if release == (3, 3) else "/v3alpha"


# Bodies


def prefix_end(prefix: bytes) -> bytes:
    r"""The first key behind all that begin with `prefix`: the `range_end` that reads them.

    Where there is none (the prefix is empty or only `\xff`) it is `\0`, which etcd takes for "every key from here".
    """
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes((head[-1] + 1,)) if head else EVERYTHING


def bytes_of(given: Key, argument: str) -> bytes:
    """Text as UTF-8, bytes as they are. Raises TypeError for anything else, ValueError for a lone surrogate."""
    if isinstance(given, bytes):
        return given
    if isinstance(given, str):
        try:
            return given.encode()
        except UnicodeEncodeError as e:
            raise ValueError(f"{argument} must be text that UTF-8 can hold: {e}") from None
    raise TypeError(f"{argument} must be str or bytes, not {type(given).__name__}")


def key_range(key: Key, range_end: Key | None, prefix: bool, from_key: bool) -> tuple[bytes, bytes]:
    """The first key, and the one behind the last: empty for the one key only.

    With `prefix` or `from_key` an empty key means the whole key space; alone it raises ValueError, as do two of
    `range_end`, `prefix` and `from_key` together. Raises TypeError for what is no key, or no bool.
    """
    first = bytes_of(key, "key")
    if range_end is None and prefix is False and from_key is False:
        if not first:
            raise ValueError("key must not be empty")
        return first, b""
    if (range_end is not None) + flag(prefix, "prefix") + flag(from_key, "from_key") > 1:
        raise ValueError("only one of range_end, prefix and from_key may be given")
    if range_end is not None:
        end = bytes_of(range_end, "range_end")
        if not first:
            raise ValueError("key must not be empty with range_end")
        if not end:
            raise ValueError("range_end must not be empty")
        return first, end
    return first or EVERYTHING, prefix_end(first) if prefix else EVERYTHING


def whole(number: int, argument: str) -> int:
    """A whole number of 0 to 2**63 - 1. Raises TypeError for what is no int (a bool is none), ValueError beyond."""
    if type(number) is not int:
        raise TypeError(f"{argument} must be a whole number, not {number!r}")
    if not 0 <= number < _INT64:
        raise ValueError(f"{argument} must be from 0 to 2**63 - 1, not {number}")
    return number


def positive(number: int, argument: str) -> int:
    """As `whole`, and at least 1."""
    if whole(number, argument) == 0:
        raise ValueError(f"{argument} must be at least 1")
    return number


def body_of(message: Wire) -> bytes:
    """Write a message as JSON."""
    return encode(message)
