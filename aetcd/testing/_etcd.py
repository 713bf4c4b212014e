"""Real etcd servers and clusters, on free loopback ports and in temporary folders."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from attrs import define, field

from aetcd.errors import ConfigError
from aetcd.testing import _ask
from aetcd.testing._done import Done
from aetcd.testing._member import PAUSE, EtcdMember, EtcdNotReady, PortTaken
from aetcd.testing._ports import HOST, HeldPort
from aetcd.testing._reaper import Reaper
from aetcd.testing._settings import PROTOCOLS, Settings, etcd_environment, known_protocols

__all__ = ["EtcdCluster", "EtcdServer"]

STARTS = 3
"""How often a start is tried when somebody takes a port at the same moment."""

FIRST_ANSWERS_WITHIN = 2.0
"""Seconds that the first member has to answer the others before they are launched all the same."""


@define(eq=False, kw_only=True)
class _Etcds(Settings):
    """The life that a server and a cluster share.

    Processes belong to no event loop: `async with` and plain `with` do the same, and what was started in one loop may
    be used and closed in another. Closing kills every member, paused ones too, and removes what was made for them; it
    has no await in it, so no cancel can leave a process behind. Should this process itself be killed, a small reaper
    process does the same.
    """

    _members: Sequence[EtcdMember] = field(default=(), init=False, repr=False)
    _opened: ExitStack | None = field(default=None, init=False, repr=False)

    @property
    def members(self) -> Sequence[EtcdMember]:
        """All members, dead ones too, in the order of their names. Empty before the first start."""
        return self._members

    @property
    def peers(self) -> list[str]:
        """The client URLs of all members: `aetcd.Client(*cluster.peers)`. Empty before the first start."""
        return [member.url for member in self._members]

    @property
    def version(self) -> str:
        """The version of the etcd that runs, such as `3.5.1`."""
        return self.binary.version

    async def start(self) -> None:
        """Start all members and return when all are healthy.

        Raises EtcdFailed when one ends, EtcdNotReady when they take longer than `start_timeout`, RuntimeError when they
        run already. A cancel, like an error, leaves nothing behind.
        """
        if self._opened is not None:
            raise RuntimeError("started already")
        for _ in range(STARTS - 1):
            with suppress(PortTaken):
                await self._start_once()
                return
        await self._start_once()

    async def aclose(self) -> None:
        """Kill all members and remove what was made for them. Idempotent; it does not await anything."""
        self.close()

    def close(self) -> None:
        """The same as `aclose()`, where no loop runs."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.close()

    async def wait_healthy(self, timeout: float = 30) -> None:
        """Wait until every member that should run serves: it knows a leader, and a linearizable read succeeds.

        Members that were stopped, killed or paused do not count.
        timeout: Seconds until EtcdNotReady, which names those that do not serve. Raises EtcdFailed when one ended.
        """
        late = self._expected()
        with anyio.move_on_after(timeout):
            while True:
                late = [member for member in self._expected() if not await member.healthy()]
                if not late and self._expected():
                    return
                await anyio.sleep(PAUSE)
        names = ", ".join(member.name for member in late) or "no member runs, and so nothing"
        raise EtcdNotReady(
            "\n".join([f"not healthy after {timeout} s: {names}", *(member.report() for member in late)])
        )

    async def leader(self, timeout: float = 30) -> EtcdMember:
        """The member that leads now: the one that a majority follows in the newest term, and that answers itself.

        It asks until there is one: after the old leader was killed or paused it returns the next.
        timeout: Seconds until EtcdNotReady.
        """
        with anyio.move_on_after(timeout):
            while True:
                if found := await self._leader_now():
                    return found
                await anyio.sleep(PAUSE)
        running = ", ".join(member.name for member in self._members if member.running) or "none"
        raise EtcdNotReady(f"no leader after {timeout} s; running: {running}")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # A loop that is made known to nobody: a session's loop, at rest while fixtures are set up, stays current.
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self.start())
            return self
        raise RuntimeError("a loop runs here: use `async with`")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _start_once(self) -> None:
        with ExitStack() as opening:
            self._members = self._prepare(opening)
            await self._launch()
            await self.wait_healthy(self.start_timeout)
            self._opened = opening.pop_all()

    def _prepare(self, opening: ExitStack) -> Sequence[EtcdMember]:
        """Members ready to be launched; `opening` undoes everything, the members first."""
        folder = Path(tempfile.mkdtemp(prefix="aetcd-"))
        opening.callback(shutil.rmtree, folder)
        reaper = Reaper(folder)
        opening.callback(reaper.dismiss)
        members = self._build(folder, reaper, opening)
        for member in members:
            opening.callback(member.destroy)
        return members

    async def _launch(self) -> None:
        first, *others = self._members
        first.launch()
        if others:
            # A new member asks the others whether it is known already, and waits a second for one that listens and does
            # not answer yet. Launched together they wait for each other, once or twice. So the others are launched when
            # the first answers.
            with anyio.move_on_after(FIRST_ANSWERS_WITHIN):
                await self._until_answered(first)
        for member in others:
            member.launch()

    async def _until_answered(self, first: EtcdMember) -> None:
        while True:
            if await first.answers_peers():
                return
            await anyio.sleep(PAUSE)

    def _build(self, folder: Path, reaper: Reaper, opening: ExitStack) -> Sequence[EtcdMember]:
        names = [f"m{place}" for place in range(self._size())]
        urls = [f"{'https' if self.tls else 'http'}://{HOST}:{port}" for port in self._hold_ports(opening)]
        # In etcd's order of asking, which is that of the text, so that the member launched first is asked first.
        peer_urls = sorted(f"http://{HOST}:{port}" for port in self._hold_ports(opening))
        shared = self.shared_flags(dict(zip(names, peer_urls, strict=True)))
        tls = self.tls.context() if self.tls else None
        environment = etcd_environment()
        return [
            EtcdMember(
                name=name,
                url=url,
                peer_url=peer_url,
                command=[
                    str(self.binary.path),
                    f"--name={name}",
                    f"--data-dir={self._data_folder(folder, name)}",
                    f"--listen-client-urls={url}",
                    f"--advertise-client-urls={url}",
                    f"--listen-peer-urls={peer_url}",
                    f"--initial-advertise-peer-urls={peer_url}",
                    *shared,
                ],
                environment=environment,
                log_file=folder / f"{name}.log",
                tls=tls,
                changed=lambda: reaper.watch(pid for member in self._members if (pid := member.pid) is not None),
                quorate=self._quorate,
            )
            for name, url, peer_url in zip(names, urls, peer_urls, strict=True)
        ]

    def _hold_ports(self, opening: ExitStack) -> list[int]:
        # All are held before any is used, so that they differ.
        held = [HeldPort() for _ in range(self._size())]
        for port in held:
            opening.callback(port.release)
        return [port.number for port in held]

    def _size(self) -> int:
        return 1

    def _data_folder(self, folder: Path, name: str) -> Path:
        return folder / name

    def _expected(self) -> list[EtcdMember]:
        return [member for member in self._members if member.expected]

    def _quorate(self) -> bool:
        able = sum(member.running and not member.paused for member in self._members)
        return able > self._size() // 2

    async def _leader_now(self) -> EtcdMember | None:
        seen: dict[_ask.Standing, EtcdMember] = {}

        async def ask(member: EtcdMember) -> None:
            if standing := await member.standing():
                seen[standing] = member

        async with anyio.create_task_group() as group:
            for member in self._members:
                group.start_soon(ask, member)
        leader = _ask.elected(seen, self._size())
        return next((member for standing, member in seen.items() if standing.member == leader), None)


