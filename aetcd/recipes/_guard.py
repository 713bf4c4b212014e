"""The guard: a block of code that relies on something is cancelled when that can no longer be trusted."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal

import anyio

from aetcd.errors import CoordinationError
from aetcd.recipes._contenders import Contender

__all__ = ["Guard", "OnLost", "check_on_lost"]

OnLost = Literal["cancel", "flag"]


def check_on_lost(on_lost: str) -> None:
    """Raises ValueError, naming `on_lost`."""
    if on_lost not in {"cancel", "flag"}:
        raise ValueError(f'on_lost must be "cancel" or "flag", not {on_lost!r}')


class Guard:
    """Stands around the block of a lock or a leadership: made when it is entered, left when it ends.

    With `on_lost="cancel"` the block is cancelled as soon as its contender's `lost` is set.
    """

    def __init__(self, contender: Contender, on_lost: OnLost) -> None:
        self._contender = contender
        self._cancels = on_lost == "cancel"
        self._scope = anyio.CancelScope()
        self._scope.__enter__()
        if self._cancels:
            contender.upon_loss(self._scope.cancel)

    def leave(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Leave the block. Whether it was cancelled by the guard, and by nobody else."""
        self._contender.upon_loss(None)
        ended = bool(self._scope.__exit__(kind, error, trace))
        task = asyncio.current_task()
        # Somebody else has asked the task to end too, before or at the same moment.
        return ended and not (task is not None and task.cancelling())

    def verdict(self, loss: CoordinationError, error: BaseException | None, *, cancelled: bool, lost: bool) -> None:
        """Raise `loss` where the block relied on what was lost; the block's own exception is its cause.

        A cancellation from outside, or the end of the program, goes before it.
        """
        if not cancelled and not isinstance(error, Exception | None):
            return
        if cancelled or (lost and self._cancels):
            raise loss from (error if isinstance(error, Exception) else None)
