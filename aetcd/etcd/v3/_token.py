"""A user's token, for as long as the cluster asks for one."""

from __future__ import annotations

from collections.abc import Mapping

from aetcd._transport.auth import TokenAuth
from aetcd.errors import AuthFailed

__all__ = ["UserToken"]

_OFF = "authentication is not enabled"


class UserToken(TokenAuth):
    """The token of a user, and none while authentication is off, as with etcd's own client.

    Where it is off, etcd hands out no token, and refuses every request that carries one, were it good a moment ago:
    measured on 3.4.23 and 3.5.1. Once it is on, requests without one are refused, and one is fetched.
    """

    async def renew(self, stale: Mapping[str, str] | None) -> Mapping[str, str]:
        """As `TokenAuth.renew`, or no headers."""
        try:
            return await super().renew(stale)
        except AuthFailed as e:
            if not e.message.endswith(_OFF):
                raise
            # A mapping of its own, since it is told by identity from those that became stale.
            self._headers = {}
            return self._headers
