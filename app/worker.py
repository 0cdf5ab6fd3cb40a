"""Gunicorn's threaded worker, without the waits in which one silent client holds a thread."""

from __future__ import annotations

import select
import socket
import struct
import time
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

SILENCE = 10  # seconds without a byte, either way, in the middle of a request or an answer
LINGER = 2.0  # seconds for a client to begin, or to take the end of its answer


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Silent connections wait at the poller, which costs nobody a thread."""

    def init_process(self) -> None:
        """Bound every read and write: connections inherit the listeners' bounds."""
        bound = struct.pack("ll", SILENCE, 0)
        for listener in self.sockets:
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        """A thread for a connection that has sent something; gunicorn's own waits 5 s in a thread."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
        else:
            self._park(conn, LINGER, self.on_pending_socket_readable)

    def handle(self, conn: TConn) -> Any:
        """Drop a client that has left: the gateway gave its place to the next client, which would wait behind it."""
        poll = select.poll()
        poll.register(conn.sock, select.POLLRDHUP)
        return super().handle(conn) if not poll.poll(0) else False

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Close without waiting; gunicorn's own main thread waits 2 s for bodies that never come."""
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            self._park(conn, LINGER, self._drain)
        except OSError:
            self._leave(conn)

    def _park(self, conn: TConn, seconds: float, then: Any) -> None:
        """Until it is readable, or its time is over and gunicorn closes it."""
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + seconds
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(then, conn))

    def _drain(self, conn: TConn, client: socket.socket) -> None:
        """Throw away what still comes; a reset would take the end of the answer with it."""
        try:
            gone = not client.recv(65536)
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone:
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self._leave(conn)

    def _leave(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()


def listen(port: int) -> list[str]:
    """Addresses to bind, so that both families reach the app; IPv4 alone where the kernel has no other.

    One IPv6 socket takes both, unless the kernel's bindv6only says otherwise.
    """
    four, six = f"0.0.0.0:{port}", f"[::]:{port}"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
            alone = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [four]
    return [four, six] if alone else [six]
