"""The folder on the controller that keeps the site's certificate authority and its hosts' certificates."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from cryptography import x509

from ollama_stack import ROOT
from ollama_stack.config.tokens import UNREADABLE
from ollama_stack.stack.certificates import NOT_UNDERSTOOD, Authority, read_authority

CERTIFICATE, KEY, HOSTS, LOCK, IGNORE = "ca.crt", "ca.key", "hosts", ".lock", ".gitignore"
OWN = (HOSTS, LOCK, IGNORE, f".{KEY}.new", f".{CERTIFICATE}.new")  # without an authority yet
PATIENCE = 30  # seconds, for another run that writes there
ANEW = "move the folder away to begin anew; then every client has to trust the new ca.crt"


def folder_of(setting: str) -> Path:
    """The folder that ``gateway_tls_folder`` names; ValueError for ~ of a user without a home."""
    try:
        return ROOT / Path(setting).expanduser()
    except UNREADABLE as error:
        raise ValueError(f"{setting} cannot be found ({error}); write it without ~") from error


def read(folder: Path) -> Authority | None:
    """The authority that a folder keeps; None if there is none yet, ValueError if it is not whole."""
    try:
        return _read(folder)
    except ValueError:
        if not os.access(folder / LOCK, os.W_OK):
            raise
    # Another run may be half-way through what it writes: only what stays so is refused.
    with _readable_errors(folder, "read"), _locked(folder):
        return _read(folder)


def _read(folder: Path) -> Authority | None:
    with _readable_errors(folder, "read"):
        there = [name for name in (KEY, CERTIFICATE) if (folder / name).exists()]
        if not there:
            _refuse_orphans(folder)
            _refuse_elsewhere(folder)
            return None
        if len(there) == 1:
            (other,) = {KEY, CERTIFICATE} - {*there}
            raise ValueError(
                f"{folder} has {there[0]} and no {other}; put {other} back from a copy, or {ANEW}"
            )
        if (folder / KEY).stat().st_mode & 0o077:
            raise ValueError(f"{folder / KEY} is open to others; chmod 600 it")
        texts = [(folder / name).read_text() for name in (CERTIFICATE, KEY)]
    try:
        return read_authority(*texts)
    except ValueError as error:
        raise ValueError(
            f"{folder} {error}; put {CERTIFICATE} and {KEY} back from a copy, or {ANEW}"
        ) from error


def _refuse_orphans(folder: Path) -> None:
    """An authority that is lost is not replaced by another one without a word."""
    if any((folder / HOSTS).glob("*.pem")):
        raise ValueError(
            f"{folder} has certificates of hosts and no authority; put {CERTIFICATE} and {KEY} back "
            f"from a copy, or {ANEW}"
        )


def _refuse_elsewhere(folder: Path) -> None:
    """It becomes a folder of the authority's own, all of it hidden from git."""
    others = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    if others := [name for name in others if name not in OWN]:
        raise ValueError(
            f"{folder} has other files, as {others[0]}; set gateway_tls_folder to a folder of its own"
        )
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise ValueError(
            f"{folder} cannot be made: {above} is no folder that this user may write in; set "
            "gateway_tls_folder to another one"
        )


def certificate(folder: Path) -> x509.Certificate:
    """What clients trust; ValueError if it is not here. No key is needed."""
    path = folder / CERTIFICATE
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, *NOT_UNDERSTOOD) as error:
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}); copy it from the controller that deploys"
        ) from error


def kept(folder: Path, host: str) -> str:
    """PEM of a host's certificate with its key; "" if there is none."""
    path = _path(folder, host)
    with _readable_errors(path, "read"):
        return path.read_text() if path.exists() else ""


def keep(folder: Path, authority: Authority, host: str, pem: str) -> bool:
    """Keep a host's certificate, and the authority that signed it if there is none yet: whether that was so.

    ValueError if there is another one by now, or nothing can be written.
    """
    with _readable_errors(folder, "written"):
        _make_folder(folder)
        with _locked(folder):
            there = _read(folder)
            if there is None:
                _write(folder / KEY, authority.key_pem)
                _write(folder / CERTIFICATE, authority.pem, 0o644)
            elif there.certificate != authority.certificate:
                raise ValueError(f"another run has made the authority in {folder}; run again")
            _write(_path(folder, host), pem)
            return there is None


def _path(folder: Path, host: str) -> Path:
    return folder / HOSTS / f"{quote(host, safe='@')}.pem"


def _make_folder(folder: Path) -> None:
    """Its owner's alone, and not git's, wherever it is."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    (folder / HOSTS).mkdir(mode=0o700, exist_ok=True)
    if not (folder / IGNORE).exists():
        (folder / IGNORE).write_text("*\n")


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    """A whole file or none, never open to others for a moment."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)  # of a run that was killed; the lock is ours
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time, of all runs; it must not yield to another greenlet within."""
    with os.fdopen(os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise ValueError(
                        f"another run holds {folder / LOCK}; wait for its end, and run again"
                    ) from error
                time.sleep(0.05)
        yield


@contextmanager
def _readable_errors(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} has a file that is no text; put a copy back") from error
    except OSError as error:
        problem = f"{error.filename or path} cannot be {done} ({type(error).__name__})"
        raise ValueError(f"{problem}; check the path and its permissions") from error
