"""The same change at several instances at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

import anyio
from attrs import frozen

from aetcd.errors import AetcdError, ConfigError
from aetcd.nginx._applying import Progress
from aetcd.nginx._client import Nginx
from aetcd.nginx._keyvals import Synced
from aetcd.nginx._reconcile import Plan, WantedLike

if TYPE_CHECKING:
    from aetcd.nginx._caller import Limit
    from aetcd.nginx._upstreams import HTTPUpstreamHandle, StreamUpstreamHandle

__all__ = ["Fleet", "FleetKeyval", "FleetUpstream", "Outcomes", "PartialFailure", "Report"]

T = TypeVar("T")

Side = Literal["http", "stream"]


@frozen(kw_only=True)
class Report(Generic[T]):
    """What became of a change at one instance.

    url: Of the instance.
    result: What its call gave. Of a `reconcile` that failed, what it had done until then; of another failed call None.
    error: Why it failed; None where it did not.
    """

    url: str
    result: T | None
    error: AetcdError | None

    @property
    def ok(self) -> bool:
        """Whether this instance has the change."""
        return self.error is None

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.url} has it"
        done = str(self.result).replace("\n", ", ") if self.result else "nothing"
        return f"{self.url} does not have it: {self.error} (done before that: {done})"


class Outcomes(Mapping[str, Report[T]]):
    """The reports of all instances, by URL, in the order of the fleet."""

    def __init__(self, reports: Iterable[Report[T]]) -> None:
        self._reports = {report.url: report for report in reports}

    def __getitem__(self, url: str) -> Report[T]:
        return self._reports[url]

    def __iter__(self) -> Iterator[str]:
        return iter(self._reports)

    def __len__(self) -> int:
        return len(self._reports)

    @property
    def succeeded(self) -> dict[str, Report[T]]:
        """Those that have the change."""
        return {url: report for url, report in self._reports.items() if report.ok}

    @property
    def failed(self) -> dict[str, Report[T]]:
        """Those that do not, or of which it is not known."""
        return {url: report for url, report in self._reports.items() if not report.ok}

    def __repr__(self) -> str:
        return f"<Outcomes of {len(self)} instances, {len(self.failed)} failed>"


class PartialFailure(AetcdError):
    """Some instances of a fleet, or all, do not have a change. The text names who has what.

    outcomes: The reports of all instances, by URL.
    """

    def __init__(self, outcomes: Outcomes[Any]) -> None:
        lines = "\n".join(str(report) for report in outcomes.values())
        super().__init__(f"{len(outcomes.succeeded)} of {len(outcomes)} instances have it\n{lines}")
        self.outcomes = outcomes


class Fleet:
    """Several instances that are to be configured alike.

        async with Fleet(["http://10.0.0.1:8080/api", "http://10.0.0.2:8080/api"]) as fleet:
            await fleet.http.upstream("backend").reconcile(["10.1.0.1:80", "10.1.0.2:80"])

    instances: URLs, for which the settings of `Nginx` may follow, or `Nginx` clients. The fleet owns them: leaving its
        block closes them.

    Each call goes to all instances at once and waits for all. Where every one has the change it gives `Outcomes`, and
    else it raises PartialFailure: nothing is undone, and the same call may be made again.
    """

    def __init__(self, instances: Iterable[Nginx | str], **settings: Any) -> None:
        if isinstance(instances, str | Nginx):
            raise TypeError("instances must be several: an Nginx speaks to one")
        self.instances = tuple(_instance(instance, settings) for instance in instances)
        if not self.instances:
            raise ConfigError("instances: the list is empty")
        urls = [instance.url for instance in self.instances]
        twice = sorted({url for url in urls if urls.count(url) > 1})
        if twice:
            raise ConfigError(f"instances: {', '.join(twice)} twice")
        self.http = FleetSide(self, "http")
        self.stream = FleetSide(self, "stream")

    def __repr__(self) -> str:
        return f"<Fleet of {', '.join(instance.url for instance in self.instances)}>"

    async def open(self) -> None:
        """Make all ready. Sends nothing."""
        for instance in self.instances:
            await instance.open()

    async def aclose(self) -> None:
        """End all connections."""
        async with anyio.create_task_group() as group:
            for instance in self.instances:
                group.start_soon(instance.aclose)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def apply(self, change: Callable[[Nginx], Awaitable[T]]) -> Outcomes[T]:
        """Do something at each instance: `await fleet.apply(lambda nginx: nginx.http.keyval("one").set("a", "b"))`.

        Raises PartialFailure where it raised an AetcdError at one of them or more. Any other error is a bad argument
        or a bug: it ends the others, and is raised as it is.
        """
        return await self._apply((instance.url, partial(change, instance), None) for instance in self.instances)

    async def _apply(
        self, calls: Iterable[tuple[str, Callable[[], Awaitable[T]], Callable[[], T] | None]]
    ) -> Outcomes[T]:
        """Each call with its instance's URL, and with what tells how far it came."""
        listed = list(calls)
        reports: dict[str, Report[T]] = {}
        broken: list[Exception] = []

        async def one(url: str, call: Callable[[], Awaitable[T]], so_far: Callable[[], T] | None) -> None:
            try:
                reports[url] = Report(url=url, result=await call(), error=None)
            except AetcdError as e:
                reports[url] = Report(url=url, result=so_far() if so_far else None, error=e)
            except Exception as e:  # noqa: BLE001 - it is raised below, outside of the group, which would wrap it
                broken.append(e)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for call in listed:
                group.start_soon(one, *call)
        if broken:
            raise broken[0]
        outcomes = Outcomes(reports[url] for url, _, _ in listed)
        if outcomes.failed:
            raise PartialFailure(outcomes)
        return outcomes


