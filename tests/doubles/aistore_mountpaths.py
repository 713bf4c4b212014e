"""The disks of one target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from attrs import define, field
from doubles.aistore_node import Ask, Refusal, empty
from doubles.aistore_state import JSON

if TYPE_CHECKING:
    from doubles.aistore_target import Target

CURRENT = {"enable-mp": "enable", "disable-mp": "disable", "attach-mp": "add", "detach-mp": "remove"}


@define(eq=False)
class Mountpaths:
    """Those in use and those taken out of it."""

    target: Target
    available: list[str]
    disabled: list[str] = field(factory=list)

    def json(self) -> JSON:
        waiting: JSON = {} if self.target.ais.old else {"waiting_dd": []}
        return {"available": self.available} | waiting | {"disabled": self.disabled}

    async def answer(self, ask: Ask) -> web.StreamResponse:
        ais = self.target.ais
        if ask.method not in ("POST", "PUT", "DELETE"):
            raise self.target.invalid(ask)
        if not ais.old and not (ask.reversed or self.target.on_control(ask.request)):
            told = f"{ask.method} {ask.decoded} is read-only on PUBLIC"
            raise Refusal(403, f"{self.target}: {told}")
        message = await ask.message()
        action = str(message.get("action"))
        if not ais.old:
            action = CURRENT.get(action, "")
        path = message.get("value")
        if not isinstance(path, str) or not path:
            raise Refusal(400, "mountpath is not specified")
        match ask.method, action:
            case "POST", "enable":
                return self._enable(path)
            case "POST", "disable":
                return self._disable(path)
            case "PUT", "add":
                return self._add(path)
            case "DELETE", "remove":
                return self._remove(path)
        raise Refusal(400, f"invalid action in request: {message.get('action')}")

    def _enable(self, path: str) -> web.Response:
        if path in self.available:
            return web.Response(status=204)
        if path not in self.disabled:
            raise Refusal(404, f"mountpath [{path}] doesn't exist")
        self.disabled.remove(path)
        self.available.append(path)
        return empty()

    def _disable(self, path: str) -> web.Response:
        if path in self.disabled:
            return web.Response(status=204)
        if path not in self.available:
            raise Refusal(400, f"mountpath [{path}] doesn't exist")
        self.available.remove(path)
        self.disabled.append(path)
        return empty()

    def _add(self, path: str) -> web.Response:
        if path in self.available or path in self.disabled:
            raise Refusal(400, f"tried to add already registered mountpath: {path}")
        self.available.append(path)
        return empty()

    def _remove(self, path: str) -> web.Response:
        known = self.available if path in self.available else self.disabled
        if path not in known:
            told = f"tried to remove non-existing mountpath: {path}"
            raise Refusal(400, f"Could not remove mountpath, error: {told}")
        known.remove(path)
        return empty()
