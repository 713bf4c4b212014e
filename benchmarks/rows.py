"""The rows of the table: which case, how much of it, who takes part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

__all__ = ["GROWTH", "Amount", "Growth", "Row", "rows"]


@frozen(kw_only=True)
class Amount:
    """How much is measured.

    rounds: How often, in turns.
    seconds: Length of a measurement that has no natural size.
    count: Operations of each, in place of all sizes: for a look at whether it runs.
    survival: Seconds for which members are killed in turn.
    """

    rounds: int = 5
    seconds: float = 0.4
    count: int | None = None
    survival: float = 60.0

    def size(self, wanted: int) -> int:
        """So many, or fewer for a look."""
        return wanted if self.count is None else min(wanted, self.count)


@frozen(kw_only=True)
class Row:
    """One row.

    case: The function of `benchmarks.cases`, and `given` its arguments; `import` and `start` are made by the harness.
    figures: What is shown of it; the first ones, `short` of them, in the short table.
    limit: Seconds after which a contestant is given up.
    rounds: Where it is less than what is asked for.
    times: How many times as many as asked for: where one turn differs from the next by more than contestants do.
    warm: Whether one more round, which is not counted, comes first.
    fresh: Whether each measurement has a process of its own, so that memory which was freed before is not there.
    variants: Whether other settings of one client take part.
    outside: The method of `Arena` that runs beside it.
    cluster: Whether it needs one.
    floors: Whether they take part: theirs prepare by aetcd what they send, and have nothing that starts.
    """

    name: str
    case: str
    figures: Sequence[str] = ()
    short: int = 2
    given: Mapping[str, Any] = field(factory=dict)
    limit: float = 30.0
    rounds: int = 1000
    times: int = 1
    warm: bool = True
    fresh: bool = False
    variants: bool = False
    outside: str | None = None
    cluster: bool = False
    floors: bool = True


PLAIN = ("CPU us", "per second", "server us", "memory MB")
TIMED = ("CPU us", "per second", "server us", "p50 ms", "p99 ms", "memory MB")
PACED = ("CPU us", "p50 ms", "p99 ms", "server us")
STANDING = ("CPU ms", "ready ms", "memory MB", "connections", "server us")


def rows(amount: Amount) -> Iterator[Row]:
    """All of them, in the order of the table."""
    yield from _keys(amount)
    yield from _watches(amount)
    yield from _coordination(amount)
    yield from _starts()
    yield from _failures(amount)


def _keys(amount: Amount) -> Iterator[Row]:
    for operation, callers in (("get", 1), ("put", 1), ("get", 64), ("put", 64), ("mixed", 64)):
        what = "90% get, 10% put" if operation == "mixed" else operation
        yield Row(
            name=f"{what}, {callers} caller{'s' if callers > 1 else ''}",
            case="keys",
            figures=TIMED,
            given={"operation": operation, "callers": callers, "count": amount.count, "seconds": amount.seconds},
            times=3 if callers == 1 else 1,
            variants=True,
        )
    many = amount.size(10_000)
    yield Row(name=f"read {many:,} keys", case="reads", figures=PLAIN, given={"many": many, "count": 2})


def _watches(amount: Amount) -> Iterator[Row]:
    yield Row(
        name="watch, paced",
        case="paced",
        figures=PACED,
        given={"count": amount.size(150)},
        rounds=3,
        warm=False,
        outside="write_paced",
    )
    yield Row(
        name="watch, flood",
        case="flood",
        figures=PLAIN,
        given={"count": amount.size(5_000) + 1},
        rounds=3,
        warm=False,
        outside="write_flood",
    )
    for wanted, rounds, limit in ((1_000, 3, 20.0), (20_000, 1, 25.0)):
        count = amount.size(wanted)
        yield Row(
            name=f"{count:,} watches" if count == wanted else f"{count} of {wanted:,} watches",
            case="standing",
            figures=STANDING,
            short=4,
            given={"count": count},
            rounds=rounds,
            limit=limit,
            warm=False,
            fresh=True,
        )


def _coordination(amount: Amount) -> Iterator[Row]:
    for contenders in (1, 20):
        yield Row(
            name="lock, uncontended" if contenders == 1 else f"lock, {contenders} contenders",
            case="handovers",
            figures=TIMED,
            given={"contenders": contenders, "count": amount.count, "seconds": amount.seconds},
        )
    leases = amount.size(1_000)
    given = {"leases": leases, "times": 1}
    yield Row(name=f"renew {leases:,} leases", case="renewals", figures=PLAIN, given=given, rounds=3)


def _starts() -> Iterator[Row]:
    imported = ("import ms", "import CPU ms")
    yield Row(name="import", case="import", figures=imported, rounds=3, fresh=True, warm=False)
    yield Row(
        name="start and first get", case="start", figures=("ready ms",), rounds=3, fresh=True, floors=False, warm=False
    )


def _failures(amount: Amount) -> Iterator[Row]:
    failing: dict[str, Any] = {"cluster": True, "fresh": True, "warm": False}
    for what, case, outside in (("get", "outage", "kill_first"), ("watch", "silence", "kill_first_and_write")):
        yield Row(
            name=f"failover, {what}",
            case=case,
            figures=("longest ms",),
            given={"seconds": 4.0},
            rounds=2,
            outside=outside,
            **failing,
        )
    yield Row(
        name="members killed in turn",
        case="survival",
        figures=("failed", "unknown", "answered", "p99 ms", "longest ms"),
        given={"tasks": amount.size(200), "seconds": amount.survival},
        limit=amount.survival + 30,
        rounds=1,
        outside="kill_in_turn",
        **failing,
    )


@frozen(kw_only=True)
class Growth:
    """What one thing costs against how many there are: a line that should be straight.

    figure: Microseconds of the client's CPU, for `each` of them, or for one operation beside them.
    """

    name: str
    case: str
    sizes: tuple[int, ...]
    figure: str

    def row(self, size: int) -> Row:
        """The measurement of one size."""
        folder = f"bench/grown/{self.name}/{size}"
        given: Mapping[str, Mapping[str, Any]] = {
            "watches": {"count": size, "folder": folder},
            "contenders": {"contenders": size, "count": 4 * size, "seconds": 0},
            "keys": {"many": size, "count": 2, "folder": folder},
            "peers": {"operation": "get", "callers": 1, "count": 500, "seconds": 0},
        }
        return Row(name=f"{size:,} {self.name}", case=self.case, given=given[self.name], fresh=self.name == "watches")


GROWTH = (
    Growth(name="watches", case="standing", sizes=(250, 500, 1_000, 2_000, 4_000), figure="us of CPU for each watch"),
    Growth(name="contenders", case="handovers", sizes=(5, 10, 20, 40, 80), figure="us of CPU for each taking"),
    Growth(name="keys", case="reads", sizes=(1_000, 2_500, 5_000, 10_000, 20_000), figure="us of CPU for each key"),
    Growth(name="peers", case="keys", sizes=(1, 2, 4, 8, 16), figure="us of CPU for each get"),
)
