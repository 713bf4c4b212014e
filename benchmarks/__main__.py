"""Measures aetcd, what a user would pick instead, and the floors: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.arena import Arena, memory
from benchmarks.contestants import contestants
from benchmarks.harness import grow, measure
from benchmarks.machine import circumstances
from benchmarks.report import as_json, as_markdown, shown_in
from benchmarks.results import Results
from benchmarks.rows import Amount, rows


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each row is measured (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of one measurement (%(default)s)")
    parser.add_argument("--survival", type=float, default=60, help="seconds of members killed in turn (%(default)s)")
    parser.add_argument("--count", type=int, help="at most so many operations of each: a look at whether it runs")
    parser.add_argument("--row", action="append", default=[], help="only rows whose name holds this; `growth` is one")
    parser.add_argument("--contestant", action="append", default=[], help="only those whose name holds this")
    parser.add_argument("--venvs", type=Path, help="where the peers are installed; without it they take no part")
    parser.add_argument("--results", type=Path, help="a folder for JSON, Markdown and plots")
    parser.add_argument("--readme", type=Path, help="a document whose table is replaced by this run's")
    parser.add_argument("--json", action="store_true", help="print JSON in place of Markdown")
    return parser.parse_args(given)


def chosen(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(word in name for word in wanted)


async def run(options: argparse.Namespace) -> Results:
    """All that was asked for."""
    amount = Amount(rounds=options.rounds, seconds=options.seconds, count=options.count, survival=options.survival)
    field = [one for one in contestants(options.venvs) if chosen(one.name, options.contestant)]
    results = Results(about={}, peers=[one.name for one in field if one.kind == "peer"])
    wanted = [row for row in rows(amount) if chosen(row.name, options.row)]
    async with AsyncExitStack() as at_the_end:
        for one in field:
            at_the_end.push_async_callback(one.close)
        async with Arena.server() as arena:
            results.about = circumstances(amount, etcd=arena.servers.version, data=memory())
            await arena.fill(amount.size(10_000))
            for row in wanted:
                if not row.cluster:
                    await measure(row, arena, field, amount, results)
                    save(results, options.results)
            for one in field:
                await one.close()
        if any(row.cluster for row in wanted):
            async with Arena.cluster() as arena:
                await arena.fill(0)
                for row in wanted:
                    if row.cluster:
                        await measure(row, arena, field, amount, results)
                        save(results, options.results)
        if options.count is None and chosen("growth", options.row):
            async with Arena.server() as arena:
                for one in field:
                    if one.name == "aetcd v3":
                        await grow(arena, one, amount, results)
    return results


def save(results: Results, folder: Path | None) -> None:
    """What there is so far: a long run that is ended early was not for nothing."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(as_json(results))
        (folder / "README.md").write_text(as_markdown(results))


def main() -> None:
    options = arguments()
    if shared := memory():
        tempfile.tempdir = str(shared)  # where the servers have their data
    if not any(chosen(one.name, options.contestant) for one in contestants(options.venvs)):
        sys.exit(f"--contestant: there is none whose name holds {' or '.join(options.contestant)}")
    results = asyncio.run(run(options))
    save(results, options.results)
    if options.results:
        from benchmarks.plots import draw

        draw(results, options.results)
    if options.readme:
        options.readme.write_text(shown_in(options.readme.read_text(), results))
    sys.stdout.write(as_json(results) if options.json else as_markdown(results))


main()
