"""The token, and how a new one is had when the cluster takes the old one no longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aetcd._transport.auth import ANONYMOUS, Auth, BearerAuth, TokenAuth
from aetcd.errors import ConfigError

__all__ = ["Token", "TokenSource", "make_auth"]

TokenSource = Callable[[], Awaitable[str]]
Token = str | TokenSource


class _Renewed(TokenAuth):
    """A token that is asked for, at first and whenever the cluster refuses the last one."""

    def _authorization(self, token: str) -> str:
        return f"Bearer {check_token(token)}"

    def __repr__(self) -> str:
        return "<token ***>"


def check_token(token: object) -> str:
    """A token that a header can hold. It is never shown."""
    if not isinstance(token, str):
        raise TypeError(f"token must be text, or an async function that gives it, not {type(token).__name__}")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("token must be printable ASCII without spaces, and not empty")
    return token


def make_auth(token: Token | None) -> Auth:
    """How a client's `token=` is sent. Raises ConfigError or TypeError, naming it."""
    if token is None:
        return ANONYMOUS
    if callable(token):
        return _Renewed(token)
    return BearerAuth(check_token(token))
