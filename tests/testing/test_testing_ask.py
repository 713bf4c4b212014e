"""Who leads, judged from what the members say."""

from __future__ import annotations

import pytest

from aetcd.testing._ask import Standing, elected, healthy, listens, standing


def says(member: int, leader: int, term: int = 2) -> Standing:
    return Standing(member=member, leader=leader, term=term)


@pytest.mark.parametrize(
    ("standings", "size", "leader"),
    [
        ([says(1, 1)], 1, 1),
        ([says(1, 1), says(2, 1), says(3, 1)], 3, 1),
        ([says(1, 1), says(2, 1)], 3, 1),
        ([], 3, None),
        ([says(1, 0), says(2, 0), says(3, 0)], 3, None),
        # A minority, such as a leader that was cut off.
        ([says(1, 1)], 3, None),
        ([says(1, 1), says(2, 1)], 5, None),
        # The followers of a leader that was just killed, and does not answer.
        ([says(2, 1), says(3, 1)], 3, None),
        # An old leader that comes back from a pause, before it has heard of the new one.
        ([says(1, 1, term=2), says(2, 2, term=3), says(3, 2, term=3)], 3, 2),
        # A new term, in which one member alone has heard of its leader.
        ([says(1, 1, term=2), says(2, 1, term=2), says(3, 3, term=3)], 3, None),
    ],
)
def test_who_leads(standings: list[Standing], size: int, leader: int | None) -> None:
    """A majority of the newest term decides, and the leader must have answered."""
    assert elected(standings, size) == leader


async def test_a_silent_port_has_no_standing() -> None:
    """Nobody there: no answer, no health, no listener."""
    nowhere = "http://127.0.0.1:1"
    assert await standing(nowhere, None) is None
    assert not await healthy(nowhere, None)
    assert not await listens(nowhere)
