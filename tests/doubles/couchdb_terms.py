"""How CouchDB names things: revisions (the MD5 of an Erlang term), update sequences, entity tags, uuids.

Revisions are computed as the server computes them, so that the recorded ones come out byte for byte.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from binascii import Error as BadBase64
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""What JSON can say. The double passes it on as it came; a test compares it."""

SEQ_MARK = "g1AAAA"
"""How each packed sequence begins: zlib-compressed Erlang term, base64."""


def dumps(value: Json) -> bytes:
    """Compact JSON, as the server writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def term(value: Json) -> bytes:
    """The external term format of Erlang, as `term_to_binary` of OTP 25 writes JSON values."""
    match value:
        case None:
            return atom("null")
        case bool():
            return atom("true" if value else "false")
        case int():
            return integer(value)
        case float():
            return b"F" + struct.pack(">d", value)
        case str():
            return term(value.encode())
        case bytes():
            return b"m" + struct.pack(">I", len(value)) + value
        case tuple():
            return b"h" + bytes([len(value)]) + b"".join(map(term, value))
        case dict():
            return term((list(value.items()),))
        case _:
            return sequence(value)


def atom(name: str) -> bytes:
    return b"d" + struct.pack(">H", len(name)) + name.encode()


def integer(value: int) -> bytes:
    if 0 <= value <= 255:
        return b"a" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"b" + struct.pack(">i", value)
    size = abs(value)
    packed = size.to_bytes((size.bit_length() + 7) // 8, "little")
    return b"n" + bytes([len(packed), int(value < 0)]) + packed


def sequence(items: list[Json]) -> bytes:
    if not items:
        return b"j"
    # A list of small integers is a string to Erlang.
    if len(items) < 65536 and all(type(item) is int and 0 <= item <= 255 for item in items):
        return b"k" + struct.pack(">H", len(items)) + bytes(items)
    return b"l" + struct.pack(">I", len(items)) + b"".join(map(term, items)) + b"j"


def next_rev(parent: str | None, body: Json, *, deleted: bool, attachments: list[tuple[str, str, bytes]]) -> str:
    """The revision that follows `parent`: a hash of what is written, so equal writes get equal revisions."""
    start, old = 0, 0 if parent is None else old_hash(parent)
    if parent is not None:
        start = generation(parent)
    packed = b"\x83" + term([deleted, start, old, body, attachments])
    return f"{start + 1}-{hashlib.md5(packed).hexdigest()}"


def old_hash(rev: str) -> bytes:
    """What the server keeps of a revision: 16 bytes where it looks like a hash, else the text."""
    text = rev.split("-", 1)[1]
    try:
        return bytes.fromhex(text) if len(text) == 32 else text.encode()
    except ValueError:
        return text.encode()


def generation(rev: str) -> int:
    return int(rev.split("-", 1)[0])


def pack_seq(number: int, incarnation: str, node: str) -> str:
    """An update sequence: opaque to clients, another at each node, bound to one incarnation of its database."""
    inner = base64.urlsafe_b64encode(f"{incarnation}/{number}/{node}".encode()).decode().rstrip("=")
    return f"{number}-{SEQ_MARK}{inner}"


def unpack_seq(text: str, incarnation: str) -> int | None:
    """The number in a sequence, 0 for another incarnation's (the server then replays all); None if malformed."""
    number, dash, packed = text.partition("-")
    if not dash or not number.isdigit() or not packed.startswith(SEQ_MARK):
        return None
    inner = packed.removeprefix(SEQ_MARK)
    try:
        parts = base64.urlsafe_b64decode(inner + "=" * (-len(inner) % 4)).decode().split("/")
    except (BadBase64, ValueError):
        return 0  # a real server's sequence, not ours
    return int(parts[1]) if parts[0] == incarnation and len(parts) == 3 else 0


def etag(*parts: object) -> str:
    """A tag in the server's alphabet: 25 characters of base 36, in quotes."""
    number = int(hashlib.md5(repr(parts).encode()).hexdigest(), 16)
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[rest] + digits
    return f'"{digits}"'


def digest(*parts: object) -> str:
    """32 hex digits that stand for `parts`."""
    return hashlib.md5(repr(parts).encode()).hexdigest()
