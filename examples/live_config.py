"""A web service whose configuration lives in etcd, and changes while it serves.

    python -m examples.live_config [PORT]
    curl http://127.0.0.1:PORT/greet/Ann
    ETCDCTL_API=3 etcdctl put greeter/config '{"greeting": "Good evening", "loud": true}'

Requests read a copy in memory, which follows etcd. While etcd cannot be reached, or holds nonsense, the last
configuration serves on; `/ready` tells of the former, the log of the latter.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from aiohttp import web
from attrs import define, frozen

import aetcd
from examples.running import connected, run, say

KEY = "greeter/config"


@frozen
class Config:
    """What can be changed while it runs."""

    greeting: str = "Hello"
    loud: bool = False


@define
class Live:
    """The configuration now, and where it comes from."""

    mirror: aetcd.Mirror[Config]
    config: Config = Config()

    def read(self, *_: object) -> None:
        """Take what is there now, if it is a configuration."""
        try:
            self.config = self.mirror.get(KEY, Config())
            say(f"configured: {self.config}")
        except aetcd.DecodeError as e:
            say(f"not used: {e}")


LIVE = web.AppKey("LIVE", Live)


async def greet(request: web.Request) -> web.Response:
    """Say hello, as it is configured now."""
    config = request.app[LIVE].config
    text = f"{config.greeting}, {request.match_info['name']}"
    return web.Response(text=text.upper() if config.loud else text)


async def ready(request: web.Request) -> web.Response:
    """Whether the configuration is current."""
    mirror = request.app[LIVE].mirror
    return web.Response(text=f"{mirror.age:.1f} s old\n", status=200 if mirror.fresh else 503)


async def follow_etcd(app: web.Application) -> AsyncIterator[None]:
    """For as long as the application runs, which starts once the configuration was read."""
    async with connected() as client, client.mirror(KEY, type=Config) as mirror:
        live = app[LIVE] = Live(mirror)
        live.read()
        mirror.on_change(live.read)
        yield


async def main() -> None:
    """Serve until stopped."""
    app = web.Application()
    app.add_routes([web.get("/greet/{name}", greet), web.get("/ready", ready)])
    app.cleanup_ctx.append(follow_etcd)
    runner = web.AppRunner(app)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0).start()
        say(f"serving at http://127.0.0.1:{runner.addresses[0][1]}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    run(main)
