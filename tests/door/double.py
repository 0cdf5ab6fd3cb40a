"""A double of Ollama: it answers as one would, and says what came to it."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "qwen2.5:1.5b"
LISTED = [{"name": name, "model": name, "digest": "a"} for name in (MODEL, f"{MODEL}-pristine")]
DATA = [{"id": name["name"], "object": "model"} for name in LISTED]
CHUNKS = ["Light", " is", " scattered."]
# In the shapes of Ollama's API; the counts come with the end.
BEGUN = {"model": MODEL, "created_at": "2026-11-28T06:00:00.123456789Z", "done": False}
ENDED = BEGUN | {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 4}
OPENAI = {"id": "chatcmpl-1", "created": 1795845600, "model": MODEL, "system_fingerprint": "fp_ollama"}  # fmt: skip
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def whole(path: str) -> dict[str, Any]:
    """An answer in one piece."""
    text = "".join(CHUNKS)
    message = {"role": "assistant", "content": text}
    if path == "/api/chat":
        return ENDED | {"message": message}
    if path == "/v1/chat/completions":
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return OPENAI | {"object": "chat.completion", "choices": [choice], "usage": USAGE}
    return ENDED | {"response": text}


def part(path: str, text: str, done: bool = False) -> bytes:
    """A chunk of an answer; the last one has no text."""
    message = {"role": "assistant", "content": text}
    if path == "/v1/chat/completions":
        choice = {"index": 0, "delta": message, "finish_reason": "stop" if done else None}
        chunk = OPENAI | {"object": "chat.completion.chunk", "choices": [choice]}
        end = "data: [DONE]\n\n" if done else ""
        return f"data: {json.dumps(chunk)}\n\n{end}".encode()
    body = {"message": message} if path == "/api/chat" else {"response": text}
    return json.dumps((ENDED if done else BEGUN) | body).encode() + b"\n"


class Double(ThreadingHTTPServer):
    """On a port of loopback; ``most`` counts the answers at once.

    ``hold`` keeps answers back, ``second`` the words after the first.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, handler: type[Handler] | None = None) -> None:
        super().__init__(("127.0.0.1", port), handler or Handler)
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.hold, self.second = threading.Event(), threading.Event()
        self.hold.set()
        self.second.set()
        self.large, self.status = b"", 200
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
            if asked.get("stream") or asked.get("prompt") == "for ever":
                self._stream(asked)
            else:
                large = self.server.large if self.path == "/api/show" else b""
                self._send(large or json.dumps(whole(self.path)).encode())
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
        lines = "text/event-stream" if self.path.startswith("/v1/") else "application/x-ndjson"
        self.send_response(200)
        self.send_header("Content-Type", lines)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in CHUNKS * ((asked.get("prompt") == "for ever" and 10**6) or 1):
            self._chunk(part(self.path, text))
            self.server.second.wait(5)
            time.sleep(0.01)
        self._chunk(part(self.path, "", done=True))
        self._chunk(b"")

    def _chunk(self, piece: bytes) -> None:
        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.flush()

    def _send(self, body: bytes) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
