"""Gunicorn: one process, because its one pool is the bound; threads that wait cost little."""

import logging
import os
from typing import Any

from pydantic import ValidationError

from app.settings import BadSecret, Settings
from app.worker import listen

try:
    settings = Settings.read(os.environ)
    for name in ("cookie.key", "gateway.token"):  # without a teacher there still is a class
        settings.secret(name)
except (ValidationError, BadSecret) as error:
    raise SystemExit(f"app: its environment is not as it must be: {error}") from None

wsgi_app = "app:create_app()"
bind = listen(8080)
workers = 1
worker_class = "app.worker.Worker"
keepalive = 0  # the gateway keeps no connection; a kept one's unread body is waited for in a thread
threads = settings.app_threads
worker_tmp_dir = "/dev/shm"  # noqa: S108 memory: its heartbeat must not wait for a disk
control_socket_disable = True
loglevel = "error"  # its warnings quote whatever a client has sent, 8 KB a line
forwarded_allow_ips = ""  # the app itself knows whom to believe, and gunicorn nobody
graceful_timeout = 20  # seconds for answers that run, when it is replaced


def post_worker_init(worker: Any) -> None:  # gunicorn has no types
    """Let the app tell how many threads its worker really has."""
    worker.wsgi.extensions["service"].threads = worker.tpool._max_workers


logging.basicConfig(format="%(message)s")
