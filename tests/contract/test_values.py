"""Values: text and bytes as they are, anything else as JSON."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

import attrs
import msgspec
import pytest

import aetcd


@attrs.frozen
class Database:
    host: str
    port: int = 5432
    replicas: tuple[str, ...] = ()


@dataclass
class Flag:
    name: str
    on: bool
    since: datetime | None = None


class Limits(TypedDict):
    low: int
    high: int


class Point(msgspec.Struct):
    x: float
    y: float


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "text",
        " spaces around ",
        "several\nlines\r\nand\ttabs\n",
        "Grüße, 世界 🦀",
        "a=1&b=2;c+d%20#?",
        '{"looks": "like JSON"}',
        "\x00\x01 control \x7f",
        "x" * 500_000,
    ],
    ids=lambda value: ascii(value[:12]),
)
async def test_text_comes_back_as_it_was(client: aetcd.Client, value: str) -> None:
    """Every character, and nothing trimmed."""
    await client.set("key", value)
    assert await client.get("key") == value
    assert await client.get("key", type=str) == value
    assert await client.get("key", type=bytes) == value.encode()
    await client.compare_and_swap("key", "next", previous_value=value)


@pytest.mark.parametrize("value", [b"", b"text", "Grüße".encode(), bytearray(b"array"), memoryview(b"view")])
async def test_bytes_that_are_text(client: aetcd.Client, value: bytes) -> None:
    """Bytes are stored as they are, on v2 too where they are UTF-8."""
    await client.set("key", value)
    assert await client.get("key", type=bytes) == bytes(value)
    assert await client.get("key") == bytes(value).decode()


async def test_bytes_that_are_no_text(client: aetcd.Client, protocol: str) -> None:
    """v3 stores any bytes; v2 stores text only, and says so before anything is sent."""
    value = bytes(range(256))
    if protocol == "v2":
        await client.set("key", "before")
        for write in (client.set, client.create, client.update):
            with pytest.raises(aetcd.Unsupported, match="value"):
                await write("key", value)
        with pytest.raises(aetcd.Unsupported, match="value"):
            await client.compare_and_swap("key", value, previous_value="before")
        assert await client.get("key") == "before"
        return
    await client.set("key", value)
    assert await client.get("key", type=bytes) == value
    with pytest.raises(aetcd.DecodeError, match="'key'") as caught:
        await client.get("key")
    assert caught.value.key == "key"
    await client.compare_and_delete("key", previous_value=value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Database("db", replicas=("a", "b")), Database),
        (Flag("beta", on=True, since=datetime(2026, 1, 1, tzinfo=UTC)), Flag),
        (Limits(low=1, high=2), Limits),
        (Point(1.5, -2.0), Point),
        ([1, 2, 3], list[int]),
        ({"a": [1, None]}, dict[str, list[int | None]]),
        ([Database("x")], list[Database]),
        (0, int),
        (2**62, int),
        (-1.5, float),
        (True, bool),
        (False, bool),
        (None, type(None)),
        ({"any": ["thing", 1]}, Any),
    ],
    ids=lambda item: None if isinstance(item, type) else type(item).__name__,
)
async def test_objects_as_json(client: aetcd.Client, value: object, kind: Any) -> None:
    """Any other object is JSON on the server, and comes back as the type that is asked for."""
    await client.set("key", value)
    found = await client.get("key", type=kind)
    assert found == value
    assert type(found) is type(value)
    assert await client.get("key", type=bytes) == msgspec.json.encode(value)


async def test_objects_can_be_compared(client: aetcd.Client) -> None:
    """What is expected is encoded as what is written."""
    await client.set("key", Database("a"))
    await client.compare_and_swap("key", Database("b"), previous_value=Database("a"))
    with pytest.raises(aetcd.CompareFailed):
        await client.compare_and_delete("key", previous_value=Database("a"))
    await client.compare_and_delete("key", previous_value=Database("b"))


async def test_an_enumeration_of_text(client: aetcd.Client) -> None:
    """It is text."""
    await client.set("key", Colour.RED)
    assert await client.get("key") == "red"


@pytest.mark.parametrize("kind", [int, Database, Limits, list[int], Flag], ids=str)
async def test_a_value_that_does_not_fit(client: aetcd.Client, kind: Any) -> None:
    """DecodeError, naming the key; the raw value can still be read."""
    await client.set("config/db", '{"host": 1}')
    with pytest.raises(aetcd.DecodeError, match="config/db") as caught:
        await client.get("config/db", type=kind)
    assert caught.value.key == "config/db"
    result = await client.get("config/db", type=kind, full=True)
    assert result is not None
    assert result.node.raw == b'{"host": 1}'
    with pytest.raises(aetcd.DecodeError, match="config/db"):
        result.node.value


async def test_a_bool_is_no_number(client: aetcd.Client) -> None:
    """Types are checked, not coerced."""
    for value, kind in (("true", int), ("1", bool), ('"1"', int), ("1.5", int), ("null", int)):
        await client.set("key", value)
        with pytest.raises(aetcd.DecodeError):
            await client.get("key", type=kind)


async def test_values_deeper_than_can_be_read(client: aetcd.Client) -> None:
    """They do not decode, and that is all that happens."""
    await client.set("key", "[" * 100_000)
    with pytest.raises(aetcd.DecodeError, match="'key'"):
        await client.get("key", type=Any)


async def test_typed_values_in_a_watch(client: aetcd.Client) -> None:
    """A value that does not decode is told when it is read, `raw` stays, and the watch goes on."""
    async with asyncio.timeout(10), client.watch("n", type=int) as changes:
        await client.set("n", 1)
        await client.set("n", "one")
        await client.set("n", 2)
        await client.delete("n")
        first, broken, last, gone = [await anext(changes) for _ in range(4)]
    assert isinstance(first, aetcd.Change)
    assert isinstance(broken, aetcd.Change)
    assert isinstance(last, aetcd.Change)
    assert isinstance(gone, aetcd.Change)
    assert first.value == 1
    with pytest.raises(aetcd.DecodeError, match="'n'"):
        broken.value
    assert broken.raw == b"one"
    assert last.value == 2
    assert last.previous is not None
    with pytest.raises(aetcd.DecodeError, match="'n'"):
        last.previous.value
    assert gone.value is None
    assert gone.previous is not None
    assert gone.previous.value == 2
