"""What is left to the garbage collector."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def circles() -> Iterator[Counter[str]]:
    """Counts, at the end of the block, this package's objects that only the collector could be rid of, by type."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = [type(left) for left in gc.garbage]
        found.update(kind.__qualname__ for kind in kinds if kind.__module__.startswith("aetcd."))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
