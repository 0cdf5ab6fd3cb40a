"""Members of the known kinds of attack that were found later: the app, by way of the gateway."""

from __future__ import annotations

import pytest

from tests.door.conftest import Door, status

HOSTS = [
    "a..b",
    "a" * 64,
    f"{'a' * 64}:80",
    "xn--a",
    "-",
    "[::",
    "a:b",
    "\xe9",
    "@",
    "a b",
    ".",
    "a,b",
]
PART = "--b\r\nContent-Disposition: form-data{}\r\n\r\nx\r\n--b--\r\n"


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("line", ["GET /", "GET /static/style.css", "GET /api/ask", "GET /nothing"])
def test_no_host_is_a_fault_of_the_app_s(students: Door, line: str, host: str) -> None:
    """Each of them wrote 9 kB of traceback to the app's log."""
    with students.connect(students.page) as one:
        one.sendall(f"{line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        assert status(one) in (200, 400, 404, 405)


@pytest.mark.parametrize("name", ["", "; x=y", "; name*=b", '; name=""', "; filename=x"])
@pytest.mark.parametrize("path", ["/", "/teacher", "/teacher/out", "/api/ask"])
def test_no_form_is_a_fault_of_the_app_s(students: Door, path: str, name: str) -> None:
    body = PART.format(name)
    head = "Content-Type: multipart/form-data; boundary=b\r\n"
    with students.connect(students.page) as one:
        one.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        assert status(one) == 415
