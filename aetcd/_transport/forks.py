"""Whether this process is a fork of the one in which something was made, told without asking the system each time."""

from __future__ import annotations

import os

__all__ = ["age"]

age = 0
"""How many forks lie between this process and the one that imported the module."""


def _grow_older() -> None:
    global age  # noqa: PLW0603
    age += 1


os.register_at_fork(after_in_child=_grow_older)
