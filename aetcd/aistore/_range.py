"""Many objects at once: a list of names, or a template that stands for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

from aetcd.aistore._arguments import check_count, check_names, check_template, check_text

__all__ = ["Range", "selection"]


@frozen
class Range:
    """Names with a number in them: `Range("shard-", 1, 100, width=4)` is `shard-{0001..0100}`.

    step: Every so many.
    width: Digits at least, with zeros before.
    suffix: What stands behind the number.
    """

    prefix: str = ""
    first: int = 0
    last: int = 0
    step: int = 1
    width: int = 1
    suffix: str = field(default="", kw_only=True)

    def __attrs_post_init__(self) -> None:
        for text, argument in ((self.prefix, "prefix"), (self.suffix, "suffix")):
            if not {"{", "}"}.isdisjoint(check_text(text, argument)):
                raise ValueError(f"{argument} must not hold braces: {text!r}")
        check_count(self.first, "first")
        check_count(self.last, "last")
        check_count(self.step, "step", least=1)
        check_count(self.width, "width", least=1, most=18)
        if self.first > self.last:
            raise ValueError(f"last must not be before first: {self.first}..{self.last}")

    @property
    def template(self) -> str:
        """As the server reads it."""
        step = f"..{self.step}" if self.step != 1 else ""
        return f"{self.prefix}{{{self.first:0{self.width}}..{self.last:0{self.width}}{step}}}{self.suffix}"

    def names(self) -> Iterable[str]:
        """The names that it stands for."""
        return (
            f"{self.prefix}{number:0{self.width}}{self.suffix}"
            for number in range(self.first, self.last + 1, self.step)
        )

    def __str__(self) -> str:
        return self.template


def selection(names: Iterable[str] | Range | None, template: str | None) -> dict[str, Any]:
    """The value of a list or range operation, never empty.

    Without it the targets of 3.3 end, both; today's server takes an empty one for the whole bucket.
    """
    if (names is None) == (template is None):
        raise ValueError("names or template: one of the two is needed")
    if isinstance(names, Range):
        return {"template": names.template}
    if template is not None:
        return {"template": check_template(template)}
    return {"objnames": check_names(names)}
