"""Key-value zones of the double."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from doubles.nginx_errors import Refused


def _format(text: str) -> Refused:
    return Refused("KeyvalFormatError", text)


@define
class KeyvalZone:
    """One zone. timeout: Seconds until a pair goes, of `keyval_zone ... timeout=`; None without."""

    clock: Callable[[], float]
    timeout: float | None = None
    pairs: dict[str, tuple[str, float | None]] = field(factory=dict)

    def content(self) -> dict[str, str]:
        """What has not expired."""
        now = self.clock()
        self.pairs = {key: pair for key, pair in self.pairs.items() if pair[1] is None or pair[1] > now}
        return {key: value for key, (value, _) in self.pairs.items()}

    def add(self, body: Mapping[str, Any], version: int) -> None:
        """POST."""
        checked = self._check(body, version)
        present = self.content()
        if len(checked) > 1 and present:
            raise _format("only one key can be added")
        if checked.keys() & present.keys():
            raise Refused("KeyvalKeyExists", "key already exists")
        for key, (value, span) in checked.items():
            if value is None:
                raise _format("key required")
            self._put(key, value, span)

    def change(self, body: Mapping[str, Any], version: int) -> None:
        """PATCH: one key; null takes it out."""
        checked = self._check(body, version)
        if len(checked) > 1:
            raise _format("only one key can be updated")
        ((key, (value, span)),) = checked.items()
        if key not in self.content():
            raise Refused("KeyvalKeyNotFound", "keyval key not found")
        if value is None:
            del self.pairs[key]
        else:
            self._put(key, value, span)

    def _put(self, key: str, value: str, span: float | None) -> None:
        span = self.timeout if span is None else span
        self.pairs[key] = (value, None if span is None else self.clock() + span)

    def _check(self, body: Mapping[str, Any], version: int) -> dict[str, tuple[str | None, float | None]]:
        if not body:
            raise _format("key required")
        return {key: self._pair(value, version) for key, value in body.items()}

    def _pair(self, value: Any, version: int) -> tuple[str | None, float | None]:
        if value is None or isinstance(value, str):
            return value, None
        if version < 5 or not isinstance(value, dict):
            # That a number is no value is assumed: the reference speaks of objects and lists only.
            raise _format("nested object or list" if isinstance(value, dict | list) else "invalid value")
        if (
            value.keys() != {"value", "expire"}
            or not isinstance(value["value"], str)
            or type(value["expire"]) is not int
        ):
            raise _format("invalid key format")
        if self.timeout is None:
            raise _format("keyval timeout is not enabled")
        return value["value"], value["expire"] / 1000
