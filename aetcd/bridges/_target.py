"""What a bridge writes to: one NGINX or a fleet of them, and the election of the one bridge that writes there."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from enum import Enum
from hashlib import sha256
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, urlsplit

from attrs import frozen

from aetcd.nginx import FleetKeyval, FleetUpstream, HTTPUpstreamHandle, KeyvalZone, StreamUpstreamHandle

__all__ = ["DEFAULT", "Default", "Target", "upstream_target", "zone_target"]


class Default(Enum):
    """That an argument was not given, where None means something."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "<made from the target>"


DEFAULT: Final = Default.DEFAULT


@frozen(kw_only=True)
class Target:
    """kind: `upstream` or `keyval`. side: `http` or `stream`. urls: Of the instances."""

    kind: str
    side: str
    name: str
    urls: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.name!r} at {', '.join(self.urls)}"

    def election(self, chosen: str | Default | None) -> str | None:
        """The name to be elected under: what the user chose, or one that all have who write to the same.

        A URL of the loopback is another NGINX on each host: so the host's name is in it.
        """
        if chosen is not DEFAULT:
            return chosen
        places = sorted(_global(url) for url in self.urls)
        digest = sha256("\n".join([self.side, self.name, *places]).encode()).hexdigest()[:16]
        return f"aetcd-bridges/{self.kind}/{quote(self.name, safe='')}-{digest}"


def upstream_target(upstream: object) -> Target:
    """Raises TypeError."""
    match upstream:
        case HTTPUpstreamHandle() | StreamUpstreamHandle():
            urls: Iterable[str] = [upstream._caller.url]  # noqa: SLF001
            side = upstream.side
        case FleetUpstream():
            urls = [url for url, _ in upstream._handles]  # noqa: SLF001
            side = upstream._handles[0][1].side  # noqa: SLF001
        case _:
            raise TypeError(f"upstream must be one of an Nginx or a Fleet, not {upstream!r}")
    return Target(kind="upstream", side=side, name=upstream.name, urls=tuple(urls))


def zone_target(zone: object) -> Target:
    """Raises TypeError."""
    match zone:
        case KeyvalZone():
            urls: Iterable[str] = [zone._caller.url]  # noqa: SLF001
            side: str = zone._path[0]  # noqa: SLF001
        case FleetKeyval():
            urls = [instance.url for instance in zone._fleet.instances]  # noqa: SLF001
            side = zone._side  # noqa: SLF001
        case _:
            raise TypeError(f"zone must be a key-value zone of an Nginx or a Fleet, not {zone!r}")
    return Target(kind="keyval", side=side, name=zone.name, urls=tuple(urls))


def _global(url: str) -> str:
    host = urlsplit(url).hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return f"{socket.gethostname()} {url}" if local else url
