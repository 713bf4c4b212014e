"""A prefix of keys, mirrored into an NGINX key-value zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from aetcd._client.arguments import check_key
from aetcd._client.client import Client
from aetcd.bridges._bridge import Bridge
from aetcd.bridges._duty import Duty, Pace, Reading, under
from aetcd.bridges._target import DEFAULT, Default, zone_target
from aetcd.recipes import Mirror

__all__ = ["Synchronised", "prefix_to_keyval"]

P_co = TypeVar("P_co", covariant=True)


class Synchronised(Protocol[P_co]):
    """A key-value zone of an `Nginx` or of a `Fleet`."""

    async def sync(self, wanted: Mapping[str, str], *, dry_run: bool = False, timeout: float | None = None) -> P_co:
        """Make it hold these pairs and no others."""
        ...


def prefix_to_keyval(
    client: Client,
    prefix: str,
    zone: Synchronised[P_co],
    *,
    election: str | Default | None = DEFAULT,
    ttl: int = 15,
    debounce: float = 0.2,
    check_every: float | None = 30.0,
    allow_empty: bool = False,
    timeout: float | None = None,
) -> Bridge[P_co]:
    """All keys under a prefix become the pairs of a key-value zone, and stay so while the block runs.

        async with prefix_to_keyval(client, "flags", nginx.http.keyval("flags")) as bridge:
            await client.set("flags/search", "on")       # $arg_feature = search  ->  $flag = on

    Run it in as many processes as you like: one of them writes. See `Bridge`. The zone then belongs to the bridge:
    pairs that are not in etcd are removed.

    prefix: Not empty. A key is named by what comes after `prefix/`, so `flags/eu/search` is the pair `eu/search`.
    zone: `keyval(name)` of the http or the stream side of an `Nginx`, or of a `Fleet`. One with a `timeout=` of its own
        forgets pairs, and has them again from the next full check.
    allow_empty: Also remove the last pair when nothing is under the prefix any more. Without it the zone keeps what it
        had.
    election, ttl, debounce, check_every, timeout: As of `registry_to_upstream`.

    A value that is not UTF-8 is left out and told in `left_out`. Leaving the block, also by a cancel, leaves the zone
    as it is. Raises TypeError and ValueError, before anything is sent.
    """
    if not isinstance(client, Client):
        raise TypeError(f"client must be an aetcd.Client, not {client!r}")
    root = check_key(check_key(prefix, "prefix").rstrip("/"), "prefix")
    target = zone_target(zone)
    pace = Pace(
        election=target.election(election),
        ttl=ttl,
        debounce=debounce,
        check_every=check_every,
        allow_empty=allow_empty,
    )
    pace.check(root)
    store = client._store()  # noqa: SLF001

    async def write(wanted: dict[str, str]) -> P_co:
        return await zone.sync(wanted, timeout=timeout)

    return Bridge(
        Duty(
            store=store,
            source=f"prefix {root!r}",
            target=str(target),
            mirror=lambda: Mirror(store, root, type=bytes),
            read=lambda keys: _pairs(root, keys),
            write=write,
        ),
        pace,
    )


def _pairs(root: str, keys: Mapping[str, bytes]) -> Reading[dict[str, str]]:
    wanted: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, raw in under(root, keys):
        try:
            wanted[name] = raw.decode()
            name.encode()  # a key that is not UTF-8 stands for its bytes by surrogates
        except UnicodeError as e:
            wanted.pop(name, None)
            left_out[name] = f"a pair is text in UTF-8: {e}"
    return Reading(wanted=wanted, left_out=left_out)
