"""Checks of what callers pass, before anything is sent: every error names the argument."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from aetcd.errors import ConfigError

__all__ = [
    "check_count",
    "check_database",
    "check_either",
    "check_flag",
    "check_id",
    "check_list",
    "check_revision",
    "check_seconds",
    "check_text",
    "check_type",
    "id_path",
    "name_path",
]

# What the server takes for a name, and beside that its own databases. `_dbs` and others come as events only.
_DATABASE = re.compile(r"_?[a-z][a-z0-9_$()+/-]*")
_REVISION = re.compile(r"[0-9]+-.+", re.DOTALL)
_RESERVED = ("_design/", "_local/")


def check_text(value: object, argument: str) -> str:
    """Text that is not empty."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be text, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{argument} must not be empty")
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise ValueError(f"{argument} must be text that UTF-8 can hold: {e.reason}") from e
    return value


def check_flag(value: object, argument: str) -> bool:
    """A bool, and nothing that is only true."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, not {value!r}")
    return value


def check_count(value: object, argument: str, *, least: int = 0) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{argument} must be {least} or more, not {value}")
    return value


def check_seconds(value: object, argument: str) -> float:
    """A time above nothing, and finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument} must be a number of seconds, not {value!r}")
    if not 0 < value < math.inf:
        raise ConfigError(f"{argument} must be more than 0 seconds and finite, not {value!r}")
    return value


def check_list(value: object, argument: str) -> list[str]:
    """Texts, and not one text that would be taken for its letters."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{argument} must be a list of texts, not {value!r}")
    listed = list(value)
    for entry in listed:
        if not isinstance(entry, str):
            raise TypeError(f"{argument} must hold texts only, not {entry!r}")
    return listed


def check_database(name: object, argument: str = "name") -> str:
    """A name that the server takes: lower case, digits and `_$()+-/`, beginning with a letter (reference, 1.3.1)."""
    text = check_text(name, argument)
    if not _DATABASE.fullmatch(text):
        raise ValueError(
            f"{argument}: {text!r} is no name of a database: lower-case letters, digits and _$()+-/ are possible, "
            "and a letter comes first"
        )
    return text


def check_id(id: object, argument: str = "id") -> str:
    """A document's: only `_design/` and `_local/` may begin with an underscore."""
    text = check_text(id, argument)
    if text.startswith("_") and not (text.startswith(_RESERVED) and text not in _RESERVED):
        raise ValueError(f"{argument}: {text!r} begins with an underscore, as only _design/ and _local/ documents may")
    return text


def check_revision(revision: object, argument: str = "revision") -> str:
    """`N-hash`."""
    text = check_text(revision, argument)
    if not _REVISION.fullmatch(text):
        raise ValueError(f"{argument}: {text!r} is no revision, such as 1-967a00dff5e02add41819138abb3284d")
    return text


def check_type(kind: Any, argument: str = "type") -> None:
    """A class that JSON can be read as."""
    if kind is None:
        return
    try:
        msgspec.json.Decoder(kind)
    except (TypeError, NameError) as e:
        raise TypeError(f"{argument} must be one that JSON can be read as, not {kind!r}: {e}") from e


def name_path(*segments: str) -> str:
    """Segments of a path, each escaped whole: a slash within one is `%2f`."""
    return "".join(f"/{quote(segment, safe='@:$()').replace('%2F', '%2f')}" for segment in segments)


def id_path(id: str) -> str:
    """A document's path within its database. The slash of `_design/x` is one of the path (reference, 1.4.1)."""
    for reserved in _RESERVED:
        if id.startswith(reserved):
            return name_path(reserved[:-1], id.removeprefix(reserved))
    return name_path(id)


def check_either(argument: str, value: object, choices: Sequence[str]) -> str:
    """One of a few words."""
    if value not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)
