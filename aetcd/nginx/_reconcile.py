"""What is to be done so that an upstream has the servers that are wanted. Pure: nothing here waits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from attrs import evolve, field, frozen

from aetcd.nginx._server_models import Seconds, Server, body_of, read_seconds

__all__ = ["Plan", "Step", "Wanted", "WantedLike", "make_plan", "read_wanted"]

HTTP_PORT = 80


@frozen(kw_only=True)
class Wanted:
    """A server as it should be.

    What is None is left as it is on a server that is there, and has nginx's default on one that is added: who knows
    addresses only does not undo what others have set. Its address, `service` and `backup` say which server it is.
    """

    server: str
    service: str | None = None
    backup: bool = False
    weight: int | None = None
    max_conns: int | None = None
    max_fails: int | None = None
    fail_timeout: Seconds | None = None
    slow_start: Seconds | None = None
    route: str | None = None
    down: bool | None = None


WantedLike = str | Wanted | Mapping[str, Any]
"""An address, a `Wanted`, or its members as a mapping."""

_PARAMETERS = ("weight", "max_conns", "max_fails", "fail_timeout", "slow_start", "route", "down")

Identity = tuple[str, str | None, bool]


@frozen(kw_only=True)
class Step:
    """One change of one server.

    id: The server's ID; None before it is added.
    parameters: What it is given. was: The same parameters as they were before.
    """

    server: str
    id: int | None = None
    parameters: Mapping[str, Any] = field(factory=dict)
    was: Mapping[str, Any] = field(factory=dict)

    def __str__(self) -> str:
        return " ".join([self.server, *(f"{name}={value!r}" for name, value in self.parameters.items())])


@frozen(kw_only=True)
class Plan:
    """What `reconcile` did, or in a dry run would do.

    kept: Servers that were right already.
    undrained: Of those removed, servers that still had requests when the time to drain was over. nginx lets these end.
    """

    added: tuple[Step, ...] = ()
    changed: tuple[Step, ...] = ()
    removed: tuple[Step, ...] = ()
    kept: tuple[Step, ...] = ()
    undrained: tuple[Step, ...] = ()
    dry_run: bool = False

    def __bool__(self) -> bool:
        """Whether there was anything to do."""
        return bool(self.added or self.changed or self.removed)

    def as_dry_run(self) -> Plan:
        """The same, as what has not been done."""
        return evolve(self, dry_run=True)

    def __str__(self) -> str:
        """A line for each change: `+` added, `~` changed, `-` removed."""
        marked = [("+", self.added), ("~", self.changed), ("-", self.removed)]
        return "\n".join(f"{mark} {step}" for mark, steps in marked for step in steps) or "nothing to do"


def read_wanted(wanted: Iterable[WantedLike], *, stream: bool) -> dict[Identity, Wanted]:
    """What a user wants, by what tells one server from another; exact duplicates are one.

    Raises TypeError and ValueError, naming `wanted`, also where one server is wanted in two ways.
    """
    if isinstance(wanted, str | Mapping | Wanted):
        raise TypeError(f"wanted must be several servers, not the one {wanted!r}")
    found: dict[Identity, Wanted] = {}
    for entry in wanted:
        one = _one(entry, stream=stream)
        identity = (_address(one.server, one.service, stream=stream), one.service, one.backup)
        if found.setdefault(identity, one) != one:
            raise ValueError(f"wanted: {one.server} is there twice, with other parameters: {found[identity]}, {one}")
    return found


def make_plan(wanted: Mapping[Identity, Wanted], present: Sequence[Server], *, stream: bool) -> Plan:
    """The fewest changes from the servers that are present to those that are wanted.

    Servers that nginx itself made by resolving a name (they have a `parent`) come and go with the name, and are left
    alone. An address is never changed in place, which would be one request where an old server makes room for a new
    one: the new one is added first, so that there are never fewer.
    """
    there: dict[Identity, list[Server]] = {}
    for server in present:
        if server.parent is None:
            there.setdefault(_identity(server, stream=stream), []).append(server)
    added: list[Step] = []
    changed: list[Step] = []
    removed: list[Step] = []
    kept: list[Step] = []
    for identity, one in wanted.items():
        candidates = there.pop(identity, [])
        if not candidates:
            added.append(Step(server=identity[0], parameters=_given(one)))
            continue
        # Of several with one address, the one that needs no change stays.
        steps = sorted((_difference(one, server) for server in candidates), key=lambda step: bool(step.parameters))
        (changed if steps[0].parameters else kept).append(steps[0])
        removed += [evolve(step, parameters={}, was={}) for step in steps[1:]]
    removed += [Step(server=server.server, id=server.id) for left in there.values() for server in left]
    return Plan(added=tuple(added), changed=tuple(changed), removed=tuple(removed), kept=tuple(kept))


def _identity(server: Server, *, stream: bool) -> Identity:
    service = server.service or None
    try:
        address = _address(server.server, service, stream=stream)
    except ValueError:
        address = server.server  # of a form unknown here: it is like nothing that is wanted
    return (address, service, bool(server.backup))


def _one(entry: WantedLike, *, stream: bool) -> Wanted:
    match entry:
        case Wanted():
            one = entry
        case str():
            one = Wanted(server=entry)
        case Mapping():
            try:
                one = Wanted(**entry)
            except TypeError as e:
                raise TypeError(f"wanted: {dict(entry)!r}: {e}") from e
        case _:
            raise TypeError(f"wanted must hold addresses, mappings or Wanted, not {entry!r}")
    if stream and one.route is not None:
        raise ValueError(f"wanted: {one.server}: servers of a stream upstream have no route")
    try:
        body_of({"server": one.server, **_given(one)}, 3)
    except (TypeError, ValueError) as e:
        raise type(e)(f"wanted: {e}") from e
    return one


def _given(one: Wanted) -> dict[str, Any]:
    """The parameters of a server to be added, but for its address."""
    parameters: dict[str, Any] = {name: getattr(one, name) for name in _PARAMETERS}
    parameters |= {"service": one.service, "backup": one.backup or None}
    return {name: value for name, value in parameters.items() if value is not None}


def _difference(one: Wanted, server: Server) -> Step:
    """What is to be changed of a server that is there. One that drains is wanted no less than the others."""
    parameters: dict[str, Any] = {}
    for name in _PARAMETERS:
        value = getattr(one, name)
        if value is not None and name in {"fail_timeout", "slow_start"}:
            value = read_seconds(value)
        if value is not None and value != getattr(server, name):
            parameters[name] = value
    if getattr(server, "drain", None):
        parameters["drain"] = False
    was = {name: getattr(server, name) for name in parameters}
    return Step(server=server.server, id=server.id, parameters=parameters, was=was)


def _address(text: str, service: str | None, *, stream: bool) -> str:
    """An address in nginx's own form, so that two ways to write it are one server."""
    if text.startswith("unix:"):
        return text
    host, port = _split(text.lower())
    if port is None and service is None:
        if stream:
            raise ValueError(f"wanted: {text}: servers of a stream upstream need a port")
        port = HTTP_PORT
    return host if port is None else f"{host}:{port}"


def _split(text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]+)(?::([0-9]{1,5}))?", text)
    if match is None:
        raise ValueError(f"wanted: {text!r} is no address: host:port, [IPv6]:port or unix:path")
    host, port = match[1], match[2]
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError as e:
            raise ValueError(f"wanted: {text!r} is no address: {e}") from e
    if port is not None and not 1 <= int(port) <= 65535:
        raise ValueError(f"wanted: {text!r} has no port from 1 to 65535")
    return host, None if port is None else int(port)
