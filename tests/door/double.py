"""A double of Ollama: it answers as one would, and says what came to it."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "qwen2.5:1.5b"
LISTED = [{"name": MODEL, "digest": "a"}, {"name": f"{MODEL}-pristine", "digest": "a"}]
DATA = [{"id": name["name"], "object": "model"} for name in LISTED]


class Double(ThreadingHTTPServer):
    """On a port of loopback. ``hold`` keeps answers back; ``most`` counts those at once."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, handler: type[Handler] | None = None) -> None:
        super().__init__(("127.0.0.1", port), handler or Handler)
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.hold = threading.Event()
        self.hold.set()
        self.large = b""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who left has left."""


class Handler(BaseHTTPRequestHandler):
    server: Double
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        answers: dict[str, Any] = {
            "/api/tags": {"models": LISTED},
            "/api/ps": {"models": LISTED},
            "/v1/models": {"object": "list", "data": DATA},
        }
        self._note(b"")
        self._send(json.dumps(answers.get(self.path, {"version": "0.0.0"})).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._note(body)
        with self.server.lock:
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            while not self.server.hold.wait(0.02):
                if self._left():
                    return
            asked = json.loads(body or b"{}")
            if asked.get("stream"):
                self._stream(asked)
            else:
                large = self.server.large if self.path == "/api/show" else b""
                self._send(large or b'{"response":"hi","done":true}')
        finally:
            with self.server.lock:
                self.server.now -= 1

    do_DELETE = do_HEAD = do_GET

    def _left(self) -> bool:
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1)
        except BlockingIOError:
            return False
        finally:
            self.connection.setblocking(True)

    def _note(self, body: bytes) -> None:
        with self.server.lock:
            self.server.came.append((self.path, dict(self.headers), body))

    def _stream(self, asked: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        began = time.monotonic()
        for number in range((asked.get("prompt") == "for ever" and 10**6) or 3):
            self.wfile.write(b"11\r\n" + b'{"response":"x"}\n' + b"\r\n")
            self.wfile.flush()
            time.sleep(max(0, began + (number + 1) * 0.01 - time.monotonic()))
        self.wfile.write(b"0\r\n\r\n")

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
