"""The recorded exchanges with real clusters, as values."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

FOLDER = Path(__file__).parent / "transcripts" / "aistore"

_ASKED = re.compile(r">>> (?P<method>[A-Z]+) (?P<url>\S+) ?(?P<body>\{.*\}|<\d+ bytes>)? ?(?P<note>\(.*\))?")
_CUT = re.compile(r"\.\.\.\(\d+\)$")


@frozen
class Answer:
    """An answer as it was recorded. body: As text; cut: The record leaves off within it."""

    status: int
    headers: dict[str, str]
    body: str = ""

    @property
    def cut(self) -> bool:
        return bool(_CUT.search(self.body))


@frozen
class Exchange:
    """A request and the answers to it, the redirect's first. broke: What the recorder's client said in their place."""

    number: int
    method: str
    url: str
    body: str = ""
    note: str = ""
    headers: dict[str, str] = field(factory=dict)
    answers: tuple[Answer, ...] = ()
    broke: str = ""

    @property
    def follow(self) -> bool:
        return len(self.answers) > 1

    def __str__(self) -> str:
        path = "/" + self.url.split("/", 3)[3] if "://" in self.url else self.url
        return f"{self.number} {self.method} {path[:60]} {self.body[:60]} {self.note}".strip()


def old() -> list[Exchange]:
    """Those with 3.3: the recorder left out the headers of the requests, and the content of some."""
    text = (FOLDER / "3.3.txt").read_text(encoding="utf-8", errors="replace")
    return [_old(number, block) for number, block in enumerate(text.split("\n>>> ")[1:])]


def _old(number: int, block: str) -> Exchange:
    head, *lines = block.split("\n")
    asked = _ASKED.fullmatch(">>> " + head.strip())
    assert asked is not None, head
    answers: list[Answer] = []
    body: list[str] = []
    broke = ""
    for line in lines:
        if line.startswith("<<< "):
            status, _, rest = line[4:].partition(" ")
            body = []
            answers.append(Answer(int(status), ast.literal_eval(rest[rest.index("{") :])))
        elif line.startswith("!!! "):
            broke = line[4:]
        elif line.startswith("=====") or not answers:
            break
        elif line.startswith("    ") or (line and body):
            body.append(line.removeprefix("    "))
            answers[-1] = Answer(answers[-1].status, answers[-1].headers, "\n".join(body).strip("\n"))
    told = asked["body"] or ""
    return Exchange(number, asked["method"], asked["url"], told, asked["note"] or "", {}, tuple(answers), broke)


def current() -> list[Exchange]:
    """Those with the cluster of today, by curl."""
    text = (FOLDER / "current.txt").read_text(encoding="utf-8", errors="replace")
    return [_current(number, block) for number, block in enumerate(text.split("\n>>> ")[1:])]


def _current(number: int, block: str) -> Exchange:
    head, _, rest = block.partition("\n")
    words = iter(head.split(" "))
    method, body, url, headers = "GET", "", "", {}
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-I":
                method = "HEAD"
            case "-d":
                body = next(words)
            case "-T":
                next(words)
                body = "<hello>"
            case "-H":
                name = next(words).removesuffix(":")
                headers[name] = next(words)
            case "-L":
                pass
            case _:
                url = word
    return Exchange(number, method, url, body, "", headers, tuple(blocks(rest)))


def auth() -> list[Answer]:
    """The answers of 3.3 with authentication; the requests were not recorded."""
    text = (FOLDER / "3.3-auth.txt").read_text(encoding="utf-8", errors="replace")
    text = re.sub(r"^(-- .*|token .*|bob .*|\d{3})\n", "", text, flags=re.MULTILINE)
    return list(blocks(text))


def blocks(text: str) -> Iterator[Answer]:
    """Answers as curl prints them, one after the other."""
    for block in re.split(r"^HTTP/1\.1 ", text, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n\n")
        first, *lines = head.split("\n")
        status = int(first[:3])
        if status == 100:
            continue
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        yield Answer(status, headers, body.strip("\n"))


def mended(text: str) -> object:
    """JSON that was cut somewhere: what stands before the cut. Raises ValueError where it is no JSON."""
    text = _CUT.sub("", text)
    try:
        return json.loads(text)
    except ValueError:
        pass
    for end in range(len(text), 0, -1):
        closers, within = _open(text[:end])
        try:
            return json.loads(text[:end] + ('"' if within else "") + closers)
        except ValueError:
            continue
    raise ValueError(f"no JSON: {text[:80]}")


def _open(text: str) -> tuple[str, bool]:
    """What closes the brackets that are open at the end, and whether it lies within a string."""
    stack: list[str] = []
    within = escaped = False
    for char in text:
        if within:
            within = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            within = True
        elif char in "{[":
            stack.append("}" if char == "{" else "]")
        elif char in "}]":
            stack.pop()
    return "".join(reversed(stack)), within
