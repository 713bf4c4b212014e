"""Promises, and what was measured of each."""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import frozen

__all__ = ["Promise", "report", "say"]

STARTED = time.monotonic()


def say(what: str, answer: object = "") -> None:
    """A line of the story, with the seconds since its beginning."""
    print(f"{time.monotonic() - STARTED:6.2f}  {what:<46} {answer}".rstrip(), flush=True)


@frozen
class Promise:
    """what: The promise, in words.
    figure: What was measured.
    kept: Whether the figure keeps the promise.
    """

    what: str
    figure: str
    kept: bool

    def __str__(self) -> str:
        return f"{'kept' if self.kept else 'BROKEN':<8}{self.what:<53} {self.figure}"


def report(promises: Sequence[Promise]) -> int:
    """Print a line for each promise, and the verdict; the exit code is 1 where one is broken, or none was measured."""
    print("\nPromises", *promises, sep="\n", flush=True)
    broken = [promise.what for promise in promises if not promise.kept]
    if broken or not promises:
        print(f"\n{len(broken)} of {len(promises)} broken:", *broken, sep="\n    ", flush=True)
        return 1
    print(f"\nAll {len(promises)} kept, in {time.monotonic() - STARTED:.0f} s.", flush=True)
    return 0
