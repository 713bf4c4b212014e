"""What the examples share: a client to begin with, and an end in order. In a service of your own, write this out."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aetcd
from aetcd.testing import EtcdServer


def say(text: str) -> None:
    """Print it now, also into a pipe."""
    print(text, flush=True)


@asynccontextmanager
async def connected() -> AsyncIterator[aetcd.Client]:
    """A client of the cluster that ETCDCTL_ENDPOINTS names; where it names none, of an etcd of this program's own.

    To have a second process join that one, give it the line that is printed.
    """
    async with AsyncExitStack() as opened:
        if os.environ.get("ETCDCTL_ENDPOINTS"):
            client = aetcd.Client.from_env()
        else:
            server = await opened.enter_async_context(EtcdServer())
            say(f"ETCDCTL_ENDPOINTS={server.url}")
            client = aetcd.Client(server.url)
        yield await opened.enter_async_context(client)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run it until it ends, or until SIGTERM or Ctrl-C cancels it: then each block that it is in ends in order."""

    async def until_told() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await main()

    try:
        asyncio.run(until_told())
    except asyncio.CancelledError:
        say("stopped")
