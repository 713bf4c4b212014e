"""Services that register themselves, and a client that spreads its requests over those that live.

    python -m examples.service_registry

It starts three, calls them, stops one, calls again, and ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
from aiohttp import web
from attrs import frozen

import aetcd
from examples.running import connected, run, say


@frozen
class About:
    """What an instance says of itself."""

    version: str


@asynccontextmanager
async def serving(registry: aetcd.Registry[About], name: str) -> AsyncIterator[None]:
    """An instance. It registers once it serves, and is no longer registered when it stops to serve."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=name)

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with registry.register(address, id=name, metadata=About("1.0")):
            say(f"{name} serves at {address}")
            yield
            say(f"{name} leaves")
    finally:
        await runner.cleanup()


async def call(picker: aetcd.Picker[About], session: aiohttp.ClientSession) -> str:
    """One request, to the next instance. A registry can only tell who lived a moment ago, so go on to another."""
    for pause in (0.0, 0.1, 0.2, 0.4):
        await asyncio.sleep(pause)
        # What fails in its block is not picked again for a while.
        with suppress(aiohttp.ClientConnectionError), picker.pick() as instance:
            async with session.get(instance.address) as response:
                return await response.text()
    raise ConnectionError("no instance answers")


async def call_many(picker: aetcd.Picker[About], session: aiohttp.ClientSession) -> None:
    answers = Counter([await call(picker, session) for _ in range(30)])
    say("answered by " + ", ".join(f"{name}: {times}" for name, times in sorted(answers.items())))


async def main() -> None:
    """Both sides, which would be processes on hosts of their own."""
    async with connected() as client, aiohttp.ClientSession() as session:
        registry = client.registry("services/names", type=About, ttl=5)
        async with serving(registry, "ann"), serving(registry, "bob"), AsyncExitStack() as picking:
            async with serving(registry, "cid"):
                picker = await picking.enter_async_context(registry.picker())
                await call_many(picker, session)
            await call_many(picker, session)


if __name__ == "__main__":
    run(main)
