"""Servers of an upstream as they are configured, and how their parameters travel in each version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from aetcd.nginx._reading import NOT_ASKED, Model, wire

__all__ = ["HTTPServer", "Seconds", "Server", "StreamServer", "body_of", "read_seconds"]

Seconds = int | str
"""Whole seconds, or nginx's own text such as `30s` or `1m 30s`."""

_UNITS = {"y": 31_536_000, "M": 2_592_000, "w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1, "": 1}
_TIME = re.compile(r"\s*(?:\d+\s*(?:[yMwdhms]|(?=\s|$))\s*)+")
_PART = re.compile(r"(\d+)\s*([yMwdhms]?)")

ROUTE_MAX = 32  # bytes, NGX_HTTP_UPSTREAM_SID_LEN


def read_seconds(value: Any) -> int:
    """`1m 30s`, `90` or 90 as seconds. Raises ValueError; `500ms` is none, for nginx takes whole seconds here."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is no time of nginx's, in whole seconds")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(value))


@frozen(kw_only=True)
class Server(Model):
    """What servers of http and of stream upstreams have in common.

    id: Given by nginx, and never given again while it runs.
    server: Its address, with the port.
    service: The DNS SRV service that its name is resolved by; None elsewhere.
    max_conns: Connections at a time; 0 for no limit.
    max_fails, fail_timeout: So many failures within so many seconds make it unavailable for as long.
    slow_start: Seconds in which it recovers its weight.
    backup: Used only while the others are unavailable. Neither this nor `service` can be changed.
    down: Out of use.
    parent: ID of the server whose name was resolved to this one; None elsewhere. host: That name.
    """

    id: int = NOT_ASKED
    server: str = NOT_ASKED
    service: str | None = NOT_ASKED
    weight: int = NOT_ASKED
    max_conns: int = NOT_ASKED
    max_fails: int = NOT_ASKED
    fail_timeout: int = wire(reader=read_seconds)
    slow_start: int = wire(reader=read_seconds)
    backup: bool = NOT_ASKED
    down: bool = NOT_ASKED
    parent: str | None = wire(reader=str)
    host: str | None = NOT_ASKED


@frozen(kw_only=True)
class HTTPServer(Server):
    """A server of an http upstream, as it is configured.

    route: Its name in sticky routing, `` for none. drain: Only requests of sessions that it has are sent to it.
    """

    route: str = NOT_ASKED
    drain: bool | None = NOT_ASKED


@frozen(kw_only=True)
class StreamServer(Server):
    """A server of a stream upstream, as it is configured."""


def body_of(parameters: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Checked parameters as a body: without those that are None, and with the types of that version.

    Up to version 2 times are numbers of seconds, and in version 1 `drain` is text, by the tables of those versions.

    Raises TypeError and ValueError, naming the parameter.
    """
    body: dict[str, Any] = {}
    for name, value in parameters.items():
        if value is None:
            continue
        checked = _CHECKS[name](name, value)
        if name in {"fail_timeout", "slow_start"} and version >= 3:
            checked = f"{checked}s"
        elif name == "drain" and version == 1:
            checked = "true" if checked else "false"
        body[name] = checked
    return body


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {value!r}")
    return value


def _address(name: str, value: Any) -> str:
    if not _text(name, value) or re.search(r"[\s\x00-\x1f]", value):
        raise ValueError(f"{name} must be an address without blanks, such as 10.0.0.1:8080, not {value!r}")
    return str(value)


def _named(name: str, value: Any) -> str:
    if not _text(name, value):
        raise ValueError(f"{name} must not be empty")
    return str(value)


def _route(name: str, value: Any) -> str:
    if len(_text(name, value).encode()) > ROUTE_MAX:
        raise ValueError(f"{name} must be at most {ROUTE_MAX} bytes, not {value!r}")
    return str(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def _whole(name: str, value: Any, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value


def _weight(name: str, value: Any) -> int:
    return _whole(name, value, 1)


def _time(name: str, value: Any) -> int:
    if not isinstance(value, str):
        return _whole(name, value)
    try:
        return read_seconds(value)
    except ValueError as e:
        raise ValueError(f"{name}: {e}") from e


_CHECKS = {
    "server": _address,
    "service": _named,
    "weight": _weight,
    "max_conns": _whole,
    "max_fails": _whole,
    "fail_timeout": _time,
    "slow_start": _time,
    "route": _route,
    "backup": _flag,
    "down": _flag,
    "drain": _flag,
}
