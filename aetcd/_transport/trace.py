"""What a client does on the wire, shown to people (curl lines) and to programs (hooks)."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Mapping

import msgspec

from aetcd._wire.message import Request

__all__ = ["PeerEvent", "RequestEvent", "ResponseEvent", "RetryEvent", "Trace", "Tracer", "curl", "show_on_stderr"]

logger = logging.getLogger("aetcd.http")

HIDDEN = "***"
_SECRET_HEADERS = frozenset({"authorization", "cookie", "x-auth-couchdb-token"})


class RequestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A request is about to be sent. `attempt` counts the sends of one call from 1."""

    operation: str
    peer: str
    attempt: int


class ResponseEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A request ended: by an answer with its HTTP status, or by an error. `elapsed` is in seconds."""

    operation: str
    peer: str
    attempt: int
    status: int | None
    error: str | None
    elapsed: float


class RetryEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A request will be sent again, after `delay` seconds."""

    operation: str
    peer: str
    attempt: int
    delay: float
    reason: str


class PeerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's health changed. States are `healthy`, `suspect`, `ejected` and `probing`."""

    peer: str
    before: str
    after: str
    error: str | None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """Functions to be called as a client works, for metrics and tracing.

    They are called in the event loop, between a request's steps: they must be quick, and must not raise.
    """

    on_request: Callable[[RequestEvent], object] | None = None
    on_response: Callable[[ResponseEvent], object] | None = None
    on_retry: Callable[[RetryEvent], object] | None = None
    on_peer_state: Callable[[PeerEvent], object] | None = None


def curl(request: Request, url: str, headers: Mapping[str, str]) -> str:
    """The request as a line to paste into a shell, secrets replaced."""
    words = ["curl", "-sS"]
    if request.method != "GET":
        words += ["-X", request.method]
    for name, value in {**request.headers, **headers}.items():
        words += ["-H", f"{name}: {HIDDEN if name.lower() in _SECRET_HEADERS else value}"]
    if request.body is not None:
        body = HIDDEN if request.secret else request.body.decode("utf-8", "backslashreplace")
        words += ["--data-raw", body]
    return shlex.join([*words, url])


class Tracer:
    """Sends what happens to the logger and to the hooks."""

    def __init__(self, trace: Trace | None, *, debug: bool) -> None:
        self._hooks = trace or Trace()
        self._debug = debug

    def request(self, request: Request, peer: str, headers: Mapping[str, str], attempt: int) -> None:
        """About to be sent."""
        if self._debug:
            logger.debug("%s", curl(request, peer + request.path, headers))
        if self._hooks.on_request:
            self._hooks.on_request(RequestEvent(operation=request.operation, peer=peer, attempt=attempt))

    def response(
        self, request: Request, peer: str, attempt: int, elapsed: float, *, status: int | None, error: str | None
    ) -> None:
        """Answered, or failed."""
        if self._debug:
            logger.debug("# %s at %s: %s in %.1f ms", request.operation, peer, status or error, elapsed * 1000)
        if self._hooks.on_response:
            event = ResponseEvent(
                operation=request.operation, peer=peer, attempt=attempt, status=status, error=error, elapsed=elapsed
            )
            self._hooks.on_response(event)

    def retry(self, request: Request, peer: str, attempt: int, delay: float, reason: str) -> None:
        """To be sent again."""
        if self._debug:
            logger.debug("# %s: again in %.0f ms, for %s", request.operation, delay * 1000, reason)
        if self._hooks.on_retry:
            event = RetryEvent(operation=request.operation, peer=peer, attempt=attempt, delay=delay, reason=reason)
            self._hooks.on_retry(event)

    def peer_state(self, peer: str, before: str, after: str, error: str | None) -> None:
        """A peer's health changed."""
        logger.info("peer %s: %s -> %s%s", peer, before, after, f" ({error})" if error else "")
        if self._hooks.on_peer_state:
            self._hooks.on_peer_state(PeerEvent(peer=peer, before=before, after=after, error=error))


def show_on_stderr() -> None:
    """Let debug lines be seen: on stderr where the program has set no handler, and at the logger's level."""
    if not logger.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    if not logger.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.DEBUG)
