"""Refusals of the NGINX Plus API, in the form of each version."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

HREF = "https://nginx.org/en/docs/http/ngx_http_api_module.html"

STATUS = {
    "MethodDisabled": 405,
    "JsonError": 415,
    "KeyvalKeyExists": 409,
    "EntryExists": 409,
    **dict.fromkeys(
        [
            "UnknownVersion",
            "PathNotFound",
            "StreamNotConfigured",
            "ZoneSyncNotConfigured",
            "SlabNotFound",
            "ServerZoneNotFound",
            "LocationZoneNotFound",
            "CacheNotFound",
            "LimitConnNotFound",
            "LimitReqNotFound",
            "ResolverZoneNotFound",
            "WorkerNotFound",
            "UpstreamNotFound",
            "UpstreamServerNotFound",
            "KeyvalNotFound",
            "KeyvalKeyNotFound",
        ],
        404,
    ),
}
"""All other codes are 400."""


@frozen
class Refused(Exception):
    """The API says no: `text` in the reference's words, `code` its own code."""

    code: str
    text: str

    @property
    def status(self) -> int:
        return STATUS.get(self.code, 400)

    def body(self, version: int, newest: int, path: str, method: str, request_id: str) -> bytes:
        """As that version writes it.

        `path` and `method` were dropped with version 4: a server that knows it leaves them empty in older ones.
        """
        status: Any = self.status if version >= 3 else str(self.status)
        document: dict[str, Any] = {}
        if version <= 3:
            document = {"path": path, "method": method} if newest <= 3 else {"path": "", "method": ""}
        document["error"] = {"status": status, "text": self.text, "code": self.code}
        document |= {"request_id": request_id, "href": HREF}
        return json.dumps(document).encode()


class Unforeseen(Exception):
    """No client should ask for this: the double answers 500, and fails the test at its end."""
