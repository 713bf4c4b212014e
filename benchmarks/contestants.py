"""Who is measured, and the processes that they run in: one each, in an environment of its own."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

from attrs import define, field

__all__ = ["Contestant", "Failed", "contestants"]

HERE = Path(__file__).parent
STARTS_WITHIN = 30.0
GOES_WITHIN = 5.0

Outside = Callable[[Any], Awaitable[None]]


class Failed(Exception):
    """There are no figures. The text says why."""


@define(eq=False, kw_only=True)
class Contestant:
    """One client, floor or peer.

    variant: A setting of a client that stands in the table already; in the rows of single keys only.
    python: The interpreter of its environment.
    told: What its process said of itself: the version, and what its import took.
    """

    name: str
    kind: Literal["ours", "floor", "peer"]
    protocol: Literal["v3", "v2"]
    adapter: str
    settings: Mapping[str, Any] = field(factory=dict)
    variant: bool = False
    python: Path = Path(sys.executable)
    told: dict[str, Any] = field(factory=dict, init=False)
    _process: Process | None = field(default=None, init=False)
    _complaints: IO[bytes] | None = field(default=None, init=False)
    _urls: Sequence[str] = field(default=(), init=False)

    async def connect(self, urls: Sequence[str]) -> None:
        """Have its process run, connected to these; the one that does so already stays. Raises Failed."""
        if self._process is not None and self._urls == urls:
            return
        await self.close()
        if not self.python.exists():
            raise Failed("not installed")
        adapter = HERE / "peers" / f"{self.adapter}.py"
        settings = json.dumps(dict(self.settings))
        command = [str(self.python), "-I", str(HERE / "driver.py"), str(adapter), settings, *urls]
        # What it complains of goes to a file: of a pipe that nobody reads its process would come to a stop, and asyncio
        # would never see the end of it.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its process
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=self._complaints)
        self._urls = urls
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                self.told = await self._heard()
        except BaseException as e:
            await self.close()
            if isinstance(e, TimeoutError):
                raise Failed("it did not start in time") from e
            raise

    async def run(
        self, case: str, given: Mapping[str, Any], *, limit: float, outside: Outside | None
    ) -> dict[str, Any]:
        """The figures of one case.

        limit: Seconds until it is given up.
        outside: What happens beside it from the moment when it is ready; it is called with the queue of its progress.

        Raises Failed. Who failed is in an unknown state, and its process is ended.
        """
        process, progress, beside = self._process, asyncio.Queue[int](), None
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(json.dumps({"case": case, "given": given, "limit": limit}).encode() + b"\n")
        try:
            async with asyncio.timeout(limit + GOES_WITHIN):
                while True:
                    told = await self._heard()
                    if "ready" in told and outside is not None:
                        beside = asyncio.ensure_future(outside(progress))
                    elif "progress" in told:
                        progress.put_nowait(told["progress"])
                    elif "result" in told:
                        return dict(told["result"])
                    elif "absent" in told:
                        raise Failed(told["absent"])
                    elif "failed" in told:
                        raise Failed(f"failed: {told['failed']}")
        except TimeoutError as e:
            await self.close()
            raise Failed(f"failed: no end after {limit:g} s") from e
        except Failed:
            await self.close()
            raise
        finally:
            if beside is not None:
                beside.cancel()
                (error,) = await asyncio.gather(beside, return_exceptions=True)
                if isinstance(error, Exception):
                    raise Failed(f"failed: what happens beside it: {error!r}"[:200])

    async def close(self) -> None:
        """End its process."""
        process, self._process = self._process, None
        if process is None:
            return
        complaints, self._complaints = self._complaints, None
        assert complaints is not None
        assert process.stdin is not None
        process.stdin.close()
        with complaints:
            try:
                async with asyncio.timeout(GOES_WITHIN):
                    await process.communicate()  # it reads what is still said
            except TimeoutError:
                process.kill()
                await process.communicate()

    async def _heard(self) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        while line := await process.stdout.readline():
            with suppress(json.JSONDecodeError):  # some libraries print
                if isinstance(told := json.loads(line), dict):
                    return told
        assert self._complaints is not None
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip().splitlines()
        raise Failed(f"failed: {said[-1] if said else 'its process ended'}"[:200])


def contestants(venvs: Path | None) -> list[Contestant]:
    """All of them; the peers only where `venvs` has their environments, each under the name of its adapter."""
    found = [
        Contestant(
            name="raw aiohttp v3", kind="floor", protocol="v3", adapter="raw_aiohttp", settings={"protocol": "v3"}
        ),
        Contestant(name="aetcd v3", kind="ours", protocol="v3", adapter="ours", settings={"protocol": "v3"}),
        Contestant(
            name="aetcd v3, coalesce=False",
            kind="ours",
            protocol="v3",
            adapter="ours",
            settings={"protocol": "v3", "coalesce": False},
            variant=True,
        ),
        Contestant(
            name="aetcd v3, coalesce_writes",
            kind="ours",
            protocol="v3",
            adapter="ours",
            settings={"protocol": "v3", "coalesce_writes": True},
            variant=True,
        ),
        Contestant(
            name="raw aiohttp v2", kind="floor", protocol="v2", adapter="raw_aiohttp", settings={"protocol": "v2"}
        ),
        Contestant(name="aetcd v2", kind="ours", protocol="v2", adapter="ours", settings={"protocol": "v2"}),
    ]
    if venvs is None:
        return found

    def python(adapter: str) -> Path:
        return venvs / adapter / "bin" / "python"

    grpc = "raw_grpc"
    found.append(Contestant(name="raw grpc.aio", kind="floor", protocol="v3", adapter=grpc, python=python(grpc)))
    found += [
        Contestant(name=name, kind="peer", protocol=protocol, adapter=adapter, python=python(adapter))
        for name, protocol, adapter in PEERS
    ]
    return found


PEERS: tuple[tuple[str, Literal["v3", "v2"], str], ...] = (
    ("aetcd of PyPI", "v3", "pypi_aetcd"),
    ("etcetra", "v3", "pypi_etcetra"),
    ("etcd3aio", "v3", "pypi_etcd3aio"),
    ("etcd-client-py", "v3", "pypi_etcd_client_py"),
    ("async-etcd3gw", "v3", "pypi_async_etcd3gw"),
    ("aio-etcd", "v2", "pypi_aio_etcd"),
)