class FleetSide:
    """The http or the stream side of all instances."""

    def __init__(self, fleet: Fleet, side: Side) -> None:
        self._fleet = fleet
        self._side: Side = side

    def upstream(self, name: str) -> FleetUpstream:
        """The upstreams of this name. Sends nothing."""
        return FleetUpstream(self._fleet, self._side, name)

    def keyval(self, name: str) -> FleetKeyval:
        """The key-value zones of this name. Sends nothing."""
        return FleetKeyval(self._fleet, self._side, name)


class FleetUpstream:
    """Upstreams of one name, one at each instance."""

    def __init__(self, fleet: Fleet, side: Side, name: str) -> None:
        self.name = name
        self._fleet = fleet
        self._handles: list[tuple[str, HTTPUpstreamHandle | StreamUpstreamHandle]] = [
            (instance.url, getattr(instance, side).upstream(name)) for instance in fleet.instances
        ]

    async def reconcile(
        self,
        wanted: Iterable[WantedLike],
        *,
        drain: float | None = None,
        dry_run: bool = False,
        allow_empty: bool = False,
        timeout: Limit = None,
    ) -> Outcomes[Plan]:
        """As `reconcile` of one upstream, at all instances at once.

        Raises PartialFailure; its reports hold what each instance did, also where it failed on the way.
        """
        listed = list(wanted) if not isinstance(wanted, str | Mapping) else wanted

        def call(
            handle: HTTPUpstreamHandle | StreamUpstreamHandle,
        ) -> tuple[Callable[[], Awaitable[Plan]], Callable[[], Plan]]:
            progress = Progress()
            return (
                lambda: handle._reconcile(  # noqa: SLF001
                    listed,
                    drain=drain,
                    dry_run=dry_run,
                    allow_empty=allow_empty,
                    timeout=timeout,
                    progress=progress,
                ),
                progress.plan,
            )

        return await self._fleet._apply((url, *call(handle)) for url, handle in self._handles)  # noqa: SLF001


class FleetKeyval:
    """Key-value zones of one name, one at each instance."""

    def __init__(self, fleet: Fleet, side: Side, name: str) -> None:
        self.name = name
        self._fleet = fleet
        self._side: Side = side

    async def sync(
        self, wanted: Mapping[str, str], *, dry_run: bool = False, timeout: Limit = None
    ) -> Outcomes[Synced]:
        """As `sync` of one zone, at all instances at once. Raises PartialFailure."""

        def change(nginx: Nginx) -> Awaitable[Synced]:
            side = nginx.http if self._side == "http" else nginx.stream
            return side.keyval(self.name).sync(wanted, dry_run=dry_run, timeout=timeout)

        return await self._fleet.apply(change)


def _instance(instance: Nginx | str, settings: Mapping[str, Any]) -> Nginx:
    if isinstance(instance, str):
        return Nginx(instance, **settings)
    if not isinstance(instance, Nginx):
        raise TypeError(f"instances must hold URLs and Nginx clients, not {instance!r}")
    if settings:
        raise ConfigError(f"{', '.join(settings)}: settings go with URLs; {instance!r} has its own")
    return instance
