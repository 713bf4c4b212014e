"""Requests as the server wants them, and the redirects with which its gateways answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote, urlencode

from attrs import field, frozen

from aetcd._wire.decode import encode
from aetcd._wire.message import NO_HEADERS, Effect, Request, Response
from aetcd.aistore._arguments import check_bucket, check_namespace, check_provider
from aetcd.aistore._errors import judge
from aetcd.errors import DecodeError

__all__ = [
    "JSON",
    "BucketRef",
    "Redirect",
    "action",
    "message",
    "object_path",
    "read_redirect",
    "read_time",
    "request",
    "with_query",
]

JSON: Mapping[str, str] = {"Content-Type": "application/json"}

_AUTHORITY = re.compile(r"(https?)://([^/?#@\s]+)(?=[/?#])")
_PAIR = re.compile(r"[A-Za-z0-9_-]+=[A-Za-z0-9_.~:%+/=-]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ESCAPES = ((b"&", b"\\u0026"), (b"<", b"\\u003c"), (b">", b"\\u003e"))
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


@frozen(kw_only=True)
class BucketRef:
    """Which bucket is meant.

    provider: None finds it among all, by its name in the global namespace.
    namespace: `@<cluster>#<name>`; None is the global one.
    """

    name: str = field(converter=check_bucket)
    provider: str | None = field(default=None, converter=check_provider)
    namespace: str | None = field(default=None, converter=check_namespace)

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """Its identity as the query has it. With a namespace 3.3 finds nothing without the provider."""
        pairs = [("provider", self.provider or ("ais" if self.namespace else None)), ("namespace", self.namespace)]
        return tuple((name, value) for name, value in pairs if value is not None)

    @property
    def json(self) -> dict[str, Any]:
        """Its identity as a body has it."""
        cluster, _, name = (self.namespace or "").removeprefix("@").partition("#")
        place = {"uuid": cluster if (self.namespace or "").startswith("@") else "", "name": name}
        return {"name": self.name, "provider": self.provider or "ais", "namespace": place}

    @property
    def uname(self) -> str:
        """Its identity in one word, as today's query wants a destination: `ais/@#/name/`."""
        return f"{self.provider or 'ais'}/{self._written()}/{self.name}/"

    def _written(self) -> str:
        namespace = self.namespace or "@#"
        return namespace if namespace.startswith("@") else f"@{namespace}"

    @property
    def path(self) -> str:
        """Where the bucket is asked for."""
        return f"/v1/buckets/{quote(self.name, safe='')}"

    def __str__(self) -> str:
        namespace = f"{self.namespace}/" if self.namespace else ""
        return f"{self.provider or 'ais'}://{namespace}{self.name}"


def object_path(bucket: BucketRef, name: str) -> str:
    """Where an object is asked for."""
    return f"/v1/objects/{quote(bucket.name, safe='')}/{quote(name, safe='/')}"


def with_query(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A path with its query, percent-encoded: `#` and `@` of a namespace too."""
    query = urlencode(list(pairs), quote_via=quote, safe="")
    return f"{path}?{query}" if query else path


def message(value: object) -> bytes:
    """JSON as Go's own encoder would write it, to the byte.

    A gateway that is not the primary passes some requests on as its own encoder writes them, and with the length of
    what it got: where the two differ, the answer is 502 with no body (some half of all listings, with two gateways).
    That it escapes `<`, `>` and `&` is the default of the encoder that it uses (jsoniter), and was not recorded.
    """
    text = encode(value)
    for plain, escaped in _ESCAPES if text.isascii() else _ESCAPES + _SEPARATORS:
        text = text.replace(plain, escaped)
    return text


def action(kind: str, name: str = "", value: object = None) -> bytes:
    """An action message: compact, and with all three keys always. See `message`."""
    return message({"action": kind, "name": name, "value": value})


def request(
    operation: str,
    method: str,
    path: str,
    *,
    effect: Effect = Effect.READ,
    query: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
    secret: bool = False,
) -> Request:
    """A request for any gateway."""
    if body is not None:
        headers = {**JSON, **headers}
    return Request(
        operation=f"aistore {operation}",
        method=method,
        path=with_query(path, query),
        effect=effect,
        body=body,
        headers=headers,
        judge=judge,
        secret=secret,
    )


@frozen(kw_only=True)
class Redirect:
    """Where a gateway sends a request.

    url: Scheme and authority of the target.
    stamp: What the target wants to see in the query, else it refuses: the gateway's ID and the time.
    """

    url: str
    stamp: str

    @property
    def decimal(self) -> bool:
        """Whether its time is a decimal number, as on 3.3."""
        return any(pair.startswith("utm=") and pair[4:].isdecimal() for pair in self.stamp.split("&"))

    def path(self, asked: str) -> str:
        """The path that was asked for, with the stamp."""
        return f"{asked}{'&' if '?' in asked else '?'}{self.stamp}"


def read_redirect(request: Request, response: Response) -> Redirect:
    """What is to be believed of a Location: scheme, authority, and what the gateway added to the query.

    The path in it holds the name of the object decoded (3.3), so that a space, a `?`, a `#` or a `%` in a name makes it
    another one, or none at all. What was asked for is encoded by us already.

    Raises DecodeError where it has no authority or no stamp.
    """
    location = response.headers.get("Location", "")
    place = _AUTHORITY.match(location)
    asked, _, query = request.path.partition("?")
    path, _, told = location[place.end() if place else 0 :].partition("?")
    if unquote(path) != unquote(asked):
        # A name with a `?` in it, and perhaps with `pid=`: what the gateway added stands behind it.
        told = told[max(0, told.rfind("?pid="), told.rfind("&pid=")) :].lstrip("?&")
    own = {pair.partition("=")[0] for pair in query.split("&")}
    stamp = [pair for pair in told.split("&") if _PAIR.fullmatch(pair) and pair.partition("=")[0] not in own]
    names = {pair.partition("=")[0] for pair in stamp}
    if place is None or not names >= {"pid", "utm"}:
        raise DecodeError(
            f"{request.operation} at {response.peer}: HTTP {response.status} with a Location that no AIStore gateway "
            f"makes: {location[:200]!r}"
        )
    return Redirect(url=place[0], stamp="&".join(stamp))


def read_time(nanoseconds: str | int | None) -> datetime | None:
    """A time in nanoseconds since 1970, to the microsecond; None for 0, which is none."""
    try:
        count = int(nanoseconds or 0)
    except ValueError as e:
        raise DecodeError(f"no time in nanoseconds: {nanoseconds!r}") from e
    return _EPOCH + timedelta(microseconds=count // 1000) if count else None
