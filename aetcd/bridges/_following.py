"""What a bridge knows of the store, and what is wrong at the moment."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aetcd.bridges._duty import Duty
from aetcd.errors import AetcdError
from aetcd.recipes._waiting import Pauses

__all__ = ["RETRY", "Following", "Troubles"]

RETRY = (0.1, 5.0)  # seconds: the longest pause after the first failure, and after many

logger = logging.getLogger("aetcd")


class Troubles:
    """What is wrong, by what it is wrong with: the gravest first."""

    ORDER = ("bridge", "target", "election", "store")

    def __init__(self, name: str) -> None:
        self._name = name
        self._errors: dict[str, Exception] = {}

    @property
    def first(self) -> Exception | None:
        """The gravest."""
        return next((self._errors[of] for of in self.ORDER if of in self._errors), None)

    def failed(self, of: str, error: Exception) -> None:
        """Keep it, and log it where it is another one than before: a retry is no news."""
        before = self._errors.get(of)
        self._errors[of] = error
        if type(before) is not type(error):
            logger.warning("the bridge %s: %s", self._name, error)

    def succeeded(self, of: str) -> None:
        """It went well again."""
        if self._errors.pop(of, None) is not None:
            logger.info("the bridge %s goes on", self._name)

    def ended(self, error: Exception) -> None:
        """The bridge works no more; the first reason counts."""
        self._errors.setdefault("bridge", error)

    def forget(self, of: str) -> None:
        """It is no longer this bridge's affair."""
        self._errors.pop(of, None)


class Following:
    """A mirror of the entries, made anew where one has ended for good, as by a lost permission.

    changed: Set at each change; cleared by who has taken notice.
    """

    def __init__(self, duty: Duty[Any], troubles: Troubles) -> None:
        self.changed = asyncio.Event()
        self.mirror = duty.mirror()
        self._duty = duty
        self._troubles = troubles

    async def run(self) -> None:
        """Tell of each change, for ever."""
        pauses = Pauses(*RETRY)
        while True:
            differences = self.mirror.differences()
            self.changed.set()
            try:
                while True:
                    await differences.batch()
                    self.changed.set()
                    pauses.reset()
            except AetcdError as e:
                self._troubles.failed("store", e)
            await self._renew(pauses)
            self._troubles.succeeded("store")

    async def _renew(self, pauses: Pauses) -> None:
        while True:
            await pauses.wait()
            mirror = self._duty.mirror()
            try:
                await mirror.__aenter__()
            except AetcdError as e:
                self._troubles.failed("store", e)
            else:
                # Nothing is awaited between the two, or a cancel would leave the new one running.
                ended, self.mirror = self.mirror, mirror
                await ended.__aexit__(None, None, None)
                return
