"""A name server on loopback, which answers over UDP what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from attrs import define, field


@define(eq=False)
class NameServer(asyncio.DatagramProtocol):
    """Records by name, each as a zone file holds it: `0 5 2379 m0.example.com.` for SRV.

    broken: Names for which it fails (SERVFAIL).
    asked: Names in the order of the questions.
    """

    records: dict[str, Sequence[str]] = field(factory=dict)
    broken: set[str] = field(factory=set)
    asked: list[str] = field(factory=list)
    port: int = 0
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it before Python 3.12.
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        name = question.question[0].name.to_text(omit_final_dot=True)
        self.asked.append(name)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if name in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.records:
            answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "SRV", *self.records[name]))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def name_server(**records: Sequence[str]) -> AsyncIterator[NameServer]:
    """One that listens; `records` are those of `_<name>._tcp.example.com`, underscores in the name being hyphens."""
    named = {f"_{name.replace('_', '-')}._tcp.example.com": found for name, found in records.items()}
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(named), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
