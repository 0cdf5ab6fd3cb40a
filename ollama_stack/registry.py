"""The one client of registries on this machine (OCI distribution specification): it only reads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPException, HTTPResponse
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import Request, urlopen

FORMS = (
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.index.v1+json"
)
SILENCE = 30  # seconds
LARGEST = 4 * 2**20  # bytes of a manifest, as the specification has it
PAGES = 1000


class RegistryFault(ValueError):
    """What a registry did not give, and why."""


@dataclass
class Repository:
    """One name at a registry, asked anonymously; ``url`` is like ``https://registry.lan:5000/v2/library/x``."""

    url: str
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, manifest: str) -> tuple[Repository, str]:
        """From a manifest's URL (Settings.image_manifest); with the tag or digest that this one is asked for."""
        url, _, version = manifest.rpartition("/manifests/")
        return cls(url), version

    @property
    def registry(self) -> str:
        """Scheme and host, as messages name them."""
        return self.url.partition("/v2/")[0]

    def manifest(self, version: str) -> bytes:
        """The manifest as it is there, byte by byte: its SHA-256 is its digest."""
        with self._get(f"{self.url}/manifests/{version}") as answer:
            body = answer.read(LARGEST + 1)
        if len(body) > LARGEST or (":" in version and digest_of(body) != version):
            raise RegistryFault(f"{self.registry} gives no such manifest as {version}")
        return body

    def tags(self) -> list[str]:
        """Every tag, page by page."""
        found: list[str] = []
        page = f"{self.url}/tags/list"
        for _ in range(PAGES):
            with self._get(page) as answer:
                try:
                    found += json.load(answer)["tags"] or []
                except (ValueError, KeyError, TypeError) as error:
                    raise RegistryFault(f"{self.registry} lists no tags at {page}") from error
                more = re.match(r"<([^>]+)>\s*;\s*rel=\"?next", answer.headers.get("Link", ""))
            if not more:
                break
            page = urljoin(page, more[1])
        return found

    def blob(self, digest: str, offset: int = 0) -> HTTPResponse:
        """A blob from this byte on, where the registry can (status 206)."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        return self._get(f"{self.url}/blobs/{digest}", headers)

    def _get(self, url: str, headers: dict[str, str] | None = None) -> HTTPResponse:
        try:
            try:
                return self._asked(url, headers or {})
            except HTTPError as error:
                if error.code != 401:
                    raise
                error.close()
                self.token = _anonymous(error.headers.get("WWW-Authenticate", ""))
                return self._asked(url, headers or {})
        except HTTPError as error:
            error.close()
            what = "has no such name or tag" if error.code == 404 else f"answers HTTP {error.code}"
            raise RegistryFault(f"{self.registry} {what} ({url})") from error
        except (OSError, HTTPException, ValueError) as error:
            why = getattr(error, "reason", error)
            raise RegistryFault(f"{self.registry} does not answer ({why})") from error

    def _asked(self, url: str, headers: dict[str, str]) -> HTTPResponse:
        request = Request(url, headers={"Accept": FORMS, **headers})  # noqa: S310 of a setting that has a rule
        if self.token:  # another host that a blob is on gets none
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        return cast(HTTPResponse, urlopen(request, timeout=SILENCE))  # noqa: S310


def digest_of(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{sha256(content).hexdigest()}"


def _anonymous(challenge: str) -> str:
    """The token that anybody gets, as Docker Hub asks for it; "" where the registry wants a login."""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = asked.pop("realm", "")
    if not challenge.lower().startswith("bearer ") or urlsplit(realm).scheme not in (
        "http",
        "https",
    ):
        return ""
    with urlopen(f"{realm}?{urlencode(asked)}", timeout=SILENCE) as answer:  # noqa: S310 scheme seen above
        answer_body = json.load(answer)
    return str(answer_body.get("token") or answer_body.get("access_token") or "")
