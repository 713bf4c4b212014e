"""Background work of one client, all in one task that the client owns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup

__all__ = ["Job", "Supervisor"]

logger = logging.getLogger("aetcd")


class Job:
    """One piece of background work: it can be cancelled, and waited for."""

    __slots__ = ("_done", "_function", "_scope", "error", "name")

    def __init__(self, function: Callable[[], Awaitable[Any]], name: str) -> None:
        self.name = name
        self.error: Exception | None = None
        self._function = function
        self._scope = anyio.CancelScope()
        self._done = asyncio.Event()

    def cancel(self) -> None:
        """Ask it to end. It ends at its next await, after its own clean-up."""
        self._scope.cancel()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    async def wait(self) -> None:
        """Wait for its end. Its failure is in `error`, and is not raised here."""
        await self._done.wait()

    async def run(self) -> None:
        """Do the work, and keep its failure from everything else that the client runs."""
        function = self._function
        del self._function  # it may know this job: a circle for the collector
        try:
            with self._scope:
                await function()
        except Exception as e:  # the border: one job's failure must not cancel the others, nor a caller
            self.error = e
            logger.exception("background work %r of a client failed", self.name)
        finally:
            self._done.set()

    def __repr__(self) -> str:
        return f"<Job {self.name!r} {'done' if self.done else 'running'}>"


class Supervisor:
    """The one task per client in which its background work lives, from the first piece of it on.

    It enters and leaves its own task group, so that clients may be opened and closed by any tasks in any order, and no
    scope stays open in a caller's task.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._group: TaskGroup | None = None
        self._early: list[Job] = []
        self._closing = asyncio.Event()

    def spawn(self, function: Callable[[], Awaitable[Any]], *, name: str) -> Job:
        """Run `function` in the background until it ends, is cancelled, or the client closes. Needs a running loop."""
        job = Job(function, name)
        if self._group is not None:
            self._group.start_soon(job.run, name=f"aetcd {name}")
            return job
        self._early.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="aetcd supervisor")
        return job

    async def aclose(self) -> None:
        """Cancel all work and wait until it has ended."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                for job in self._early:
                    group.start_soon(job.run, name=f"aetcd {job.name}")
                self._early.clear()
                await self._closing.wait()
                group.cancel_scope.cancel()
        finally:
            self._group = None
