"""Peers, and every way in which they may be written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from attrs import Factory, field, frozen

from aetcd.errors import ConfigError

__all__ = ["Peer", "PeerLike", "parse_peers"]

_LOOPBACK = "127.0.0.1"
_TLS = {"http": False, "https": True}

# A comma separates URLs where a scheme follows it, and hosts of one URL elsewhere.
_URL_END = re.compile(r",(?=[^,/]*://)")
_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
_LABEL = r"(?!-)[a-z0-9_-]{1,63}"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
# What a path may hold as it stands, but for the comma: "http://a/x,b" would be read in two ways.
_PREFIX = re.compile(r"(?:[A-Za-z0-9/._~!$&'()*+;=:-]|%[0-9A-Fa-f]{2})*")
_PORT = re.compile(r"[0-9]{1,5}")


def _url_of(peer: Peer) -> str:
    host = f"[{peer.host}]" if ":" in peer.host else peer.host
    return f"{'https' if peer.tls else 'http'}://{host}:{peer.port}{peer.prefix}"


@frozen(cache_hash=True)
class Peer:
    """Where one server listens. `parse_peers` makes them from what people write.

    host: A name, or an IP address without brackets.
    prefix: A path before every request's own, without a slash at its end, as behind a reverse proxy.
    url: Scheme, host, port and prefix. It never holds credentials.
    """

    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    # Read for each request, so built once.
    url: str = field(init=False, repr=False, eq=False, default=Factory(_url_of, takes_self=True))

    def __str__(self) -> str:
        return self.url


PeerLike = str | tuple[str, int | str] | Mapping[str, object] | Peer


def parse_peers(
    *peers: PeerLike,
    host: str | None = None,
    port: int | str | None = None,
    peers_list: Iterable[PeerLike] | PeerLike | None = None,
    default_port: int = 2379,
    default_scheme: str = "http",
    argument: str = "peers",
) -> tuple[Peer, ...]:
    """Read peers, without duplicates and in the order given.

    peers: URLs, hosts with or without a port, `(host, port)`, `{"host": ..., "port": ...}`, `Peer` values. One URL may
        name several hosts, separated by commas; its scheme and path hold for all of them.
    host, port: One server, the host with or without a scheme. The port is 127.0.0.1's where no host is given.
    peers_list: The same as `peers`, under the name that users write as `peers=`.
    default_port: Where no port is given, with https too: etcd serves both on the same port.
    default_scheme: Where no scheme is given.
    argument: What errors call `peers`, where they come from an argument of another name.

    Without any of them the peer is 127.0.0.1. Raises ConfigError for values that cannot work and TypeError for those of
    another type, naming the argument; a value that may hold credentials is not shown.
    """
    by_host = host is not None or port is not None
    sources = {"positional peers": bool(peers), "`peers=`": peers_list is not None, "`host=` or `port=`": by_host}
    given = [source for source, present in sources.items() if present]
    if len(given) > 1:
        raise ConfigError(
            f"{'host' if by_host else 'peers'}: {' and '.join(given)} are given together: use one of them"
        )
    reader = _Reader("host" if by_host else argument, default_port, default_scheme)
    if peers_list is not None:
        found = [peer for entry in reader.entries(peers_list) for peer in reader.entry(entry)]
    elif by_host or not peers:
        found = list(reader.pair(_LOOPBACK if host is None else host, port))
    else:
        found = [peer for entry in peers for peer in reader.entry(entry)]
    return tuple(dict.fromkeys(found))


@frozen
class _Reader:
    """Reads what one argument holds, and names it in errors."""

    argument: str
    default_port: int
    default_scheme: str

    def entries(self, entries: object) -> list[object]:
        # One entry alone is taken as a list of one: a mapping's keys or a text's letters are no peers.
        if isinstance(entries, str | Mapping | Peer):
            return [entries]
        if not isinstance(entries, Iterable) or isinstance(entries, bytes):
            raise TypeError(f"{self.argument}: a list of peers is needed, not {type(entries).__name__}")
        listed = list(entries)
        if not listed:
            # Falling back to 127.0.0.1 would hide that nothing was found where peers were expected.
            raise ConfigError(f"{self.argument}: the list is empty")
        return listed

    def entry(self, entry: object) -> Iterable[Peer]:
        match entry:
            case Peer():
                return [entry]
            case str():
                return self.text(entry)
            case tuple():
                if len(entry) != 2:
                    raise ConfigError(f"{self.argument}: a tuple is (host, port), not {len(entry)} values")
                return self.pair(*entry)
            case Mapping():
                unknown = entry.keys() - {"host", "port"}
                if unknown:
                    names = ", ".join(sorted(_shown(name) for name in unknown))
                    raise ConfigError(f'{self.argument}: unknown keys {names}: "host" and "port" are known')
                if "host" not in entry:
                    raise ConfigError(f'{self.argument}: a mapping without "host"')
                return self.pair(entry["host"], entry.get("port"))
            case _:
                kinds = "a URL, (host, port), a mapping or a Peer"
                hint = ": unpack it, or pass it as peers=" if isinstance(entry, list) else ""
                raise TypeError(f"{self.argument}: {kinds} is needed, not {type(entry).__name__}{hint}")

    def pair(self, host: object, port: object) -> Iterator[Peer]:
        """The host may be all that `text` reads; the port is that of each of its hosts."""
        if not isinstance(host, str):
            raise TypeError(f"{self.argument}: the host must be text, not {type(host).__name__}")
        number = None if port is None else self.port(port)
        return self.text(f"[{host}]" if _is_ipv6(host) else host, number)

    def port(self, port: object) -> int:
        argument = "port" if self.argument == "host" else self.argument
        if isinstance(port, bool) or not isinstance(port, int | str):
            raise TypeError(f"{argument}: the port must be a number, not {type(port).__name__}")
        if isinstance(port, str):
            if not _PORT.fullmatch(port):
                raise ConfigError(f"{argument}: {_shown(port)} is no port: a number from 1 to 65535 is needed")
            port = int(port)
        if not 1 <= port <= 65535:
            raise ConfigError(f"{argument}: {_shown(port)} is no port: a number from 1 to 65535 is needed")
        return port

    def text(self, text: str, port: int | None = None) -> Iterator[Peer]:
        self.check_characters(text)
        for url in _URL_END.split(text):
            scheme, mark, rest = url.partition("://")
            if not mark:
                scheme, rest = self.default_scheme, url
            tls = _TLS.get(scheme.lower())
            if tls is None:
                raise self.bad(text, "has an unknown scheme: http and https are known")
            authorities, _, path = rest.partition("/")
            prefix = f"/{path}".rstrip("/")
            if not _PREFIX.fullmatch(prefix):
                raise self.bad(text, "has a path with a comma, or with what must be percent-encoded")
            for authority in authorities.split(","):
                host, own_port = self.authority(authority, text)
                if port is not None and own_port is not None:
                    raise self.bad(text, "holds a port, and another one is given beside it")
                yield Peer(host, port or own_port or self.default_port, tls, prefix)

    def check_characters(self, text: str) -> None:
        if not text:
            raise ConfigError(f"{self.argument}: an empty text is no peer")
        if "@" in text:
            raise ConfigError(
                f"{self.argument}: a URL holds credentials (or an @): use username= and password= for them"
            )
        if not text.isascii():
            # Also since some other letters become ASCII when they are made lower case.
            raise self.bad(text, "is not ASCII: international names are written in their xn-- form")
        if "?" in text or "#" in text:
            raise self.bad(text, "has a query or a fragment, which a peer cannot have")
        if " " in text or not text.isprintable():
            raise self.bad(text, "holds whitespace or control characters")

    def authority(self, authority: str, text: str) -> tuple[str, int | None]:
        parts = _AUTHORITY.fullmatch(authority)
        if parts is None:
            raise self.bad(text, "has brackets where none belong: an IPv6 address is written [::1]:2379")
        if parts["ipv6"] is not None:
            host = self.ipv6(parts["ipv6"], text)
        elif authority.count(":") > 1:
            raise self.bad(text, "has more than one colon: an IPv6 address is written [::1]:2379")
        else:
            host = self.name(parts["name"].lower(), text)
        if parts["port"] is None:
            return host, None
        if not _PORT.fullmatch(parts["port"]) or not 1 <= int(parts["port"]) <= 65535:
            raise self.bad(text, "has a port that is no number from 1 to 65535")
        return host, int(parts["port"])

    def ipv6(self, address: str, text: str) -> str:
        if not _is_ipv6(address):
            raise self.bad(text, "has no IPv6 address (one without a zone) in its brackets")
        # The shortest form, so that two ways to write it are one peer.
        return str(IPv6Address(address))

    def name(self, name: str, text: str) -> str:
        if not name:
            raise self.bad(text, "has no host")
        if not _NAME.fullmatch(name) or len(name) > 253:
            raise self.bad(text, "has no host that can be resolved: letters, digits, '-', '_' and '.' are possible")
        # No top-level domain is a number: 127.0.0.256 or a port without its host must not become a DNS lookup.
        if name.rstrip(".").rpartition(".")[2].isdecimal() and not _is_ipv4(name):
            raise self.bad(text, "has no valid IPv4 address and no name as its host")
        return name

    def bad(self, text: str, why: str) -> ConfigError:
        return ConfigError(f"{self.argument}: {_shown(text)} {why}")


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        # A zone (fe80::1%eth0) is good on one machine only, and would be sent in the Host header.
        return IPv6Address(text).scope_id is None
    except AddressValueError:
        return False


def _shown(value: object) -> str:
    """A value in an error: no more of it than can hold no credentials, and not much of it."""
    text = str(value)
    if "@" in text:
        return "(a value with @, not shown)"
    kept = re.split(r"[?#]", text, maxsplit=1)[0]
    short = kept if len(kept) <= 100 else f"{kept[:100]}..."
    return short if isinstance(value, int) else repr(short)
