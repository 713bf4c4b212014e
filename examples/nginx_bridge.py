"""Services that register themselves in etcd, and an NGINX Plus that sends requests to those that live.

    NGINX_API=http://127.0.0.1:8080/api NGINX_UPSTREAM=shop python -m examples.nginx_bridge

The upstream becomes the registry's: its other servers are removed. Two bridges run, as they would on two hosts; one
of them writes, and when it stops the other one goes on. See docs/nginx.md for NGINX's configuration.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

import aetcd
from aetcd.bridges import Bridge, registry_to_upstream
from aetcd.nginx import HTTPUpstreamHandle, Nginx, Plan
from examples.running import connected, run, say

SERVICES = {"ann": "http://127.0.0.1:9001", "bob": "http://127.0.0.1:9002", "cid": "http://127.0.0.1:9003"}


def bridge_to(upstream: HTTPUpstreamHandle, registry: aetcd.Registry[Any]) -> Bridge[Plan]:
    """All that a program needs to keep the two in step: the block of this, for as long as it runs."""
    return registry_to_upstream(registry, upstream, drain=5, ttl=5)


async def show(upstream: HTTPUpstreamHandle, wanted: set[str]) -> None:
    """Wait until these are the servers that get requests, and say so."""
    while True:
        servers = [server for server in await upstream.servers.list() if not server.drain]
        if {f"http://{server.server}" for server in servers} == wanted:
            break
        await asyncio.sleep(0.05)
    say("NGINX sends to " + ", ".join(sorted(server.server for server in servers)))


async def main() -> None:
    """The services, and two bridges."""
    url = os.environ.get("NGINX_API")
    if not url:
        raise SystemExit("NGINX_API names the API of an NGINX Plus, such as http://127.0.0.1:8080/api")
    async with connected() as client, Nginx(url) as nginx, AsyncExitStack() as services:
        registry = client.registry("services/shop", ttl=5)
        upstream = nginx.http.upstream(os.environ.get("NGINX_UPSTREAM", "shop"))
        for name in ("ann", "bob"):
            await services.enter_async_context(registry.register(SERVICES[name], id=name))
        async with AsyncExitStack() as bridges:
            first = await bridges.enter_async_context(bridge_to(upstream, registry))
            async with bridge_to(upstream, registry) as second:
                say(
                    f"the first bridge leads: {first.leading}, the second: {second.leading}; {first.last_error or 'ok'}"
                )
                await show(upstream, {SERVICES["ann"], SERVICES["bob"]})
                async with registry.register(SERVICES["cid"], id="cid"):
                    await show(upstream, set(SERVICES.values()))
                    await bridges.aclose()
                    say("the first bridge has stopped, and cid leaves")
                await show(upstream, {SERVICES["ann"], SERVICES["bob"]})
                say(f"the second bridge leads: {second.leading}")


if __name__ == "__main__":
    run(main)
