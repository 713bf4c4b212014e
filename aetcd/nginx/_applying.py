"""Carrying out a plan for an upstream, so that it never has fewer servers than before or after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, evolve, field

from aetcd.errors import AetcdError
from aetcd.nginx._errors import EntryExists, UpstreamServerNotFound
from aetcd.nginx._reconcile import Identity, Plan, Step, Wanted, make_plan

if TYPE_CHECKING:
    from aetcd.nginx._caller import Limit
    from aetcd.nginx._models import PeerStatus
    from aetcd.nginx._server_models import Server

__all__ = ["Progress", "Work"]

ROUNDS = 3  # plans made anew where others change the upstream at the same time
LOOK = 0.5  # seconds between looks at servers that drain


class _Servers(Protocol):
    async def list(self, *, timeout: Limit = None) -> Sequence[Server]: ...
    def add(self, *args: Any, **parameters: Any) -> Awaitable[Server]: ...
    def modify(self, *args: Any, **parameters: Any) -> Awaitable[Server]: ...
    async def remove(self, id: int, *, timeout: Limit = None) -> Sequence[Server]: ...


@define
class Progress:
    """What has been done so far: it outlives an error that ends the work."""

    added: list[Step] = field(factory=list)
    changed: list[Step] = field(factory=list)
    removed: list[Step] = field(factory=list)
    undrained: list[Step] = field(factory=list)
    kept: tuple[Step, ...] = ()

    def plan(self) -> Plan:
        """As a value."""
        ours = {step.id for step in (*self.added, *self.changed)}
        return Plan(
            added=tuple(self.added),
            changed=tuple(self.changed),
            removed=tuple(self.removed),
            undrained=tuple(self.undrained),
            kept=tuple(step for step in self.kept if step.id not in ours),
        )


@define
class Work:
    """One reconciliation of one upstream.

    drain: Seconds that servers to be removed have to end their sessions; None removes them at once.
    """

    servers: _Servers
    peers: Callable[[], Awaitable[Sequence[PeerStatus]]]
    wanted: Mapping[Identity, Wanted]
    stream: bool
    drain: float | None
    timeout: Limit
    progress: Progress

    async def plan(self) -> tuple[Plan, Sequence[Server]]:
        """What is to be done now. One request."""
        present = await self.servers.list(timeout=self.timeout)
        return make_plan(self.wanted, present, stream=self.stream), present

    async def run(self) -> Plan:
        """Plan, do, and plan anew where somebody else interfered."""
        for left in reversed(range(ROUNDS)):
            try:
                plan, present = await self.plan()
                self.progress.kept = plan.kept
                await self._carry_out(plan, present)
                break
            except (UpstreamServerNotFound, EntryExists) as e:
                if not left:
                    self._note(e)
                    raise
            except AetcdError as e:
                self._note(e)
                raise
        return self.progress.plan()

    async def _carry_out(self, plan: Plan, present: Sequence[Server]) -> None:
        for step in plan.added:
            server = await self.servers.add(step.server, **step.parameters, timeout=self.timeout)
            self.progress.added.append(evolve(step, id=server.id))
        for step in plan.changed:
            await self.servers.modify(step.id, **step.parameters, timeout=self.timeout)
            self.progress.changed.append(step)
        if self.drain is not None and plan.removed:
            await self._drain(plan.removed, present, self.drain)
            return
        for step in plan.removed:
            await self._remove(step)

    async def _drain(self, steps: Sequence[Step], present: Sequence[Server], span: float) -> None:
        """Remove each server when it has nothing to do any more, and all when the time is over."""
        serving = [(step, _serving(step, present)) for step in steps]
        for _, servers in serving:
            for server in servers:
                if not getattr(server, "drain", None):
                    await self.servers.modify(server.id, drain=True, timeout=self.timeout)
        clock = asyncio.get_running_loop().time
        end = clock() + span
        before: Mapping[int, int] = {}
        while serving and clock() < end:
            peers = {peer.id: peer for peer in await self.peers()}
            busy = []
            for step, servers in serving:
                if any(_busy(peers.get(server.id), before) for server in servers):
                    busy.append((step, servers))
                else:
                    await self._remove(step)
            serving, before = busy, {peer.id: _served(peer) for peer in peers.values()}
            if serving:
                await asyncio.sleep(min(LOOK, span / 4, max(0.0, end - clock())))
        for step, _ in serving:
            await self._remove(step)
            self.progress.undrained.append(step)

    async def _remove(self, step: Step) -> None:
        assert step.id is not None
        with suppress(UpstreamServerNotFound):  # somebody else has done it
            await self.servers.remove(step.id, timeout=self.timeout)
        self.progress.removed.append(step)

    def _note(self, error: AetcdError) -> None:
        done = self.progress.plan()
        if done:
            error.add_note(f"done before that:\n{done}")


def _serving(step: Step, present: Sequence[Server]) -> list[Server]:
    """The server itself, or those that its name was resolved to: a name serves nobody."""
    found = [server for server in present if server.parent is not None and server.parent == str(step.id)]
    return found or [server for server in present if server.id == step.id]


def _busy(peer: PeerStatus | None, before: Mapping[int, int]) -> bool:
    """Whether it has sessions. One may be between two requests: they ended where none came since the last look."""
    return peer is not None and (peer.active > 0 or before.get(peer.id) != _served(peer))


def _served(peer: PeerStatus) -> int:
    return int(getattr(peer, "requests", 0))
