"""What type checkers say of the client's answers. pytest runs it too: the types are true at run time."""

from __future__ import annotations

from typing import assert_type

from doubles.nginx import NginxDouble

from aetcd.nginx import (
    Fleet,
    HTTPPeer,
    HTTPServer,
    HTTPServerZone,
    HTTPUpstream,
    Info,
    Missed,
    Nginx,
    Outcomes,
    PeerChanged,
    Plan,
    Sample,
    StreamServer,
    StreamUpstream,
    Synced,
)


async def test_answers(double: NginxDouble) -> None:
    """None of them is `Any`."""
    async with Nginx(double.url) as nginx:
        assert_type(await nginx.info(), Info)
        assert_type((await nginx.info()).generation, int)
        assert_type(await nginx.http.server_zones.list(), dict[str, HTTPServerZone])
        assert_type(await nginx.http.server_zones.names(), list[str])
        upstream = nginx.http.upstream("backend")
        assert_type(await upstream.get(), HTTPUpstream)
        assert_type((await upstream.get()).peers, tuple[HTTPPeer, ...])
        assert_type(await upstream.servers.list(), list[HTTPServer])
        assert_type(await upstream.servers.add("10.0.0.7:80"), HTTPServer)
        assert_type(await nginx.stream.upstream("backend").get(), StreamUpstream)
        assert_type(await nginx.stream.upstream("backend").servers.get(0), StreamServer)
        assert_type(await upstream.reconcile(["10.0.0.1:80"], dry_run=True), Plan)
        zone = nginx.http.keyval("one")
        assert_type(await zone.get("a"), str | None)
        assert_type(await zone.get("a", "b"), str)
        assert_type(await zone.sync({"a": "b"}), Synced)
        async with nginx.watch(0.01) as samples:
            assert_type(await anext(samples), Sample | PeerChanged | Missed)
    async with Fleet([double.url]) as fleet:
        assert_type(await fleet.apply(lambda nginx: nginx.version()), Outcomes[int])
        assert_type(await fleet.http.upstream("backend").reconcile(["10.0.0.1:80"]), Outcomes[Plan])
