"""The goals, and whether a run reached them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from benchmarks.results import Results

__all__ = ["Goal", "goals"]

ONE, MANY, NOT_SHARED, WRITES = "aetcd v3", "64 callers", "aetcd v3, coalesce=False", "aetcd v3, coalesce_writes"


@frozen(kw_only=True)
class Goal:
    """One figure, and the most that it should be, or the least.

    reason: What stands in the way where it is missed.
    """

    text: str
    figure: Callable[[Results], float]
    limit: float
    least: bool = False
    reason: str

    def verdict(self, results: Results) -> str:
        """A line of the table."""
        bound = f"{'>=' if self.least else '<='} {self.limit:g}"
        try:
            found = self.figure(results)
        except LookupError as e:
            return f"| {self.text} | {bound} | | not measured: {e.args[0] if e.args else 'no row'} |"
        met = found >= self.limit if self.least else found <= self.limit
        return (
            f"| {self.text} | {bound} | {found:.3g} | {'met' if met else f'**MISSED**: {self.reason}'.rstrip(': ')} |"
        )


def goals(results: Results) -> Sequence[Goal]:
    """All of them, those beside the floors first."""
    return [
        *(
            Goal(
                text=f"{protocol} {operation}, 1 caller: time, of raw aiohttp's",
                figure=_beside_raw(f"{operation}, 1 caller", f"aetcd {protocol}", protocol, "time us"),
                limit=1.10,
                reason=SEQUENTIAL,
            )
            for protocol in ("v3", "v2")
            for operation in ("get", "put")
        ),
        *(
            Goal(
                text=f"{name} {operation}, {MANY}, a request each: CPU, of raw aiohttp's",
                figure=_beside_raw(f"{operation}, {MANY}", name, protocol, "CPU us"),
                limit=1.25,
                reason=SEQUENTIAL,
            )
            for protocol, name in (("v3", NOT_SHARED), ("v2", "aetcd v2"))
            for operation in ("get", "put")
        ),
        Goal(
            text="v3 get, 64 callers: operations a second, of raw aiohttp's",
            figure=lambda r: r.ratio(f"get, {MANY}", ONE, "raw aiohttp v3", "per second"),
            limit=2.5,
            least=True,
            reason=SHARED,
        ),
        Goal(
            text="v3 get, 64 callers: us of client CPU",
            figure=lambda r: r.middle(f"get, {MANY}", ONE, "CPU us"),
            limit=25,
            reason=SHARED,
        ),
        *_many("get", ONE, 1.4),
        *_many("put", WRITES, 1.2),
        *_watches(),
        *_locks(),
        *(_ahead_of_aio_etcd(row) for row in results.rows if isinstance(results.rows[row].get("aio-etcd"), list)),
        Goal(
            text="import: time, of aiohttp's",
            figure=lambda r: r.ratio("import", ONE, "raw aiohttp v3", "import ms"),
            limit=1.3,
            reason="some seventy modules and fifty attrs classes, beside msgspec and anyio",
        ),
    ]


SEQUENTIAL = "choosing a peer, watching its health, a deadline and a decoded answer; the floor has none of them"
SHARED = "the wait for the batch is 8 us, its exchange 5 to 11, JSON and measuring 3, where no server shares the core"
STANDING = "a quarter is the acknowledgement in a chunk of its own, a quarter the request, a third the callers' tasks"
FEWEST = "the peer with the least memory takes seconds to be ready"
CHANGES = "of a flood changes are read together, up to 8 ms late; a wake-up for them and a chunk each are left"
QUEUE = "a hand-over is a transaction of 1.5 ms of the server's CPU and 1 of the client's, one after the other"
WATCHED = "the queue is watched while it is used, so that whoever waits is told: aio-etcd's is not"
BOTH = "the client of v3 is loaded before that of v2"
PACE = "both are told of a change within the pace at which it is written"

AIO_ETCD = {
    "import": BOTH,
    "start and first get": BOTH,
    "lock, uncontended": WATCHED,
    "lock, 20 contenders": WATCHED,
    "watch, paced": PACE,
    "failover, watch": PACE,
}


def _beside_raw(row: str, ours: str, protocol: str, figure: str) -> Callable[[Results], float]:
    return lambda results: results.ratio(row, ours, f"raw aiohttp {protocol}", figure)


def _many(operation: str, ours: str, times: float) -> Sequence[Goal]:
    row = f"{operation}, {MANY}"

    def beside(results: Results, figure: str, *, most: bool) -> float:
        return results.ratio(row, ours, results.best(row, figure, most=most), figure)

    return [
        Goal(
            text=f"v3 {row}: operations a second, of the best peer's",
            figure=lambda r: beside(r, "per second", most=True),
            limit=times,
            least=True,
            reason=SHARED,
        ),
        Goal(
            text=f"v3 {row}: client CPU, of the best peer's",
            figure=lambda r: beside(r, "CPU us", most=False),
            limit=0.25,
            reason=SHARED,
        ),
    ]


def _watches() -> Sequence[Goal]:
    thousand, many, flood = "1,000 watches", "20,000 watches", "watch, flood"

    def own(row: str, figure: str) -> Callable[[Results], float]:
        return lambda results: results.middle(row, ONE, figure)

    def beside_calls(row: str) -> Callable[[Results], float]:
        return lambda results: results.middle(row, ONE, "connections") - 1

    def times_better(figure: str) -> Callable[[Results], float]:
        return lambda r: r.middle(thousand, r.best(thousand, figure), figure) / r.middle(thousand, ONE, figure)

    return [
        Goal(text=f"{thousand}: ms until ready", figure=own(thousand, "ready ms"), limit=100, reason=STANDING),
        Goal(text=f"{thousand}: ms of client CPU", figure=own(thousand, "CPU ms"), limit=60, reason=STANDING),
        Goal(
            text=f"{thousand}: connections beside the one of calls",
            figure=beside_calls(thousand),
            limit=2,
            reason=STANDING,
        ),
        Goal(text=f"{thousand}: MB", figure=own(thousand, "memory MB"), limit=4, reason=STANDING),
        Goal(text=f"{many}: connections beside the one of calls", figure=beside_calls(many), limit=4, reason=STANDING),
        Goal(
            text=f"{thousand}: times faster than the best peer",
            figure=times_better("ready ms"),
            limit=3,
            least=True,
            reason=STANDING,
        ),
        Goal(
            text=f"{thousand}: times less memory than the peer that is ready first",
            figure=lambda r: r.ratio(thousand, r.best(thousand, "ready ms"), ONE, "memory MB"),
            limit=3,
            least=True,
            reason=STANDING,
        ),
        Goal(
            text=f"{thousand}: times less memory than any peer",
            figure=times_better("memory MB"),
            limit=3,
            least=True,
            reason=FEWEST,
        ),
        Goal(text="v3 flood: us of client CPU for a change", figure=own(flood, "CPU us"), limit=50, reason=CHANGES),
        Goal(
            text="v3 flood: client CPU for a change, of the best peer's",
            figure=lambda r: r.ratio(flood, ONE, r.best(flood, "CPU us"), "CPU us"),
            limit=0.6,
            reason=CHANGES,
        ),
    ]


def _locks() -> Sequence[Goal]:
    row = "lock, 20 contenders"
    return [
        Goal(
            text="v3 lock, 20 contenders: hand-overs a second",
            figure=lambda r: r.middle(row, ONE, "per second"),
            limit=400,
            least=True,
            reason=QUEUE,
        ),
        Goal(
            text="v3 lock, 20 contenders: hand-overs, of the best peer's",
            figure=lambda r: r.ratio(
                row, ONE, r.best(row, "per second", most=True, among=set(r.peers) - {"aio-etcd"}), "per second"
            ),
            limit=2,
            least=True,
            reason=QUEUE,
        ),
    ]


def _ahead_of_aio_etcd(row: str) -> Goal:
    failing = dict.fromkeys(("failover, get", "failover, watch", "members killed in turn"), "longest ms")
    figure = {**failing, "watch, paced": "p50 ms"}.get(row, "time us")
    return Goal(
        text=f"v2 {row}: {figure.rpartition(' ')[0]}, of aio-etcd's",
        figure=lambda r: r.ratio(row, "aetcd v2", "aio-etcd", figure),
        limit=1.0,
        reason=AIO_ETCD.get(row, SEQUENTIAL),
    )
