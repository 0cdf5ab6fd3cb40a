"""Where the app listens; tests/door_app has the running server."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from app.worker import listen


class Probe:
    """A double for a socket: the kernels in question are not this one."""

    only = 0

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def bind(self, address: Any) -> None:
        pass

    def getsockopt(self, *_: object) -> int:
        return self.only


class Bound(Probe):
    only = 1


class Four(Probe):
    def bind(self, address: Any) -> None:
        raise OSError("this kernel has no IPv6")


@pytest.mark.parametrize(
    ("kernel", "addresses"),
    [(Probe, ["[::]:8080"]), (Bound, ["0.0.0.0:8080", "[::]:8080"]), (Four, ["0.0.0.0:8080"])],
)
def test_both_families_are_listened_on_where_the_kernel_has_them(
    kernel: type[Probe], addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", kernel)
    assert listen(8080) == addresses
