"""Limits of what tasks do, by one timer."""

from __future__ import annotations

import asyncio
import math

from aetcd._transport.deadlines import Deadline, Deadlines


class Limits(Deadlines[Deadline]):
    """Tells how many timers were made."""

    def __init__(self) -> None:
        super().__init__(Deadline)
        self.timers = 0

    def _look_at(self, due: float) -> None:
        self.timers += 1
        super()._look_at(due)


async def wait(limits: Limits, seconds: float, event: asyncio.Event) -> str:
    """How the waiting ended."""
    limit = limits.begin(seconds)
    try:
        await event.wait()
    except asyncio.CancelledError:
        if limit.overdue:
            return "overdue"
        raise
    finally:
        limits.end(limit)
    return "in time"


async def test_each_is_given_up_when_it_is_due() -> None:
    """And none before: whoever began first, and without a limit never."""
    limits, event = Limits(), asyncio.Event()
    tasks = [asyncio.create_task(wait(limits, seconds, event)) for seconds in (30, 0.05, 0.02, math.inf)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert done == {tasks[2]}
    done, _ = await asyncio.wait(tasks[:2] + tasks[3:], return_when=asyncio.FIRST_COMPLETED)
    assert done == {tasks[1]}
    event.set()
    assert await asyncio.gather(*tasks) == ["in time", "overdue", "overdue", "in time"]
    assert not limits.running


async def test_many_need_one_timer() -> None:
    """Those that begin later are due later, so it serves them too."""
    limits, event = Limits(), asyncio.Event()
    tasks = [asyncio.create_task(wait(limits, 30, event)) for _ in range(100)]
    await asyncio.sleep(0)
    event.set()
    assert set(await asyncio.gather(*tasks)) == {"in time"}
    assert limits.timers == 1


async def test_cancel_by_others_is_none_of_its_own() -> None:
    """Also where both come together: the task was cancelled, and so it ends."""
    limits, event = Limits(), asyncio.Event()
    tasks = [asyncio.create_task(wait(limits, 30, event)) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    limits.running[tasks[1]].give_up()
    tasks[1].cancel()
    assert [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
    ]


async def test_prolonged() -> None:
    """Its seconds begin anew, and the timer that rings meanwhile does it no harm."""
    limits, event = Limits(), asyncio.Event()
    long, short = asyncio.create_task(wait(limits, 0.03, event)), asyncio.create_task(wait(limits, 0.03, event))
    await asyncio.sleep(0)
    limits.prolong(limits.running[long], 30)
    assert await short == "overdue"
    assert not long.done()
    event.set()
    assert await long == "in time"


async def test_stopped() -> None:
    """Its timer is not left behind in the loop."""
    limits, event = Limits(), asyncio.Event()
    late, other = asyncio.create_task(wait(limits, 0.02, event)), Limits()
    await asyncio.sleep(0)
    limits.stop()
    assert await asyncio.create_task(wait(other, 0.04, event)) == "overdue"
    assert not late.done()
    event.set()
    assert await late == "in time"


async def test_all_given_up() -> None:
    """As when their owner closes."""
    limits, event = Limits(), asyncio.Event()
    tasks = [asyncio.create_task(wait(limits, seconds, event)) for seconds in (30, math.inf)]
    await asyncio.sleep(0)
    limits.give_up()
    assert await asyncio.gather(*tasks) == ["overdue", "overdue"]
