"""What clients leave behind them delays nobody else's questions."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from threading import Event

from tests.door.conftest import SECRETS, Door, status
from tests.door.double import MODEL
from tests.door.test_crowds import lines_of, post


def test_bodies_whose_clients_leave_cost_others_no_more_than_those_that_stay(locked: Door) -> None:
    """HAProxy interrupts no look of a client that has left: with four such clients 18 times a second others waited 262 ms."""
    keys = ",".join(rf'"\u0061\u0061\u0061{number:04}":1' for number in range(2900))
    body = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"a","input":{{{keys}}}}}]}}'
    head = f"Host: x\r\nAuthorization: Bearer {SECRETS['one']}\r\nContent-Length: {len(body)}"
    raw = f"POST /api/chat HTTP/1.1\r\n{head}\r\n\r\n{body}".encode()

    def flood(over: Event, stay: bool) -> None:
        while not over.is_set():
            with ExitStack() as stack:
                mine = [stack.enter_context(locked.connect()) for _ in range(4)]
                for one in mine:
                    one.sendall(raw)
                if stay:
                    [status(one) for one in mine]
                else:
                    time.sleep(0.005)
            over.wait(0.05)

    def others(stay: bool) -> float:
        """Seconds of somebody else's question, in the median."""
        over, took = Event(), []
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(flood, over, stay)
            try:
                for _ in range(15):
                    time.sleep(0.1)
                    began = time.monotonic()
                    assert locked.ask(who="two").status_code == 200
                    took.append(time.monotonic() - began)
            finally:
                over.set()
            done.result()
        return median(took)

    stays, leaves = others(stay=True), others(stay=False)
    assert leaves < 2 * stays


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
