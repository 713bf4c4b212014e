"""Properties of buckets as a user writes them, nested or dotted, checked against the cluster's version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aetcd.aistore._arguments import check_text
from aetcd.aistore._dialect import Dialect

__all__ = ["nested"]


def nested(props: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Nested, as the server wants them.

    Raises ValueError for a name that this version does not know: 3.3 answers 200 to it, and ignores it.
    """
    if not isinstance(props, Mapping):
        raise TypeError(f"props must be a mapping, not {type(props).__name__}")
    flat = dict(_flat(props, ""))
    if not flat:
        raise ValueError("props must hold a property at least")
    unknown = sorted(name for name in flat if not dialect.knows_prop(name))
    if unknown:
        raise ValueError(f"props: AIStore {dialect} has no {', '.join(unknown)}{_hint(unknown[0], dialect)}")
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        # The mask of rights is a 64-bit number, which both versions take as text only.
        place[last] = str(value) if name in {"access", "features"} else value
    return result


def _flat(props: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in props.items():
        check_text(name, "props", empty=False)
        whole = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found += _flat(value, f"{whole}.")
        elif value is None:
            raise ValueError(f"props: {whole} has no value")
        else:
            found.append((whole, value))
    return found


def _hint(name: str, dialect: Dialect) -> str:
    near = [known for known in dialect.props if known.startswith(name) or name.startswith(known)]
    return f": is {near[0]} meant?" if near else ""
