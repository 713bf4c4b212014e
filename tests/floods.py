"""Many writes to etcd v2, which cost little here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator

from aetcd.testing import EtcdServer


class Flood:
    """Writes by plain sockets, which leave the processor to the watches. `written` are the indexes, in no order."""

    def __init__(self, etcd: EtcdServer, prefix: str, count: int, *, size: int = 0, writers: int = 8) -> None:
        self.written: list[int] = []
        self._etcd = etcd
        self._prefix = prefix
        self._count = count
        self._value = b"x" * size
        self._writers = writers

    async def write(self, allowed: Callable[[int], bool] = lambda _: True) -> None:
        """Write on while `allowed` says yes of how many were written."""
        numbers = iter(range(self._count))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._writers):
                group.create_task(self._write(numbers, allowed))

    async def _write(self, numbers: Iterator[int], allowed: Callable[[int], bool]) -> None:
        host, port = self._etcd.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
        for number in numbers:
            while not allowed(len(self.written)):
                await asyncio.sleep(0.002)
            body = b"noValueOnSuccess=true&value=%d%s" % (number, self._value)
            writer.write(
                b"PUT /v2/keys/%s%d HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\n%s"
                % (self._prefix.encode(), number % 50, host.encode(), len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 20")
            await reader.readexactly(number_in(rb"Content-Length: (\d+)", head))
            self.written.append(number_in(rb"X-Etcd-Index: (\d+)", head))
        writer.close()
        await writer.wait_closed()


def number_in(pattern: bytes, text: bytes) -> int:
    found = re.search(pattern, text, re.IGNORECASE)
    assert found, text
    return int(found[1])
