"""What root's own docker command has in its folder, which goes before what is declared."""

from __future__ import annotations

from pyinfra.api import FactBase
from typing_extensions import override

from ollama_stack.facts.lines import Lines
from ollama_stack.stack.compose import CLEAN


class OwnCompose(Lines):
    """The Compose plugin in root's own folder, which goes before every other: its path and version."""

    @override
    def command(self) -> str:
        return (
            'file=${HOME:-/root}/.docker/cli-plugins/docker-compose; ! test -e "$file" ||'
            ' { echo "$file"; "$file" version --short 2>/dev/null || true; }'
        )


class ClientProxies(FactBase[list[str]]):
    """Proxies that root's docker command gives to every new container (``proxies`` in its configuration)."""

    default = list

    @override
    def command(self) -> str:
        return (
            """grep -oE '"(http|https|ftp|all)Proxy"' "${HOME:-/root}/.docker/config.json" 2>/dev/null"""
            " | sort -u || true"
        )

    @override
    def process(self, output: list[str]) -> list[str]:
        return [name.strip('"') for name in output]


class BrokenStore(FactBase[list[str]]):
    """The program that root's docker gets every password from, if it fails, and its first words.

    Where neither a store nor a password is configured, docker takes one that it finds on its PATH.
    """

    default = list

    @override
    def command(self) -> str:
        return (
            r"""config=$(tr -d ' \t\n' <"${HOME:-/root}/.docker/config.json" 2>/dev/null);"""
            r""" store=$(printf %s "$config" | sed -n 's/.*"credsStore":"\([^"]*\)".*/\1/p');"""
            """ if test -z "$store"; then case $config in *'"auths":{"'*|*'"credHelpers":{"'*) exit;; esac;"""
            " store=secretservice; ! command -v pass >/dev/null || store=pass;"
            ' command -v "docker-credential-$store" >/dev/null || exit 0; fi;'
            f' output=$({CLEAN} timeout 5 "docker-credential-$store" list 2>&1) ||'
            r""" printf '%s\n' "docker-credential-$store" "$output" """
        )

    @override
    def process(self, output: list[str]) -> list[str]:
        return output[:2]
