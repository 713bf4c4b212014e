"""Cutting a byte stream into the JSON values that it carries, however the network sliced it."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["JSONValues"]

# A whole string, or one bracket. What is inside strings is skipped at the speed of the regex engine.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]"]', re.DOTALL)
_OPENING = b"{["


class JSONValues:
    """Splits a stream of JSON objects that stand one after the other, with or without newlines between.

    etcd's gateway ends each message of a stream with a newline, but not the error that ends it (up to 3.5), and older
    gateways wrote no newline at all. JSON never holds a raw newline within a value as Go writes it, so a newline is
    trusted as an end, and brackets are counted only in what is left behind the last one.
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes and give every value that they complete."""
        yield from self.cut(self.lines(data))
        yield from self.tail()

    # The same in three parts, for whoever can read many lines at once

    def lines(self, data: bytes) -> bytes:
        """Take the next bytes and give the lines that are whole with them. What is left is for `tail`."""
        if not self._rest and data.endswith(b"\n"):  # as nearly always
            return data
        self._rest += data
        end = self._rest.rfind(b"\n") + 1
        lines = bytes(self._rest[:end])
        del self._rest[:end]
        return lines

    def cut(self, lines: bytes) -> Iterator[bytes]:
        """Every value in lines that are whole."""
        for line in lines.split(b"\n"):
            if line and not line.isspace():
                yield from self._values(line)

    def tail(self) -> Iterator[bytes]:
        """Every value behind the last newline, where they are whole."""
        # A value without a newline can only be whole when the last byte closes it.
        if self._rest.endswith(b"}"):
            rest = bytes(self._rest)
            ends = list(_ends(rest))
            if ends and ends[-1] == len(rest):
                self._rest.clear()
                yield from _cut(rest, ends)

    @property
    def pending(self) -> int:
        """Bytes of a value that is not complete: more than none at the end of a stream means it was cut."""
        return len(self._rest)

    @staticmethod
    def _values(line: bytes) -> Iterator[bytes]:
        if b"}{" not in line:
            yield line
        else:
            yield from _cut(line, list(_ends(line)) or [len(line)])


def _ends(text: bytes) -> Iterator[int]:
    """Where each outermost value of the text ends."""
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first == 0x22:  # a string, or the opening quote of one that is not complete
            if token.end() - token.start() == 1:
                return
        elif first in _OPENING:
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                yield token.end()


def _cut(text: bytes, ends: list[int]) -> Iterator[bytes]:
    start = 0
    for end in ends:
        yield text[start:end]
        start = end
    if text[start:].strip():
        yield text[start:]
