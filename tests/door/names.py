"""A double of Docker's DNS: on a port of loopback, with the addresses that a test gives each name."""

from __future__ import annotations

import socket
import struct
import threading
from socketserver import BaseRequestHandler, UDPServer

IPV4 = 1  # the type of a question for an address


class Names(UDPServer):
    """``addresses`` by name; others are not there."""

    def __init__(self, port: int, addresses: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.addresses = addresses
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def end(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()


class _Answer(BaseRequestHandler):
    server: Names

    def handle(self) -> None:
        """One question (RFC 1035, 4): the address for an IPv4 one, nothing for others."""
        asked, out = self.request
        end = asked.index(0, 12)
        labels, place = [], 12
        while place < end:
            labels.append(asked[place + 1 : place + 1 + asked[place]].decode())
            place += 1 + asked[place]
        (kind,) = struct.unpack_from(">H", asked, end + 1)
        there = self.server.addresses.get(".".join(labels))
        records = b""
        if there and kind == IPV4:
            records = struct.pack(">HHHIH", 0xC00C, IPV4, 1, 1, 4) + socket.inet_aton(there)
        head = struct.pack(">HHHHH", 0x8180 if there else 0x8183, 1, bool(records), 0, 0)
        out.sendto(asked[:2] + head + asked[12 : end + 5] + records, self.client_address)
