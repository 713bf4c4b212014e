"""The room's door."""

from __future__ import annotations

import pytest

from aetcd import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Loaded when it is used."""
    assert getattr(testing, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match=r"'aetcd\.testing' has no attribute 'EtcdServr'"):
        _ = testing.EtcdServr  # type: ignore[attr-defined]
