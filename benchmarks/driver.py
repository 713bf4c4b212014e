"""Runs one client in its own environment: `python -I driver.py ADAPTER SETTINGS URL...`.

Each line on its input names a case and its arguments; its output answers with the figures. The client is connected once
for all cases.

What the import of the client takes is measured first, in an interpreter that has loaded next to nothing, as a program's
own would be: so all else is imported where it is used.
"""

from __future__ import annotations

import importlib
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Last, so that a peer which has the name of this project's package is found in its own environment.
sys.path.append(__file__.rpartition("/benchmarks/")[0])


async def serve(adapter: dict[str, Any], settings: dict[str, Any], urls: list[str], hello: dict[str, Any]) -> None:
    """Answer one line after the other until there are no more."""
    import asyncio
    import json

    from benchmarks.cases import CASES
    from benchmarks.contract import Absent
    from benchmarks.stage import Stage

    stage = Stage()
    async with adapter["connect"](urls, **settings) as client:
        stage.say(**hello)
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            try:
                async with asyncio.timeout(asked["limit"]):
                    stage.say(result=await CASES[asked["case"]](client, stage, **asked["given"]))
            except Exception as e:  # noqa: BLE001 - whatever a client raises is told
                stage.say(**told(e, Absent))


def told(error: BaseException, absent: type[Exception]) -> dict[str, str]:
    """Why there are no figures."""
    if isinstance(error, BaseExceptionGroup):
        return told(error.exceptions[0], absent)
    if isinstance(error, absent):
        return {"absent": str(error)}
    return {"failed": f"{type(error).__name__}: {str(error)[:200]}".rstrip(": ")}


def main(path: str, settings: str, *urls: str) -> None:
    """Measure the import before anything else is loaded, and go on."""
    with open(path) as adapter_file:  # noqa: PTH123 - pathlib would be loaded
        module = next(line.split('"')[1] for line in adapter_file if line.startswith("MODULE = "))
    began, used = time.perf_counter(), time.process_time()
    importlib.import_module(module)
    wall, cpu = time.perf_counter() - began, time.process_time() - used

    import asyncio
    import json
    import runpy
    from importlib.metadata import version

    adapter = runpy.run_path(path)
    hello = {"import": {"wall": wall, "cpu": cpu}, "version": version(adapter["DISTRIBUTION"])}
    asyncio.run(serve(adapter, json.loads(settings), list(urls), hello))


main(*sys.argv[1:])
