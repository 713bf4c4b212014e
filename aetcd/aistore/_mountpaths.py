"""A target's mountpaths: the file systems that it keeps objects on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from aetcd._wire.message import Effect
from aetcd.aistore._arguments import check_path
from aetcd.aistore._codec import action
from aetcd.aistore._node_shapes import read_mountpaths

if TYPE_CHECKING:
    from aetcd.aistore._link import TimeoutLike
    from aetcd.aistore._node import Node
    from aetcd.aistore._node_models import Mountpaths

__all__ = ["MountpathsOf"]

PATH = "/v1/daemon/mountpaths"


@frozen
class MountpathsOf:
    """The mountpaths of one target: `ais.node("t1").mountpaths`.

    An unknown one raises MountpathNotFound: 3.3 says so with 404 where it is enabled, and with 400 elsewhere. Today's
    targets answer changes on the public network with 403, so that a gateway passes them on, on the control network:
    that way, and its names, are of the server's source, and were not recorded.
    """

    _node: Node

    async def list(self, *, timeout: TimeoutLike = None) -> Mountpaths:
        """Those in use, and those that are disabled.

        Source: reference, "Get list of target's filesystems". Gateways have none, and answer 400.
        """
        return read_mountpaths(await self._node.query("mountpaths", timeout=timeout))

    async def enable(self, path: str, *, timeout: TimeoutLike = None) -> bool:
        """Use it again. False where it was in use already (status 204).

        Source: reference, "Enable mountpath".
        """
        return await self._change("enable", "POST", path, timeout)

    async def disable(self, path: str, *, timeout: TimeoutLike = None) -> bool:
        """Use it no longer, and keep what is on it. False where it was disabled already (status 204).

        Source: reference, "Disable mountpath", whose 404 for an unknown one is 400 on 3.3.
        """
        return await self._change("disable", "POST", path, timeout)

    async def add(self, path: str, *, timeout: TimeoutLike = None) -> None:
        """Use a directory that is there on the target. Raises MountpathExists.

        Source: reference, "Add mountpath".
        """
        await self._change("add", "PUT", path, timeout)

    async def remove(self, path: str, *, timeout: TimeoutLike = None) -> None:
        """Forget it; what is on it stays there, and belongs to the cluster no longer.

        Source: reference, "Remove mountpath from target".
        """
        await self._change("remove", "DELETE", path, timeout)

    async def _change(self, kind: str, method: str, path: str, timeout: TimeoutLike) -> bool:
        check_path(path)
        dialect = await self._node.link.dialect(timeout)
        answer = await self._node.send(
            f"{kind} mountpath",
            method,
            PATH,
            body=action(dialect.action(f"{kind} mountpath"), value=path),
            effect=Effect.ONCE,
            by_gateway=dialect.control_by_gateway,
            timeout=timeout,
        )
        return answer.status != 204
