"""What a fault returns: done already, and still fit for `await`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

__all__ = ["Done"]


async def _at_once() -> None:
    return


class Done(Coroutine[Any, Any, None]):
    """The order was given when the call returned; awaiting it waits until the effect can be seen.

    `proxy.cut()` and `await proxy.cut()` cut alike, and neither warns of a coroutine that was never awaited. It may be
    awaited more than once, and be handed to `asyncio.create_task`. A cancel while it waits takes nothing back.
    """

    def __init__(self, wait: Callable[[], Coroutine[Any, Any, None]] = _at_once) -> None:
        self._wait = wait
        self._driven: Coroutine[Any, Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        return self._wait().__await__()

    # The rest makes it a coroutine in the eyes of asyncio, whose tasks take nothing less.
    def send(self, value: Any) -> Any:
        return self._started().send(value)

    def throw(self, *error: Any) -> Any:
        return self._started().throw(*error)

    def close(self) -> None:
        if self._driven is not None:
            self._driven.close()

    def _started(self) -> Coroutine[Any, Any, None]:
        if self._driven is None:
            self._driven = self._wait()
        return self._driven
