"""Names and values of a configuration, one or many."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aetcd.aistore._arguments import check_text
from aetcd.aistore._codec import action
from aetcd.aistore._dialect import Dialect

__all__ = ["config_request"]

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


def config_request(
    dialect: Dialect, path: str, name: str | Mapping[str, Any], value: Any
) -> tuple[str, str, list[tuple[str, str]], bytes | None]:
    """Method, path, query and body that set one name (as JSON) or many (in the query)."""
    word = dialect.action("set config")
    if isinstance(name, str):
        return "PUT", path, [], action(word, _checked(name), _text(name, value))
    if not isinstance(name, Mapping):
        raise TypeError(f"name must be text, or a mapping of names to values, not {type(name).__name__}")
    if value is not None:
        raise ValueError("value: the values of many names stand in their mapping")
    if not name:
        raise ValueError("name: the mapping is empty")
    return "PUT", f"{path}/{word}", [(_checked(one), _text(one, new)) for one, new in name.items()], None


def _checked(name: str) -> str:
    check_text(name, "name", empty=False)
    if not _NAME.fullmatch(name):
        raise ValueError(f"name must be dotted, such as `periodic.stats_time`, not {name!r}")
    return name


def _text(name: str, value: Any) -> str:
    """The server takes text only: a number in JSON is answered by 400."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if value is None:
        raise ValueError(f"value: {name} has none")
    return check_text(value, "value")
