"""Recorded exchanges sent to the double, and how its answers differ from the recorded ones."""

from __future__ import annotations

import io
import json
import re
from urllib.parse import quote

import aiohttp
from attrs import define, field
from doubles.aistore import AIStoreDouble
from doubles.aistore_transcripts import Answer, Exchange, mended
from yarl import URL

PASSED_OVER = {"Content-Length", "Date", "Server", "Transfer-Encoding", "X-Content-Type-Options", "Connection"}
"""Headers that say how, and not what: lengths are those of other texts here, and bodies are compared."""

VOLATILE = {"Atime", "Ais-Atime", "Created", "Append.handle", "Ais-Append-Handle", "Ais-Cluster-Uptime"} | {
    "Ais-Node-Uptime"
}
"""Headers whose values are times, places and states."""

LISTING = re.compile(r'\{"uuid":"([\w-]{9,10})"')


@define
class Got:
    """What the double answered."""

    status: int
    headers: dict[str, str]
    body: bytes


@define
class Replayer:
    """Sends recorded requests, in the addresses and ids of this run."""

    ais: AIStoreDouble
    session: aiohttp.ClientSession
    nodes: dict[str, str]
    known: dict[str, str] = field(factory=dict)

    def here(self, text: str) -> str:
        for recorded, actual in self.known.items():
            text = text.replace(recorded, actual)
        for port, node in self.nodes.items():
            text = text.replace(f"127.0.0.1:{port}", self.ais.node(node).url.removeprefix("http://"))
        return re.sub(r'"daemon_port": ?"(\d+)"', lambda m: f'"daemon_port":"{self._port(m[1])}"', text)

    def _port(self, recorded: str) -> str:
        return str(self.ais.node(self.nodes[recorded]).port) if recorded in self.nodes else recorded

    async def ask(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Got:
        address = URL(url if "://" in url else self.ais.url + url, encoded=True)
        content = io.BytesIO(body) if body else None
        async with self.session.request(
            method, address, data=content, headers=headers, allow_redirects=False
        ) as response:
            return Got(response.status, dict(response.headers), await response.read())

    def learn(self, recorded: Answer, got: Got) -> None:
        """Ids of jobs and listings, and handles, are this run's from here on."""
        text = got.body.decode(errors="replace")
        if re.fullmatch(r"[\w-]{9,10}", recorded.body):
            self.known[recorded.body] = text
        elif re.fullmatch(r"g\d+", recorded.body):
            self.known[f'"{recorded.body}"'] = f'"{text}"'
        elif (before := LISTING.match(recorded.body)) and (after := LISTING.match(text)):
            self.known[before[1]] = after[1]
        if handle := recorded.headers.get("Append.handle"):
            self.known[quote(handle, safe="")] = quote(got.headers["Append.handle"], safe="")


def plain(text: str) -> str:
    """Without what differs from run to run: addresses, places, times, traces."""
    text = re.sub(r"127\.0\.0\.1:(\d+)", "ADDRESS", text)
    text = re.sub(r"remaddr=[\w.:]+", "remaddr=ADDRESS", text)
    text = re.sub(r"utm=\w+", "utm=N", text)
    text = re.sub(r"handle=[^&]+", "handle=H", text)
    text = re.sub(r'"daemon_port": "\d+"', "PORT", text)
    text = re.sub(r"/data/\d/fs/mp\d/\d", "/MOUNTPATH", text)
    text = re.sub(r"\bt(arget000)?[12]\b", "tN", text)
    text = re.sub(r'\\"(remote_addr|trace)\\":\\".*?\\"|"(remote_addr|trace)":".*?"', "", text)
    return re.sub(r"\(\w+\.go, #\d+\)", "(GO)", text)


def kind(value: object) -> str:
    """A JSON type; whole and broken numbers are one."""
    return "number" if type(value) in (int, float) else type(value).__name__


def differences(recorded: object, got: object, *, cut: bool, at: str = "") -> list[str]:
    """How the shapes differ: keys and types. cut: The record is not whole, so that the answer may have more."""
    if kind(recorded) != kind(got):
        return [f"{at}: {kind(recorded)} was recorded, {kind(got)} came"]
    if isinstance(recorded, dict) and isinstance(got, dict):
        counters = "up.ns.time" in recorded or at.endswith((".status", ".cancelled"))
        missing, more = recorded.keys() - got.keys(), got.keys() - recorded.keys()
        out = [f"{at}: {key} is missing" for key in missing]
        # 3.3 leaves out counters that are zero; which are, is another matter in every run.
        out += [f"{at}: {key} was not recorded" for key in more if not (cut or counters)]
        for key in recorded.keys() & got.keys():
            out += differences(recorded[key], got[key], cut=cut, at=f"{at}.{key}")
        return out
    if isinstance(recorded, list) and isinstance(got, list):
        if bool(recorded) != bool(got):
            return [f"{at}: {len(recorded)} were recorded, {len(got)} came"]
        if len(recorded) == len(got) and at.endswith("entries"):
            pairs = zip(recorded, got, strict=True)
            return [d for a, b in pairs for d in differences(a, b, cut=cut, at=f"{at}[]")]
        return [] if not recorded else differences(recorded[0], got[0], cut=cut, at=f"{at}[]")
    return []


def compared(recorded: Answer, got: Got, *, head: bool) -> list[str]:
    """All in which an answer is not as recorded."""
    out = [] if got.status == recorded.status else [f"status {recorded.status} was recorded, {got.status} came"]
    names = recorded.headers.keys() - PASSED_OVER
    seen = got.headers.keys() - PASSED_OVER
    out += [f"header {name} is on one side only" for name in names ^ seen]
    out += [
        f"header {name}: {recorded.headers[name]!r} was recorded, {got.headers[name]!r} came"
        for name in (names & seen) - VOLATILE
        if not alike(recorded.headers[name], got.headers[name])
    ]
    if recorded.headers.get("Connection") == "close" and got.headers.get("Connection") != "close":
        out.append("the connection should be closed")
    if head or not recorded.body:
        return out
    return out + bodies(recorded, got.body)


def alike(recorded: str, got: str) -> bool:
    """Of two values of a header: equal, or JSON of one shape."""
    if not recorded.startswith("{"):
        return plain(recorded) == plain(got)
    shape = differences(mended(recorded), json.loads(got), cut=True)
    wanted, actual = mended(recorded), json.loads(got)
    assert isinstance(wanted, dict)
    return not shape and plain(wanted.get("message", "")) == plain(actual.get("message", ""))


def bodies(recorded: Answer, body: bytes) -> list[str]:
    kind_of = recorded.headers.get("Content-Type", "")
    if kind_of == "application/msgpack":
        return [] if body[:1] == b"\x83" and b"ContinuationToken" in body else ["this is no msgpack of three fields"]
    got = body.decode().strip("\n")
    if recorded.body[:1] not in "{[":
        return texts(plain(recorded.body), plain(got))
    try:
        wanted: object = json.loads(recorded.body)
        cut = False
    except ValueError:
        wanted, cut = mended(recorded.body), True
    actual = json.loads(got)
    out = differences(wanted, actual, cut=cut)
    if isinstance(wanted, dict) and "message" in wanted and isinstance(actual, dict):
        for name in wanted.keys() & {"message", "method", "url_path", "status", "node", "tcode"}:
            before, after = plain(str(wanted[name])), plain(str(actual.get(name)))
            if before != after and not (cut and name == "message" and after.startswith(before[:300])):
                out.append(f"{name}: {before!r} was recorded, {after!r} came")
    if isinstance(wanted, dict) and wanted.get("entries") and not cut:
        names = [[(entry["name"], entry.get("size")) for entry in page["entries"]] for page in (wanted, actual)]
        out += [] if names[0] == names[1] else [f"entries: {names[0]} were recorded, {names[1]} came"]
    return out


def texts(recorded: str, got: str) -> list[str]:
    """Ids are ids; all else is the same."""
    for pattern in (r"[\w-]{9,10}", r"g\d+"):
        if re.fullmatch(pattern, recorded) and re.fullmatch(pattern, got):
            return []
    return [] if recorded == got else [f"{recorded!r} was recorded, {got!r} came"]


async def replay(exchange: Exchange, run: Replayer, sent: bytes, headers: dict[str, str]) -> list[str]:
    """The differences, over all the answers of one exchange."""
    url, out = run.here(exchange.url), []
    for number, recorded in enumerate(exchange.answers):
        got = await run.ask(exchange.method, url, sent, headers)
        out += [f"{exchange} answer {number}: {d}" for d in compared(recorded, got, head=exchange.method == "HEAD")]
        run.learn(recorded, got)
        url = got.headers.get("Location", "")
    if exchange.broke.startswith("RemoteDisconnected"):
        try:
            await run.ask(exchange.method, url, sent, headers)
        except aiohttp.ClientConnectionError:
            return out
        out.append(f"{exchange}: an answer came, and the connection was cut when it was recorded")
    elif exchange.broke and " " not in url:
        out.append(f"{exchange}: {url!r} should be no URL")
    return out
