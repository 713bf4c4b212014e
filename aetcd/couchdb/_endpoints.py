"""Where a replication reads from and writes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from attrs import field, frozen

from aetcd.couchdb._arguments import check_text

__all__ = ["Endpoint", "EndpointLike", "HasEndpoint", "endpoint_of"]


def _checked(_: object, attribute: Any, value: str) -> None:
    check_url(value, attribute.name)


@frozen(kw_only=True)
class Endpoint:
    """A database as a replicating server reaches it.

    url: The whole of it, `https://host:5984/name`, with a slash in the name as `%2F`.
    username, password: For basic authentication, or a session, at that server.
    headers: Sent with every request of the replication, such as `Authorization`.
    """

    url: str = field(validator=_checked)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)

    def as_json(self) -> dict[str, Any]:
        """As `_replicate` and the documents of `_replicator` take it (`auth` since 3.2)."""
        shown: dict[str, Any] = {"url": self.url}
        if self.username is not None:
            shown["auth"] = {"basic": {"username": self.username, "password": self.password or ""}}
        if self.headers:
            shown["headers"] = dict(self.headers)
        return shown


class HasEndpoint(Protocol):
    """A `Database`, for one."""

    @property
    def endpoint(self) -> Endpoint:
        """Itself as a replication sees it."""
        ...


EndpointLike = str | Endpoint | Mapping[str, Any] | HasEndpoint


def endpoint_of(value: EndpointLike, argument: str) -> str | dict[str, Any]:
    """What is sent for a source or a target.

    Raises TypeError and ValueError, naming the argument: also for the bare name of a database, which 3.x takes for one
    of its own, and 4 will not (reference, 1.2.8).
    """
    if isinstance(value, str):
        return check_url(value, argument)
    if isinstance(value, Endpoint):
        return value.as_json()
    if isinstance(value, Mapping):
        check_url(value.get("url"), f'{argument}: "url"')
        return dict(value)
    endpoint = getattr(value, "endpoint", None)
    if isinstance(endpoint, Endpoint):
        return endpoint.as_json()
    raise TypeError(f"{argument} must be a URL, a Database, an Endpoint or a mapping, not {type(value).__name__}")


def check_url(value: object, argument: str) -> str:
    """A whole URL of a database."""
    text = check_text(value, argument)
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        shown = text if "@" not in text else "a text with @"
        raise ValueError(f"{argument}: {shown!r} is no URL: the whole one of a database is needed, not its bare name")
    if not parts.path.strip("/"):
        raise ValueError(f"{argument}: the URL names no database")
    return text
