"""What clients leave behind them delays nobody else's questions."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from tests.door.conftest import Door
from tests.door.double import MODEL
from tests.door.test_crowds import lines_of, post


def test_looks_that_are_left_delay_nobody(locked: Door) -> None:
    """HAProxy went on with a look 200 times before it accepted the next four: of two tokens they were a queue of 9 s."""
    texts = [{"role": "user", "content": "\n" * 4080} for _ in range(15)]
    body, over = json.dumps({"model": MODEL, "messages": texts}).encode(), Event()

    def leave(who: str) -> None:
        raw = post("/api/chat", len(body), *lines_of(who)) + body
        while not over.wait(0.001):
            with locked.connect() as one:
                one.sendall(raw)
                time.sleep(0.01)

    took = []
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(leave, who) for who in ("one", "two")]
        try:
            time.sleep(3)
            for _ in range(5):
                began = time.monotonic()
                assert locked.ask(who="admin").status_code == 200
                took.append(time.monotonic() - began)
        finally:
            over.set()
        for one in done:
            one.result()
    assert max(took) < 2
