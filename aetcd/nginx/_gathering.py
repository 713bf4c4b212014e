"""The same for many, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

__all__ = ["each"]

T = TypeVar("T")

AT_ONCE = 8  # requests of one call to one instance


async def each(items: Iterable[T], do: Callable[[T], Awaitable[object]], *, at_once: int = AT_ONCE) -> None:
    """Do it for each item. The first error ends the others, and reaches the caller as it is."""
    waiting = iter(items)
    failed: list[Exception] = []

    async def work() -> None:
        try:
            for item in waiting:
                await do(item)
        except Exception as e:  # noqa: BLE001 - it is raised below, outside of the group, which would wrap it
            failed.append(e)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(at_once):
            group.start_soon(work)
    if failed:
        raise failed[0]
