"""The demo: a stranger's first run. It keeps its promises, says when it does not, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import aetcd
from aetcd.testing import EtcdServer
from examples.demo import __main__ as demo
from examples.demo import acts, candidate
from examples.demo.election import candidate as candidate_process
from examples.demo.promises import Promise, report

CHECKOUT = Path(__file__).parents[2]

PROMISES = {
    "a value is read as it was written": r"3 of 3",
    "a key ends with its TTL of 2 s": r"after \d\.\d s",
    "a refreshed key outlives its first TTL": r"visitors/2",
    "of two swaps from one state one wins": r"won, lost; 3 left",
    "a watch gives every change once and in order": r"41 of 41",
    "a lock has one holder at a time": r"1 at most",
    "fencing tokens grow from holder to holder": r"\d+ < \.\.\. < \d+",
    "what the lock guards loses no update": r"10 of 10",
    "a killed leader is followed when its TTL of 3 s ends": r"after \d\.\d s",
    "one that resigns is followed at once": r"after \d\.\d\d s",
    "each leader's fencing token is larger": r"\d+ < \d+ < \d+",
    "leader killed: the next local read within 10 s": r"\d\.\d\d s",
    "leader killed: the next read within 10 s": r"\d\.\d\d s",
    "leader killed: the next write within 10 s": r"\d\.\d\d s",
    "leader killed: the next watch event within 10 s": r"\d\.\d\d s",
    "no read fails": r"0 of \d+ failed",
    "no acknowledged write is lost": r"0 of \d+ lost",
    "no write is applied twice": r"0 of \d+ twice",
    "a write whose fate is open says so": r"\d+ OutcomeUnknown, \d+ of them applied",
    "the watch gives every change once and in order": r"(\d+) of \1",
    "the lock's holder stays the holder": r"at (\d+) of \1 looks",
    "its rival waits, and gets a larger token": r"\d+ < \d+",
}


class Run:
    """A run of the demo, and what belongs to it: its processes carry the temporary folder in their environment."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder

    def until(self, text: str) -> None:
        """Read what it prints until a line with `text` in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return
        pytest.fail(f"the demo ended before it printed {text!r}")

    def rest(self) -> str:
        """The rest of what it prints, once it has ended."""
        out, _ = self.process.communicate(timeout=60)
        return out

    def processes(self) -> list[str]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"TMPDIR={self.folder}\0".encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_text())
        return found

    def remains(self) -> list[str]:
        return [*self.processes(), *map(str, self.folder.iterdir())]

    def nothing_remains_within(self, seconds: float) -> bool:
        """For what the orphans of a killed run do in their own time."""
        deadline = time.monotonic() + seconds
        while self.remains():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


@contextmanager
def started(folder: Path, *names: str) -> Iterator[Run]:
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.demo", *names],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield Run(process, folder)
        finally:
            process.kill()


def test_demo_keeps_its_promises(tmp_path: Path) -> None:
    """The whole of it: every act is shown, every promise is kept by a figure that was measured, in under 60 s."""
    began = time.monotonic()
    with started(tmp_path) as run:
        told = run.rest()
        assert run.process.returncode == 0, told
        assert run.remains() == []
    assert time.monotonic() - began < 60
    assert all(f"\n{title}\n" in told for title in demo.TITLES.values())
    lines = told.partition("\nPromises\n")[2].splitlines()
    assert lines[-1].startswith(f"All {len(PROMISES)} kept, in ")
    for line, (what, figure) in zip(lines, PROMISES.items(), strict=False):
        assert re.fullmatch(rf"kept +{re.escape(what)} +{figure}", line), line
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize(
    ("act", "moment"),
    [
        ("keys", "the main job"),
        ("lock", "has the lock"),
        ("election", "process is killed"),
        ("failover", "etcd's leader"),
    ],
)
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, act: str, moment: str) -> None:
    """Interrupted while the cluster starts, in a lock, among candidates' processes, without a leader: all is gone."""
    with started(tmp_path, act) as run:
        run.until(moment)
        assert run.processes()
        run.process.send_signal(signal.SIGINT)
        told = run.rest()
        assert run.process.returncode == 130
        assert run.remains() == []
    assert "Traceback" not in told
    assert "stopped" in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Ended without a chance to clean up: members, folder and candidates are gone a little later all the same."""
    with started(tmp_path, "election") as run:
        run.until(" leads ")
        run.process.send_signal(number)
        assert run.process.wait(10) == -number
        assert run.nothing_remains_within(15), run.remains()


async def test_candidate_resigns_when_its_input_ends(etcd_server: EtcdServer) -> None:
    """So it ends in order with a parent that closes the pipe or dies, and its TTL is not waited for."""
    async with aetcd.Client(etcd_server.url) as client, candidate_process("Ann", etcd_server.peers) as process:
        async with client.watch(candidate.ELECTION, recursive=True, initial=True) as entries:
            async for entry in entries:
                if isinstance(entry, aetcd.Change):
                    break
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(candidate.TTL - 1):
            assert await process.wait() == 0
        assert await client.election(candidate.ELECTION).leader() is None


def test_unknown_act_is_named(tmp_path: Path) -> None:
    """Before anything is started."""
    with started(tmp_path, "lock", "dance") as run:
        assert "no such act: dance" in run.rest()
        assert run.process.returncode == 1


def test_broken_promise_is_named_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    """One broken among others that are kept is enough, and the last line says which."""
    assert report([Promise("water is wet", "5 of 5", kept=True), Promise("fire is cold", "0 of 5", kept=False)]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^BROKEN +fire is cold +0 of 5$", told, re.MULTILINE)
    assert told.endswith("1 of 2 broken:\n    fire is cold\n")


def test_no_promise_is_no_success() -> None:
    """A demo that measured nothing has shown nothing."""
    assert report([]) == 1


async def test_failed_act_is_a_broken_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """An act that ends by an error is a promise broken, its traceback is shown, and the demo goes on."""

    async def act() -> list[Promise]:
        raise aetcd.LockTimeout("the lock was not had")

    (promise,) = await demo.perform("lock", act)
    assert not promise.kept
    assert "LockTimeout: the lock was not had" in str(promise)
    assert "in act" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("act", "stranger", "broken"),
    [
        (acts.watch, "flags/stranger", "a watch gives every change once and in order"),
        (acts.lock, "jobs/done", "what the lock guards loses no update"),
    ],
)
async def test_promises_are_measured(
    etcd35: EtcdServer,
    prefix: str,
    act: Callable[[aetcd.Client], Awaitable[list[Promise]]],
    stranger: str,
    broken: str,
) -> None:
    """A stranger who writes to the demo's keys spoils a figure, and with it the promise."""
    async with aetcd.Client(etcd35.url, namespace=prefix) as client, asyncio.TaskGroup() as group:

        async def interfere() -> None:
            while True:
                await client.set(stranger, 1000)

        interfering = group.create_task(interfere())
        promises = await act(client)
        interfering.cancel()
    assert broken in [promise.what for promise in promises if not promise.kept]