@define(eq=False)
class EtcdServer(_Etcds):
    """One etcd server: `async with EtcdServer() as server: aetcd.Client(*server.peers)`.

    The settings are those of `Settings`, the life that of `_Etcds`, and it is a cluster of one: `leader()` and
    `wait_healthy()` work. `kill`, `pause` and the others act on its one member.

    data_dir: Where etcd keeps its data; made if missing, and left there. Without it: a folder that is removed.
    """

    protocols: Sequence[str] = field(default=PROTOCOLS, validator=known_protocols)
    data_dir: str | Path | None = field(default=None, kw_only=True)

    @property
    def member(self) -> EtcdMember:
        """Its process. Raises RuntimeError before the first start."""
        if not self._members:
            raise RuntimeError("not started: use `async with`, or start()")
        return self._members[0]

    @property
    def url(self) -> str:
        """Where clients reach it. Raises RuntimeError before the first start."""
        return self.member.url

    @property
    def pid(self) -> int | None:
        """The id of its process, or None while none runs."""
        return self.member.pid

    def kill(self) -> Done:
        """See `EtcdMember.kill`."""
        return self.member.kill()

    def pause(self) -> Done:
        """See `EtcdMember.pause`."""
        return self.member.pause()

    def resume(self) -> Done:
        """See `EtcdMember.resume`."""
        return self.member.resume()

    async def stop(self, timeout: float = 10) -> None:
        """See `EtcdMember.stop`."""
        await self.member.stop(timeout)

    async def restart(self, timeout: float = 30) -> None:
        """See `EtcdMember.restart`."""
        await self.member.restart(timeout)

    def _data_folder(self, folder: Path, name: str) -> Path:
        return Path(self.data_dir).absolute() if self.data_dir else folder / name


@define(eq=False)
class EtcdCluster(_Etcds):
    """Several etcd servers that are one cluster: `async with EtcdCluster(3) as cluster`.

    The settings are those of `Settings`, the life that of `_Etcds`.

    size: How many members. A majority of them must run: of 3 one may be lost, of 5 two.
    """

    size: int = 3

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.size < 1:
            raise ConfigError(f"size must be at least 1, not {self.size}")

    def _size(self) -> int:
        return self.size
