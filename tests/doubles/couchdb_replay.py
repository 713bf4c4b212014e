"""Recorded exchanges: reading them, asking the same again over a raw socket, and comparing what came.

`transcripts/couchdb/*.jsonl` hold them, one to a line, in the order in which they were made: `name`, `method`, `path`,
`headers`, `body` (`sized`: with a Content-Length), then `status`, `phrase`, `answer_headers` (without Date and Server)
and `answer`, or for feeds `reads`: what was read from the socket, chunk sizes included, and after how many seconds.
`end` says how it ended, `silent` that nothing came, `truncated` that the recorder kept only the beginning.

What a server draws for itself (sequences, uuids, times, addresses) differs each time: such texts must be of one kind,
and the recorded one stands for the new one in all that follows. All else must be equal.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from attrs import define, field, frozen
from doubles.couchdb_terms import Json

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "couchdb"
PATIENCE = 10.0
"""Seconds for an answer that was recorded as complete."""

REV = r"\d+-[0-9a-f]{32}"
"""A revision is computed and must come out the same, except where an address is part of the document."""

KINDS = {
    "sequence": r"0|\d+-g1AAAA.*",
    "id of 32 digits": r"[0-9a-f]{32}(\+\w+)*",
    "id of a job": r"001-[0-9a-f]{64}",
    "id of an index": r"_design/[0-9a-f]{40}",
    "shard": r"shards/[0-9a-f]{8}-[0-9a-f]{8}/.+\.\d{10}",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "date": r"\w{3}, \d\d[ -]\w{3}[ -]\d{4} \d\d:\d\d:\d\d GMT",
    "seconds": r"1[78]\d{8}",
    "pid": r"<0\.\d+\.0>",
    "bookmark": r"g1AAAA[\w-]+",
    "tag": r'"[0-9A-Z]{23,25}"',
    "request": r"[0-9a-f]{10}",
    "stack": r"\d{9,10}",
    "cookie": r"AuthSession=[\w-]*; Version=1; Expires=[^;]*; Max-Age=\d+; Path=/; HttpOnly",
}
"""Texts that a server draws for itself."""

VARYING = {
    "active", "arithmetic_mean", "bulk_get_attempts", "bulk_get_docs", "changes_done", "checkpoint_interval",
    "docs_read", "docs_written", "end_time", "execution_time_ms", "external", "file", "geometric_mean",
    "harmonic_mean", "kurtosis", "last_updated", "max", "median", "min", "missing_revisions_found", "n",
    "os_proc_count", "ref", "revisions_checked", "skewness", "standard_deviation", "started_on", "total_changes",
    "updated_on", "uptime", "value", "variance",
}  # fmt: skip
"""Numbers that count or measure."""

EITHER = {"info", "pid", "through_seq"}
"""Null or not, as far as a job has come."""

HEADERS = [
    "Allow", "Cache-Control", "Connection", "Content-Security-Policy", "Content-Type", "ETag", "Expires",
    "last-modified", "Location", "Pragma", "Set-Cookie", "Transfer-Encoding", "WWW-Authenticate",
    "X-Couch-Request-ID", "X-Couch-Stack-Hash",
]  # fmt: skip

Action = tuple[float, Callable[[], Awaitable[object]]]
"""What happens so many recorded seconds after a feed was opened."""


@frozen(kw_only=True)
class Exchange:
    file: str
    index: int
    record: Mapping[str, Json]

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def id(self) -> str:
        return f"{self.file}/{self.index}: {self.name}"

    @property
    def lasts(self) -> float | None:
        """Recorded seconds after which the client of then gave up."""
        end = self.record.get("silent") or self.record.get("end") or ""
        found = re.search(r"timeout\(client\) after ([\d.]+)s", end)
        return None if found is None else float(found[1])


@frozen(kw_only=True)
class Heard:
    """What came back. `first`: seconds until the first byte. Status 0: nothing came."""

    status: int = 0
    phrase: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    first: float = 0.0


def load(file: str) -> list[Exchange]:
    lines = (TRANSCRIPTS / f"{file}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [Exchange(file=file, index=index, record=row) for index, row in enumerate(rows) if "method" in row]


@define
class Names:
    """What stands for what: the recorded text, and ours."""

    known: dict[str, str] = field(factory=dict)
    revs_differ: bool = False

    def ours(self, text: str) -> str:
        for recorded in sorted(self.known, key=len, reverse=True):
            text = text.replace(recorded, self.known[recorded])
        return text

    def learn(self, recorded: str, ours: str) -> None:
        if len(recorded) < 8:
            return  # `0` stands for nothing but itself
        # A replication's id is used with and without its flags, and with `+` as `%2B`.
        self.known[recorded.split("+", maxsplit=1)[0]] = ours.split("+", maxsplit=1)[0]


# Asking


async def ask(exchange: Exchange, url: str, names: Names, *, pace: float, actions: Sequence[Action] = ()) -> Heard:
    address = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
    except ConnectionError:
        return Heard()
    writer.write(wire(exchange, address.netloc, names))
    limit = PATIENCE if exchange.lasts is None else exchange.lasts * pace + 0.15
    try:
        async with asyncio.TaskGroup() as group:
            for at, act in actions:
                group.create_task(later(at * pace, act))
            heard = await hear(reader, exchange.record["method"], limit)
    finally:
        writer.close()
    return heard


async def later(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    await asyncio.sleep(seconds)
    await act()


def wire(exchange: Exchange, host: str, names: Names) -> bytes:
    record = exchange.record
    body = names.ours(record["body"]).encode()
    lines = [f"{record['method']} {names.ours(record['path'])} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {names.ours(value)}" for name, value in record["headers"].items()]
    if record.get("sized"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def hear(reader: asyncio.StreamReader, method: str, limit: float) -> Heard:
    loop = asyncio.get_running_loop()
    begun, first, data = loop.time(), 0.0, b""
    try:
        async with asyncio.timeout(limit):
            while not whole(data, method) and (more := await reader.read(65536)):
                first = first or loop.time() - begun
                data += more
    except (TimeoutError, ConnectionError):
        pass  # as far as it came, which the comparison judges
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head:
        return Heard()
    status, *lines = head.decode("latin1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    body = dechunked(rest)[0] if headers.get("Transfer-Encoding") == "chunked" else rest
    return Heard(status=int(status[9:12]), phrase=status[13:], headers=headers, body=body, first=first)


def whole(data: bytes, method: str) -> bool:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"\r\nContent-Length: (\d+)", head, re.IGNORECASE)
    if method == "HEAD" or b" 304 " in head[:20]:
        return True
    return dechunked(rest)[1] if length is None else len(rest) >= int(length[1])


def dechunked(data: bytes) -> tuple[bytes, bool]:
    """What the chunks hold, and whether the last of them has come. What is no chunk stays as it is."""
    body = b""
    while True:
        line, end, rest = data.partition(b"\r\n")
        if not end or re.fullmatch(rb"[0-9a-fA-F]+", line) is None:
            return body + data, False
        size = int(line, 16)
        if size == 0:
            return body, True
        body, data = body + rest[:size], rest[size + 2 :]


# Comparing


def differences(exchange: Exchange, heard: Heard, names: Names, *, pace: float) -> list[str]:
    record = exchange.record
    if "silent" in record:
        return [] if heard.status == 0 else [f"recorded silence, got {heard.status}"]
    if (heard.status, heard.phrase) != (record["status"], record["phrase"]):
        return [f"{record['status']} {record['phrase']} != {heard.status} {heard.phrase}: {heard.body[:300]!r}"]
    found: list[str] = []
    if "reads" in record:
        found += feed_differences(exchange, heard, names, pace)
    elif record.get("truncated"):
        found += beginning_differences(record["answer"], heard.body.decode())
    elif record["method"] != "HEAD":
        found += body_differences(exchange, heard, names)
    # The body first: it names what the headers repeat.
    return [*found, *header_differences(record["answer_headers"], heard.headers, names)]


def header_differences(recorded: Mapping[str, str], ours: Mapping[str, str], names: Names) -> Iterator[str]:
    before = {name.lower(): value for name, value in recorded.items()}
    after = {name.lower(): value for name, value in ours.items()}
    for name in map(str.lower, HEADERS):
        if (name in before) != (name in after):
            yield f"header {name}: {before.get(name)!r} != {after.get(name)!r}"
        elif name in before and name != "set-cookie":
            yield from text_differences(f"header {name}", before[name], after[name], names)
        elif name in before:
            yield from cookie_differences(before[name], after[name], names)


def cookie_differences(recorded: str, ours: str, names: Names) -> Iterator[str]:
    if re.fullmatch(KINDS["cookie"], ours) is None:
        yield f"header set-cookie: {ours!r}"
        return
    before, after = recorded.split("; "), ours.split("; ")
    if before[3] != after[3] or (before[0] == "AuthSession=") != (after[0] == "AuthSession="):
        yield f"header set-cookie: {recorded!r} != {ours!r}"
    if len(before[0]) > 20:
        names.learn(before[0].removeprefix("AuthSession="), after[0].removeprefix("AuthSession="))


def text_differences(where: str, recorded: str, ours: str, names: Names) -> Iterator[str]:
    if ours in {recorded, names.ours(recorded)}:
        return
    for pattern in [*KINDS.values(), *([REV, f'"{REV}"'] if names.revs_differ else [])]:
        if re.fullmatch(pattern, recorded) and re.fullmatch(pattern, ours):
            # The seq of a row may be another's, for rows come in another order: what counts is `last_seq`.
            if not where.startswith(".results") or not where.endswith(".seq"):
                names.learn(recorded, ours)
            return
    yield f"{where}: {names.ours(recorded)!r} != {ours!r}"


def body_differences(exchange: Exchange, heard: Heard, names: Names) -> Iterator[str]:
    recorded, ours = exchange.record["answer"], heard.body.decode()
    try:
        before, after = json.loads(recorded), json.loads(ours)
    except ValueError:
        if recorded.strip() != ours.strip():
            yield f"body: {recorded!r} != {ours!r}"
        return
    limited = "limit=" in exchange.record["path"] and "results" in recorded
    yield from json_differences("", before, after, names, limited=limited)


def beginning_differences(recorded: str, ours: str) -> Iterator[str]:
    """Of a body that the recorder cut short, the beginning, numbers apart."""
    before = leveled(re.sub(r"\.\.\.\[\d+ bytes\]\Z", "", recorded).strip())
    after = leveled(ours.strip())[: len(before)]
    if before != after:
        at = next(at for at, (one, other) in enumerate(zip(before, after + " ", strict=False)) if one != other)
        yield f"beginning of the body: {before[max(at - 80, 0) : at + 80]!r} != {after[max(at - 80, 0) : at + 80]!r}"


def leveled(text: str) -> str:
    return re.sub(r"[0-9a-f]{8,}|\d+(\.\d+)?", "0", text)


def json_differences(where: str, before: Json, after: Json, names: Names, *, limited: bool = False) -> Iterator[str]:
    key = where.rpartition(".")[2]
    if key in EITHER and (before is None or after is None):
        return
    if isinstance(before, str) and isinstance(after, str):
        yield from text_differences(where, before, after, names)
    elif isinstance(before, dict) and isinstance(after, dict):
        if list(before) != list(after):
            yield f"{where} keys: {list(before)} != {list(after)}"
        for name in set(before) & set(after):
            yield from json_differences(f"{where}.{name}", before[name], after[name], names, limited=limited)
    elif isinstance(before, list) and isinstance(after, list):
        yield from list_differences(where, before, after, names, limited=limited)
    elif type(before) is not type(after) or (before != after and key not in VARYING):
        yield f"{where}: {before!r} != {after!r}"


def list_differences(
    where: str, before: list[Json], after: list[Json], names: Names, *, limited: bool
) -> Iterator[str]:
    if len(before) != len(after):
        yield f"{where}: {len(before)} != {len(after)} items: {names.ours(json.dumps(before))} != {json.dumps(after)}"
        return
    if where in {".results", ".jobs"}:
        # The order of events is the shards', that of jobs their ids'. A limit decides by it which rows are there.
        before = sorted(before, key=lambda row: names.ours(identity(row)))
        after = sorted(after, key=identity)
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        if limited and where == ".results":
            yield from shape_differences(f"{where}[{index}]", one, other)
        else:
            yield from json_differences(f"{where}[{index}]", one, other, names, limited=limited)


def identity(row: Json) -> str:
    if "db_name" in row:
        return f"{row['type']}:{row['db_name']}"
    return str(row["doc_id"] if "doc_id" in row else row.get("id"))


def shape_differences(where: str, before: Json, after: Json) -> Iterator[str]:
    if type(before) is not type(after):
        yield f"{where}: {before!r} != {after!r}"
    elif isinstance(before, dict) and list(before) != list(after):
        yield f"{where} keys: {list(before)} != {list(after)}"


# Feeds


def feed_differences(exchange: Exchange, heard: Heard, names: Names, pace: float) -> Iterator[str]:
    reads = exchange.record["reads"]
    raw = "".join(text for _, text in reads).encode("latin1")
    before, after = Told.of(dechunked(raw)[0]), Told.of(heard.body)
    late = reads[0][0]
    if late >= 0.5 and heard.first < late * pace * 0.5:
        yield f"headers came after {heard.first:.3f} s, recorded {late} s at pace {pace}"
    for name in ("marks", "crashed", "beating"):
        if getattr(before, name) != getattr(after, name):
            yield f"{name}: {getattr(before, name)!r} != {getattr(after, name)!r} in {heard.body[-600:]!r}"
    if before.names != after.names and "limit=" not in exchange.record["path"]:
        yield f"rows: {before.names} != {after.names}"
    if bool(before.rows) != bool(after.rows):
        yield f"rows: {len(before.rows)} != {len(after.rows)}"
    for one, other in zip(before.rows[:1], after.rows[:1], strict=False):
        yield from shape_differences("row", one, other)
    for one, other in zip(before.last, after.last, strict=False):
        yield from json_differences("last", one, other, names)


@define
class Told:
    """What a feed said, apart from the order of its rows and the number of its heartbeats."""

    rows: list[Json] = field(factory=list)
    last: list[Json] = field(factory=list)
    marks: list[str] = field(factory=list)
    crashed: bool = False
    beating: bool = False

    @classmethod
    def of(cls, body: bytes) -> Told:
        told = cls()
        text, crash, _ = body.decode().partition("HTTP/1.1 500")
        told.crashed = bool(crash)
        for line in text.replace("\r", "").split("\n"):
            told.take(line.strip().lstrip(","))
        return told

    def take(self, line: str) -> None:
        bare = line.removeprefix("data: ").removesuffix(",")
        if line == "event: heartbeat":
            self.beating = True
        elif bare.startswith('{"results"') or bare == "]":
            self.marks.append(bare)
        elif bare.startswith(('"last_seq"', '{"last_seq"')):
            self.last.append(json.loads("{" + bare.lstrip("{")))
            self.marks.append("last_seq")
        elif bare.startswith("{"):
            self.rows.append(json.loads(bare))

    @property
    def names(self) -> set[str]:
        return {identity(row) for row in self.rows}
