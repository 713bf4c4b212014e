"""The figures, as a person reads them and as a program does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.goals import goals
from benchmarks.results import Results, Spread
from benchmarks.rows import GROWTH
from benchmarks.tables import line, number, spread

__all__ = ["as_json", "as_markdown", "shown_in"]

BEGIN, END = "<!-- written by nox -s bench -->\n", "<!-- to here -->\n"

CENTRAL = ("aetcd v3", "aetcd v2", "raw aiohttp v3", "raw aiohttp v2", "raw grpc.aio")


def as_json(results: Results) -> str:
    """One JSON object with every measurement."""
    told = {"about": results.about, "rows": results.rows, "growth": results.growth, "goals": _verdicts(results)}
    return msgspec.json.format(msgspec.json.encode(told), indent=1).decode() + "\n"


def as_markdown(results: Results) -> str:
    """The short table, the goals, and all rows."""
    return "\n".join([*_about(results), *_short(results), *_goals(results), *_growth(results), *_rows(results)]) + "\n"


def shown_in(text: str, results: Results) -> str:
    """A document with the short table of these results in its place. Raises ValueError where it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the table: {BEGIN.strip()} and {END.strip()} are missing")
    about = results.about
    words = f"{about['date']}, {about['machine']}; load before {about['load before']}; {about['run']}"
    return "".join([before, begin, f"Measured on {words}.\n\n", "\n".join(_table(results)), "\n", end, after])


def _about(results: Results) -> Iterator[str]:
    yield "# Results\n"
    yield "Written by `nox -s bench`. [How each row is made fair](../README.md), and what cannot be won.\n"
    for name, text in results.about.items():
        told = ", ".join(f"{who} {version}" for who, version in text.items()) if isinstance(text, dict) else text
        yield f"- {name}: {told}"
    yield ""


def _short(results: Results) -> Iterator[str]:
    yield "## In short\n"
    yield "CPU is the client's, for an operation. The best peer is the one that is best in the first figure.\n"
    yield from _table(results)
    yield ""


def _table(results: Results) -> Iterator[str]:
    names = [name for name in CENTRAL if any(name in row for row in results.rows.values())]
    header = ["", "", *names, *(["best peer"] if results.peers else [])]
    yield line(header)
    yield line(["-"] * len(header))
    for row, shown in results.short.items():
        cells = [_cell(results, row, name, shown) for name in names]
        if results.peers:
            cells.append(_best(results, row, shown))
        yield line([row, " / ".join(shown), *cells])


def _cell(results: Results, row: str, name: str, figures: Sequence[str]) -> str:
    found = [results.spread(row, name, figure) for figure in figures]
    return " / ".join(number(one.middle) for one in found if one) or "-"


def _best(results: Results, row: str, figures: Sequence[str]) -> str:
    try:
        best = results.best(row, figures[0])
    except LookupError:
        return "-"
    return f"{_cell(results, row, best, figures)} {best}"


def _verdicts(results: Results) -> list[str]:
    return [goal.verdict(results) for goal in goals(results)]


def _goals(results: Results) -> Iterator[str]:
    yield "## Goals\n\n| Goal | | measured | |\n|-|-|-|-|"
    yield from _verdicts(results)
    yield ""


def _growth(results: Results) -> Iterator[str]:
    if not results.growth:
        return
    yield "## Growth\n\nThe cost of one, against how many there are; flat is a straight line for all.\n"
    for growth in GROWTH:
        costs = {size: Spread.of(found) for size, found in results.growth[growth.name].items()}
        yield line([growth.name, *(f"{size:,}" for size in costs)])
        yield line(["-"] * (len(costs) + 1))
        yield line([growth.figure, *(spread(cost) for cost in costs.values())]) + "\n"


def _rows(results: Results) -> Iterator[str]:
    yield "## All rows\n\nMiddle of the rounds, and their quartiles.\n"
    for row, found in results.rows.items():
        figures = results.figures[row]
        yield f"### {row}\n"
        yield line(["", *figures])
        yield line(["-"] * (len(figures) + 1))
        for name, measured in found.items():
            cells = [spread(results.spread(row, name, figure)) for figure in figures]
            yield line([name, measured, *cells[1:]] if isinstance(measured, str) else [name, *cells])
        yield ""
