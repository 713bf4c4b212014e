"""What a fault returns."""

from __future__ import annotations

import asyncio

import pytest

from aetcd.testing import Done


class Effect:
    def __init__(self) -> None:
        self.seen = 0
        self.may_end = asyncio.Event()

    async def wait(self) -> None:
        await self.may_end.wait()
        self.seen += 1


async def test_left_unawaited_it_warns_of_nothing() -> None:
    """A fault may be called like a plain function; warnings fail this suite."""
    Done(Effect().wait)


async def test_awaiting_waits_for_the_effect() -> None:
    """It ends when the effect is there, and may be awaited again."""
    effect = Effect()
    done = Done(effect.wait)
    asyncio.get_running_loop().call_soon(effect.may_end.set)
    await done
    await done
    assert effect.seen == 2


async def test_without_an_effect_to_wait_for_it_is_done_at_once() -> None:
    """The loop does not even turn."""
    turned: list[None] = []
    asyncio.get_running_loop().call_soon(turned.append, None)
    await Done()
    assert not turned


async def test_it_is_a_coroutine_for_asyncio() -> None:
    """create_task, gather, wait_for and a task group take it."""
    effect = Effect()
    effect.may_end.set()
    await asyncio.create_task(Done(effect.wait))
    await asyncio.gather(Done(effect.wait), Done(effect.wait))
    await asyncio.wait_for(Done(effect.wait), 1)
    async with asyncio.TaskGroup() as group:
        group.create_task(Done(effect.wait))
    assert effect.seen == 5


async def test_a_task_that_waits_for_it_can_be_cancelled() -> None:
    """The cancellation goes through to what it waits for."""
    effect = Effect()
    task = asyncio.create_task(Done(effect.wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert effect.seen == 0


async def test_a_task_cancelled_before_its_first_step_ends() -> None:
    """Nothing was begun, nothing is left."""
    task = asyncio.create_task(Done(Effect().wait))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
