"""Ports that stay ours while the server behind them is down."""

from __future__ import annotations

import socket
import sys

from attrs import define, field

__all__ = ["HOST", "HeldPort"]

HOST = "127.0.0.1"


@define(eq=False)
class HeldPort:
    """A free loopback port, kept until `release()`.

    A port that was merely seen to be free can be taken before the server binds it, and again while a killed server is
    down: by another test's server, or by the kernel as the source port of any outgoing connection, at worst of the very
    client that tries to reach it, which then talks to itself. So the port stays bound by a socket that never listens.
    On Linux such a port is given to nobody who asks for any free one, is refused to those who connect, and can still be
    bound by a server that sets SO_REUSEADDR, as Go's always do. Elsewhere a second bind fails, so there it is let go at
    once and the race remains.
    """

    _socket: socket.socket = field(init=False)
    number: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, 0))
        self.number = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self._socket.close()

    def listen(self) -> socket.socket:
        """A socket of our own that listens here, without blocking."""
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self.number))
            listener.listen(256)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        return listener

    def release(self) -> None:
        """Give the port back."""
        self._socket.close()
