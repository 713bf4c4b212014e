"""The names of actions in both dialects, and how Go prints a message."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from doubles.aistore_node import Refusal
from doubles.aistore_state import JSON

OLD = {
    "createlb": "create",
    "destroylb": "destroy",
    "renamelb": "rename",
    "copybck": "copy",
    "evictcb": "evict_bucket",
    "listobj": "list",
    "summarybck": "summary",
    "invallistobjcache": "forget_list",
    "setbprops": "set",
    "resetbprops": "reset",
    "makencopies": "mirror",
    "ecencode": "ec",
    "prefetch": "prefetch",
    "delete": "delete",
    "evictobj": "evict",
    "renameobj": "rename_object",
    "promote": "promote",
    "setconfig": "set_config",
    "shutdown": "shutdown",
    "start": "start",
    "stop": "stop",
    "startmaintenance": "start_maintenance",
    "stopmaintenance": "stop_maintenance",
    "decommission": "decommission",
}

CURRENT = {
    "create-bck": "create",
    "destroy-bck": "destroy",
    "move-bck": "rename",
    "copy-bck": "copy",
    "evict-remote-bck": "evict_bucket",
    "list": "list",
    "summary-bck": "summary",
    "set-bprops": "set",
    "reset-bprops": "reset",
    "make-n-copies": "mirror",
    "ec-encode": "ec",
    "prefetch-listrange": "prefetch",
    "delete-listrange": "delete",
    "evict-listrange": "evict",
    "rename-obj": "rename_object",
    "promote": "promote",
    "set-config": "set_config",
    "shutdown": "shutdown",
    "start": "start",
    "stop": "stop",
    "start-maintenance": "start_maintenance",
    "stop-maintenance": "stop_maintenance",
    "decommission-node": "decommission",
    "shutdown-node": "shutdown_node",
}


def meaning(action: object, *, old: bool) -> str:
    """What an action means; empty for one that the dialect does not know."""
    return (OLD if old else CURRENT).get(str(action), "")


def kind(sort: str, *, old: bool) -> str:
    """The wire's word for an action of ours: it is the kind of its job."""
    words = OLD if old else CURRENT
    return next(word for word, meant in words.items() if meant == sort)


def go(value: object) -> str:
    """As Go's %v prints it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case dict():
            return "map[" + " ".join(f"{key}:{go(value[key])}" for key in sorted(value)) + "]"
        case list():
            return "[" + " ".join(go(item) for item in value) + "]"
    return str(value)


def unexpected(message: JSON, *, pointer: bool = True) -> Refusal:
    """3.3's refusal of an action."""
    told = f"{message.get('action', '')} {message.get('name', '')} {go(message.get('value'))}"
    return Refusal(400, f"unexpected action message <- JSON [{'&' if pointer else ''}{{{told}}}]")


def expand(template: str) -> list[str] | None:
    """The names of `prefix{0001..0100..3}suffix`, with any number of ranges. None: it is malformed."""
    parts: list[list[str]] = []
    rest = template
    while "{" in rest:
        before, _, rest = rest.partition("{")
        inside, closed, rest = rest.partition("}")
        found = list(_range(inside))
        if not closed or not found:
            return None
        parts += [[before], found]
    if "}" in rest:
        return None
    return ["".join(chosen) for chosen in product(*parts, [rest])]


def _range(inside: str) -> Iterator[str]:
    bounds = inside.split("..")
    if len(bounds) not in (2, 3) or not all(bound.isdigit() for bound in bounds):
        return
    first, last = int(bounds[0]), int(bounds[1])
    step = int(bounds[2]) if len(bounds) == 3 else 1
    if first > last or not step:
        return
    width = min(len(bounds[0]), len(bounds[1]))
    for number in range(first, last + 1, step):
        yield f"{number:0{width}}"
