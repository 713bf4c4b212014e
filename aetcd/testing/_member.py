"""One etcd process: started, stopped, killed, paused, resumed and started again."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio
from attrs import define, field

from aetcd.errors import AetcdError
from aetcd.testing import _ask
from aetcd.testing._done import Done

__all__ = ["PAUSE", "EtcdFailed", "EtcdMember", "EtcdNotReady", "PortTaken"]

PAUSE = 0.01
"""Seconds between two looks at a server that is being waited for."""

GONE_WITHIN = 10.0
"""Seconds within which a killed process is gone, but for one that hangs in the kernel on a broken disk."""

LOG_HEAD, LOG_TAIL = 3, 20
"""Lines of a log in an error's text: etcd tells of a wrong argument first, and then how it is used at length."""


class EtcdFailed(AetcdError):
    """An etcd ended by itself. The text holds its log, shortened."""


class EtcdNotReady(EtcdFailed, TimeoutError):
    """It did not come to what was waited for in time: an answer, a leader. The text holds its log, shortened."""


class PortTaken(EtcdFailed):
    """It ended because somebody else took its port."""


@define(eq=False, kw_only=True)
class EtcdMember:
    """One member of an `EtcdCluster`, or the one of an `EtcdServer`.

    What breaks it (`kill`, `pause`) and `resume` takes effect in the call and may be awaited for its effect to be
    complete; `stop` and `restart` are coroutines. It survives any order of them.

    name: `m0`, `m1`, ...: its name in the cluster and its place in `members`.
    url: Where clients reach it; the same after a restart.
    peer_url: Where the other members reach it.
    """

    name: str
    url: str
    peer_url: str
    _command: Sequence[str] = field(alias="command", repr=False)
    _environment: Mapping[str, str] = field(alias="environment", repr=False)
    _log_file: Path = field(alias="log_file", repr=False)
    _tls: ssl.SSLContext | None = field(alias="tls", repr=False)
    _changed: Callable[[], None] = field(alias="changed", repr=False)
    """Told when a process began or was seen to have ended."""
    _quorate: Callable[[], bool] = field(alias="quorate", repr=False)
    """Whether a majority of the cluster can run, so that waiting for an answer makes sense."""

    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _ended_by_us: bool = field(default=True, init=False, repr=False)
    _paused: bool = field(default=False, init=False, repr=False)
    _closed: bool = field(default=False, init=False, repr=False)

    @property
    def peers(self) -> list[str]:
        """Its URL alone, for `Client(*member.peers)`."""
        return [self.url]

    @property
    def pid(self) -> int | None:
        """The id of its process, or None while none runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether its process lives, be it paused."""
        if self._process is None:
            return False
        known_dead = self._process.returncode is not None
        alive = self._process.poll() is None
        if not alive and not known_dead:
            self._changed()
        return alive

    @property
    def paused(self) -> bool:
        """Whether it stands still since `pause()`."""
        return self._paused and self.running

    @property
    def expected(self) -> bool:
        """Whether it should be answering: started, and neither stopped, killed nor paused since."""
        return not self._ended_by_us and not self._paused

    @property
    def log(self) -> str:
        """All that it has written to its log since its first start."""
        try:
            return self._log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def kill(self) -> Done:
        """SIGKILL: it is gone without a word, and its data stay. Nothing happens if it does not run.

        Awaited: until the process is gone.
        """
        self._ended_by_us = True
        self._signal(signal.SIGKILL)
        return Done(self._until_gone)

    def pause(self) -> Done:
        """SIGSTOP: a silent peer. Connections stay, new ones are accepted by the kernel, nothing is answered.

        Awaited: until all of its threads stand still. Raises RuntimeError if it does not run.
        """
        self._require_running()
        self._paused = True
        self._signal(signal.SIGSTOP)
        return Done(self._until_still)

    def resume(self) -> Done:
        """SIGCONT: go on after `pause()`. Raises RuntimeError if it does not run."""
        self._require_running()
        self._paused = False
        self._signal(signal.SIGCONT)
        return Done()

    async def stop(self, timeout: float = 10) -> None:
        """SIGTERM: an orderly end; the leader hands over its office. A paused one is resumed for it.

        timeout: Seconds that it has for this before it is killed.
        A cancel leaves it ending. Nothing happens if it does not run.
        """
        self._ended_by_us = True
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        self._paused = False
        with anyio.move_on_after(timeout):
            await self._until_gone()
        await self.kill()

    async def restart(self, timeout: float = 30) -> None:
        """Start it again on the same port and data; one that still runs is stopped first.

        Returns when it serves. While less than a majority of its cluster runs it cannot serve: then it returns when it
        listens, so that the members can be restarted one after another; `wait_healthy()` waits for the rest.

        timeout: Seconds until then. Raises EtcdNotReady after them, and EtcdFailed if it ends again.
        RuntimeError says that its server or cluster was closed. A cancel leaves it starting.
        """
        if self._closed:
            raise RuntimeError(f"{self.name} was closed with its cluster")
        if not self._ended_by_us:
            await self.stop()
        await self._until_gone()
        self.launch()
        try:
            with anyio.fail_after(timeout):
                await self._until_serving()
        except TimeoutError as late:
            raise EtcdNotReady(f"{self.name} at {self.url} does not serve after {timeout} s\n{self.report()}") from late

    def launch(self) -> None:
        """Start the process, without waiting for anything."""
        with self._log_file.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for us alone, and we end it in order.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self._ended_by_us = False
        self._paused = False
        self._changed()

    def destroy(self) -> None:
        """End it whatever its state, and wait until it is gone: milliseconds, and without an await on purpose.

        No cancel can come between a SIGKILL and its wait, and closing needs no loop.
        """
        self._closed = True
        self.kill()
        if self._process is not None:
            self._process.wait(GONE_WITHIN)
            self._changed()

    async def healthy(self) -> bool:
        """Whether it serves now: it knows a leader, and a linearizable read through it succeeds.

        Raises EtcdFailed if it ended by itself.
        """
        self._check_alive()
        return await _ask.healthy(self.url, self._tls)

    async def answers_peers(self) -> bool:
        """Whether it answers other members, which it does before it has a leader. Raises as `healthy` does."""
        self._check_alive()
        return await _ask.speaks(self.peer_url)

    async def standing(self) -> _ask.Standing | None:
        """How it sees its cluster, or None when it cannot tell."""
        return await _ask.standing(self.url, self._tls) if self.running and not self._paused else None

    def report(self) -> str:
        """The beginning and the end of its log, for an error's text."""
        lines = self.log.splitlines()
        if len(lines) > LOG_HEAD + LOG_TAIL:
            lines = [*lines[:LOG_HEAD], "...", *lines[-LOG_TAIL:]]
        return "\n".join([f"the log of {self.name}:", *(f"    {line}" for line in lines)])

    def _check_alive(self) -> None:
        if self.running or self._ended_by_us or self._process is None:
            return
        report = self.report()
        error = PortTaken if "address already in use" in report else EtcdFailed
        raise error(f"{self.name} ended by itself with status {self._process.returncode}\n{report}")

    def _require_running(self) -> None:
        if not self.running:
            raise RuntimeError(f"{self.name} does not run")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    async def _until_gone(self) -> None:
        with anyio.move_on_after(GONE_WITHIN):
            await _until(lambda: not self.running)
        if self.running:
            raise EtcdNotReady(f"{self.name} is not gone {GONE_WITHIN} s after its end\n{self.report()}")

    async def _until_still(self) -> None:
        await _until(lambda: not self.paused or self._stands_still())

    def _stands_still(self) -> bool:
        # WNOWAIT: only a look, the state stays for whoever asks next, and an ended process stays for Popen to reap.
        look = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        pid = self.pid
        return pid is None or os.waitid(os.P_PID, pid, look) is not None

    async def _until_serving(self) -> None:
        while True:
            # Without a majority asked first: it would leave the question of its health open for a second.
            if not self._quorate() and await _ask.listens(self.url):
                return
            if await self.healthy():
                return
            await anyio.sleep(PAUSE)


async def _until(condition: Callable[[], bool]) -> None:
    """Polled: the events behind these are the kernel's, and come within milliseconds."""
    while True:
        if condition():
            return
        await anyio.sleep(PAUSE / 5)
