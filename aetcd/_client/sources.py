"""Where a client looks its peers up, as its user says it."""

from __future__ import annotations

import ssl

from aetcd._transport.discovery import Source
from aetcd._transport.srv import SRV
from aetcd._transport.tls import TLS
from aetcd._transport.trace import Tracer
from aetcd.errors import ConfigError

__all__ = ["make_source"]


def make_source(
    discovery: str | None,
    discovery_srv: str | SRV | None,
    tls: TLS | ssl.SSLContext | bool | None,
    tracer: Tracer | None,
) -> Source | None:
    """The source of peers, or None. Raises ConfigError or TypeError, naming the argument."""
    if discovery is not None and discovery_srv is not None:
        raise ConfigError("discovery and discovery_srv are given together: use one of them")
    if discovery is not None:
        from aetcd._transport.token import Token  # few clusters are found so

        return Token(discovery, tls, tracer)
    return discovery_srv if discovery_srv is None or isinstance(discovery_srv, SRV) else SRV(discovery_srv)
