"""DNS SRV records: a domain that names its etcd servers."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from aetcd._routing.peer import Peer, parse_peers
from aetcd._transport.discovery import not_found
from aetcd.errors import ConfigError

if TYPE_CHECKING:
    from dns.resolver import Answer

__all__ = ["SRV"]

logger = logging.getLogger("aetcd")

EXTRA = "discovery_srv: dnspython is needed to read SRV records: pip install 'aetcd-http[srv]'"


@frozen
class SRV:
    """Servers that a domain names: `_etcd-client-ssl._tcp.<domain>` by https, else `_etcd-client._tcp.<domain>`.

    domain: Such as `example.com`.
    name: Which of a domain's clusters: it is put behind the service, as in `_etcd-client-ssl-<name>`.
    nameservers: IP addresses of the name servers to ask; the system's by default.
    port: Theirs.

    Where a domain has records for https, those for http are left out. The certificate is checked against the name that
    the record points to, so believe DNS or an authority of your own. The peers are in the records' order: by priority,
    and at random by weight where that is the same.

    Raises ConfigError where the domain can be none, and where the package's extra `srv` is not installed.
    """

    domain: str
    name: str = field(default="", kw_only=True)
    nameservers: Sequence[str] = field(default=(), kw_only=True)
    port: int = field(default=53, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if importlib.util.find_spec("dns") is None:
            raise ConfigError(EXTRA)
        for argument in (self.domain, self.name):
            if not isinstance(argument, str):
                raise TypeError(f"discovery_srv must be a domain, not {type(argument).__name__}")
        try:
            parse_peers(self.domain)
            plain = not set(self.domain) & set(":/,[")
        except ValueError:
            plain = False
        if not plain:
            raise ConfigError("discovery_srv must be a domain such as example.com, without a scheme or a port")

    @property
    def progress(self) -> str:
        """Nothing is known before the answer."""
        return f"the SRV records of {self.domain} were not read"

    async def find(self) -> Sequence[Peer]:
        """The servers. Raises NoPeerAvailable where there are no records, or nobody answers."""
        # One after the other: only the certain absence of records for https makes way for clear text.
        for service, scheme in (("etcd-client-ssl", "https"), ("etcd-client", "http")):
            if peers := await self._lookup(service, scheme):
                return peers
        suffix = f"-{self.name}" if self.name else ""
        text = f"{self.domain} has no SRV records _etcd-client-ssl{suffix}._tcp or _etcd-client{suffix}._tcp"
        raise not_found(text)

    async def _lookup(self, service: str, scheme: str) -> Sequence[Peer]:
        import dns.asyncresolver
        import dns.exception
        import dns.rdatatype
        import dns.resolver

        resolver = dns.asyncresolver.Resolver(configure=not self.nameservers)
        if self.nameservers:
            resolver.nameservers = list(self.nameservers)
        resolver.port = self.port
        suffix = f"-{self.name}" if self.name else ""
        query = f"_{service}{suffix}._tcp.{self.domain.rstrip('.')}."
        try:
            answer = await resolver.resolve(query, dns.rdatatype.SRV, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.exception.DNSException, OSError) as e:
            raise not_found(f"the SRV records {query} cannot be read: {e}") from e
        return _peers(answer, scheme)


def _peers(answer: Answer, scheme: str) -> Sequence[Peer]:
    """In the order of RFC 2782."""
    from dns.rdtypes.IN.SRV import SRV as Record  # noqa: N811

    if answer.rrset is None:
        return ()
    found: list[Peer] = []
    for record in answer.rrset.processing_order():
        assert isinstance(record, Record)
        # Certificates name hosts without the dot at the end.
        target = record.target.to_text(omit_final_dot=True)
        try:
            found += parse_peers((f"{scheme}://{target}", record.port))
        except ValueError as e:
            # A target of `.` says that the service is not offered.
            logger.debug("an SRV record is left out: %s", e)
    return tuple(dict.fromkeys(found))
