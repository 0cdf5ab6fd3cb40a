"""A cluster's gateway before 1 to 4 hosts that answer after a fixed time, in one run: python -m bench.scale."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from lab.tables import markdown
from tests.door.conftest import bearer, question
from tests.door.double import Handler
from tests.door.test_cluster import PARALLEL, Cluster

SECONDS, ANSWER = 20.0, 0.5  # of a measurement, and of an answer


class Fixed(Handler):
    """A host whose answers all take as long."""

    def do_POST(self) -> None:
        """After ANSWER seconds."""
        time.sleep(ANSWER)
        super().do_POST()


def answers(hosts: int) -> float:
    """Answers a second of so many hosts, while two more than they take at once wait for each."""
    with tempfile.TemporaryDirectory() as folder:
        cluster, over, count = Cluster(Path(folder), hosts, Fixed), threading.Event(), [0]

        def ask(who: str) -> None:
            with httpx.Client(base_url=cluster.url, timeout=60, trust_env=False) as client:
                while not over.is_set():
                    answer = client.post("/api/generate", json=question(), headers=bearer(who))
                    count[0] += answer.is_success

        students = hosts * (PARALLEL + 2)
        threads = [
            threading.Thread(target=ask, args=(("one", "two")[n % 2],)) for n in range(students)
        ]
        for thread in threads:
            thread.start()
        time.sleep(2)
        begun, before = time.monotonic(), count[0]
        time.sleep(SECONDS)
        rate = (count[0] - before) / (time.monotonic() - begun)
        over.set()
        for thread in threads:
            thread.join()
        cluster.end()
    return rate


def main() -> None:
    """The table."""
    rates = {hosts: answers(hosts) for hosts in (1, 2, 3, 4)}
    rows = [
        [
            str(hosts),
            f"{rate:.2f}",
            f"{hosts * PARALLEL / ANSWER:.2f}",
            f"{rate / rates[1] / hosts:.2f}",
        ]
        for hosts, rate in rates.items()
    ]
    sys.stdout.write(
        markdown(["hosts", "answers/s", "the most there can be", "of N times one"], rows)
    )


if __name__ == "__main__":
    main()
