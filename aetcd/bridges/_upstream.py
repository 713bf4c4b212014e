"""A registry that feeds an NGINX upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec
from attrs import frozen

from aetcd._client.arguments import check_key
from aetcd._client.client import Client
from aetcd.bridges._bridge import Bridge
from aetcd.bridges._duty import Duty, Pace, Reading, check_span, under
from aetcd.bridges._target import DEFAULT, Default, upstream_target
from aetcd.errors import Unsupported
from aetcd.nginx import Wanted, WantedLike
from aetcd.nginx._reconcile import Identity, read_wanted
from aetcd.recipes import Instance, Mirror, Registry
from aetcd.recipes._store import Store

__all__ = ["Reconciled", "registry_to_upstream", "server_of"]

P_co = TypeVar("P_co", covariant=True)

PORTS = {"http": 80, "https": 443}


class Reconciled(Protocol[P_co]):
    """An upstream of an `Nginx` or of a `Fleet`."""

    async def reconcile(
        self,
        wanted: Iterable[WantedLike],
        *,
        drain: float | None = None,
        dry_run: bool = False,
        allow_empty: bool = False,
        timeout: float | None = None,
    ) -> P_co:
        """Make it have these servers and no others."""
        ...


def server_of(instance: Instance[Any]) -> WantedLike:
    """The server that an instance says it is, as its address alone tells.

    `10.0.0.7:8080` and `unix:/run/app.sock` are taken as they are; of a URL the host and the port, 80 or 443 where an
    http or https one has none; of a JSON object, as a plain key may hold one, the members of a `Wanted`:
    `{"server": "10.0.0.7:8080", "weight": 5}`. Raises ValueError.
    """
    address = instance.address.strip()
    if address.startswith("{"):
        return msgspec.json.decode(address, type=dict[str, Any])
    if "://" not in address:
        return address
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2]
    if parts.port is None and parts.scheme in PORTS:
        return f"{place.removesuffix(':')}:{PORTS[parts.scheme]}"
    return place


def registry_to_upstream(
    registry: Registry[Any] | str,
    upstream: Reconciled[P_co],
    *,
    client: Client | None = None,
    server: Callable[[Instance[Any]], WantedLike | None] = server_of,
    drain: float | None = None,
    election: str | Default | None = DEFAULT,
    ttl: int = 15,
    debounce: float = 0.2,
    check_every: float | None = 30.0,
    allow_empty: bool = False,
    timeout: float | None = None,
) -> Bridge[P_co]:
    """The instances that are registered become an upstream's servers, and stay so while the block runs.

        async with registry_to_upstream(client.registry("services/shop"), nginx.http.upstream("shop")) as bridge:
            ...  # bridge.in_step, bridge.leading, bridge.fresh, bridge.last_error, bridge.last_plan

    Run it in as many processes as you like: one of them writes. See `Bridge`. The upstream then belongs to the bridge:
    servers that nobody has registered are removed, but for those that nginx made by resolving a name.

    registry: A registry; or a prefix, with `client=`: each key under it is an instance, its name the id, its text the
        address, and it has no metadata.
    upstream: `upstream(name)` of the http or the stream side of an `Nginx`, or of a `Fleet`, in which each instance is
        brought in step, and one that fails holds back no other.
    client: Whose keys the prefix is of.
    server: Says which server an instance is: an address, a `Wanted`, a mapping with its members, or None to leave it
        out. It must not wait. Give one to have metadata become a weight. An instance for which it raises is left out
        and told in `left_out`, as is one that nginx could not take; of two that want one server in two ways the first
        counts, by their ids.
    drain: Seconds that servers which are no longer registered have to end their sessions, as in `reconcile`; http only.
        A change that comes meanwhile is not kept waiting.
    election: The name under which the bridges of one target elect the one that writes. By default it is made of the
        upstream's name and of the URLs, with the host's name where such a one is of the loopback: so bridges on several
        hosts that each have their own NGINX on 127.0.0.1 all write. Give a name where bridges reach the same NGINX by
        different URLs. None for no election.
    ttl: Whole seconds after which the next in line takes over from a bridge that died.
    debounce: Seconds that a change waits for others, to be written together with them.
    check_every: Seconds between full checks; None for none.
    allow_empty: Also remove the last server when nobody is registered any more. Without it nginx keeps what it had.
    timeout: Seconds for each request to nginx; by default those of its client.

    Leaving the block, also by a cancel, leaves the upstream as it is: that a bridge ends says nothing of the services.

    Raises TypeError, ValueError, and Unsupported for `drain` on a stream upstream, before anything is sent.
    """
    target = upstream_target(upstream)
    stream = target.side == "stream"
    if not callable(server):
        raise TypeError(f"server must be a function, not {server!r}")
    if drain is not None:
        check_span(drain, "drain", least=0.001)
        if stream:
            raise Unsupported("drain: the API knows it for http upstreams only")
    pace = Pace(
        election=target.election(election),
        ttl=ttl,
        debounce=debounce,
        check_every=check_every,
        allow_empty=allow_empty,
    )
    found = _plain(registry, client) if isinstance(registry, str) else _registered(registry, client)
    pace.check(found.prefix)

    def read(keys: Mapping[str, bytes]) -> Reading[list[Wanted]]:
        return found.read(keys, server, stream=stream)

    async def write(wanted: list[Wanted]) -> P_co:
        return await upstream.reconcile(wanted, drain=drain, allow_empty=allow_empty, timeout=timeout)

    source = f"registry {found.prefix!r}"
    return Bridge(
        Duty(store=found.store, source=source, target=str(target), mirror=found.mirror, read=read, write=write), pace
    )


@frozen(kw_only=True)
class _Source:
    """Where instances come from.

    names: Of all entries, also of those that read as no instance.
    """

    prefix: str
    store: Store
    mirror: Callable[[], Mirror[bytes]]
    instances: Callable[[Mapping[str, bytes]], Iterable[Instance[Any]]]
    names: Callable[[Mapping[str, bytes]], Iterable[str]]

    def read(
        self, keys: Mapping[str, bytes], server: Callable[[Instance[Any]], WantedLike | None], *, stream: bool
    ) -> Reading[list[Wanted]]:
        """The servers that the instances say they are, and who says nothing that can be used."""
        wanted: dict[Identity, Wanted] = {}
        left_out = dict.fromkeys(self.names(keys), "it does not read as the registry's type")
        for instance in self.instances(keys):
            left_out.pop(instance.id, None)
            try:
                one = server(instance)
                read = {} if one is None else read_wanted([one], stream=stream)
            except Exception as e:  # noqa: BLE001 - the border: a user's function, and what services say: hide no others
                left_out[instance.id] = f"{type(e).__name__}: {e}"
                continue
            for identity, entry in read.items():
                if wanted.setdefault(identity, entry) != entry:
                    left_out[instance.id] = f"{entry.server} is wanted with other parameters by another instance"
        return Reading(wanted=list(wanted.values()), left_out=left_out)


def _registered(registry: Registry[Any], client: Client | None) -> _Source:
    if not isinstance(registry, Registry):
        raise TypeError(f"registry must be a registry or a prefix, not {registry!r}")
    if client is not None:
        raise TypeError("client goes with a prefix: a registry has its own")
    return _Source(
        prefix=registry.prefix,
        store=registry._store,  # noqa: SLF001
        mirror=registry._mirror,  # noqa: SLF001
        instances=registry._instances,  # noqa: SLF001
        names=lambda keys: [name for name, _ in under(registry.prefix, keys) if "/" not in name],
    )


def _plain(prefix: str, client: Client | None) -> _Source:
    if not isinstance(client, Client):
        raise TypeError(f"client must be an aetcd.Client where a prefix is given, not {client!r}")
    store, root = client._store(), check_key(prefix, "registry").rstrip("/")  # noqa: SLF001
    check_key(root, "registry")

    def instances(keys: Mapping[str, bytes]) -> Iterable[Instance[Any]]:
        for name, raw in under(root, keys):
            yield Instance(id=name, address=raw.decode("utf-8", "replace"), metadata=None)

    return _Source(
        prefix=root,
        store=store,
        mirror=lambda: Mirror(store, root, type=bytes),
        instances=instances,
        names=lambda keys: [name for name, _ in under(root, keys)],
    )
