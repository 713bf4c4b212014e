"""Checks of what a user writes, before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "PROVIDERS",
    "check_bucket",
    "check_count",
    "check_flag",
    "check_names",
    "check_namespace",
    "check_object",
    "check_path",
    "check_provider",
    "check_template",
    "check_text",
]

PROVIDERS = ("ais", "aws", "gcp", "azure", "oci", "ht", "hdfs")
_ALIASES = {"s3": "aws", "gs": "gcp", "az": "azure", "oc": "oci"}

_BUCKET = re.compile(r"[A-Za-z0-9_.-]+")
_NAMESPACE = re.compile(r"@?[A-Za-z0-9_-]*#[A-Za-z0-9_.-]*")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)(?:\.\.(\d+))?\}")
_SEGMENTS = {"", ".", ".."}


def check_text(text: Any, argument: str, *, empty: bool = True) -> str:
    """Text without NUL that UTF-8 can hold."""
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be text, not {type(text).__name__}")
    if not empty and not text:
        raise ValueError(f"{argument} must not be empty")
    if "\0" in text:
        raise ValueError(f"{argument} must not hold NUL: {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise ValueError(f"{argument} must be text that UTF-8 can hold, not {text!r}") from e
    return text


def check_flag(value: Any, argument: str) -> bool:
    """A bool and nothing that only looks like one."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, not {value!r}")
    return value


def check_count(value: Any, argument: str, *, least: int = 0, most: int | None = None) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{argument} must be at least {least}, not {value}")
    if most is not None and value > most:
        raise ValueError(f"{argument} must be at most {most}, not {value}")
    return value


def check_bucket(name: Any, argument: str = "bucket") -> str:
    """A bucket's name. The server takes letters, digits, '-', '_' and '.'; others it answers with 400."""
    check_text(name, argument, empty=False)
    if not _BUCKET.fullmatch(name) or name in _SEGMENTS:
        raise ValueError(f"{argument} may hold letters, digits, '-', '_' and '.' only, not {name!r}")
    return str(name)


def check_object(name: Any, argument: str = "name") -> str:
    """An object's name: any text that a path can carry.

    Go's server cleans `//`, `/./` and `/../` out of every path, encoded or not, so that another object would be meant.
    """
    check_text(name, argument, empty=False)
    segments = name.removesuffix("/").split("/")
    if not _SEGMENTS.isdisjoint(segments):
        raise ValueError(f"{argument} must not hold an empty segment, '.' or '..' between slashes: {name!r}")
    return str(name)


def check_names(names: Any, argument: str = "names") -> list[str]:
    """Several names of objects, at least one.

    Today's server takes an empty list for the whole bucket, and the targets of 3.3 end on a missing one.
    """
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} must be a list of names, not {type(names).__name__}")
    listed = [check_object(name, f"{argument}[{at}]") for at, name in enumerate(names)]
    if not listed:
        raise ValueError(f"{argument} must name an object at least: a server may take none for all")
    return listed


def check_template(template: Any, argument: str = "template") -> str:
    """A template with a range at least, `prefix{0001..0100}` or `prefix{0..100..10}suffix`.

    One without is a prefix to today's server, and an empty one is the whole bucket; 3.3 does nothing, silently.
    """
    check_text(template, argument, empty=False)
    rest = _RANGE.sub("", template)
    if "{" in rest or "}" in rest:
        raise ValueError(f"{argument}: a range is written {{first..last}} or {{first..last..step}}: {template!r}")
    ranges = _RANGE.findall(template)
    if not ranges:
        raise ValueError(f"{argument} needs a range such as {{0001..0100}}: {template!r} has none")
    for first, last, step in ranges:
        if int(first) > int(last):
            raise ValueError(f"{argument}: {first}..{last} runs backwards in {template!r}")
        if step and int(step) == 0:
            raise ValueError(f"{argument}: the step is 0 in {template!r}")
    return str(template)


def check_provider(provider: Any, argument: str = "provider") -> str | None:
    """A provider under its own name, or None for any."""
    if provider is None:
        return None
    check_text(provider, argument, empty=False)
    known = _ALIASES.get(provider, provider)
    if known not in PROVIDERS:
        raise ValueError(f"{argument} must be one of {', '.join(PROVIDERS)}, not {provider!r}")
    return str(known)


def check_namespace(namespace: Any, argument: str = "namespace") -> str | None:
    """A namespace as the server writes it, `@<cluster>#<name>`, or a bare name; None for the global one."""
    if namespace is None:
        return None
    check_text(namespace, argument, empty=False)
    written = namespace if "#" in namespace or namespace.startswith("@") else f"#{namespace}"
    written = written if "#" in written else f"{written}#"
    if not _NAMESPACE.fullmatch(written) or written == "#":
        raise ValueError(f"{argument} must be `name`, `#name` or `@cluster#name`, not {namespace!r}")
    return written


def check_path(path: Any, argument: str = "path") -> str:
    """An absolute path on a target. The server answers 400 to a relative one."""
    check_text(path, argument, empty=False)
    if not path.startswith("/"):
        raise ValueError(f"{argument} must be an absolute path on the target, not {path!r}")
    return str(path)
