"""Running what a page of the documentation shows."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

__all__ = ["run"]


async def run(code: str, names: dict[str, Any], *, page: Path | str, line: int) -> None:
    """A piece, as in `python -m asyncio`; it stands behind so many lines, so that tracebacks name the page's own."""
    compiled = compile("\n" * line + code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    running = eval(compiled, names)
    if inspect.isawaitable(running):
        await running
