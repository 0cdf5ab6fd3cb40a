"""The list of hosts as they are met: whole, and on its page."""

from __future__ import annotations

import pytest

from lab.fleet import MEMBERS
from lab.variant import Variant
from lab.variants import PAGE, SERVERS, table
from ollama_stack.config.settings import Settings

REFUSED = [variant for server in SERVERS for variant in server.refused]
SERVES = [variant for server in SERVERS for variant in server.serves]


def test_the_table_of_hosts_is_fresh() -> None:
    assert table() in PAGE.read_text(), "make docs"


@pytest.mark.parametrize("variant", REFUSED, ids=lambda variant: variant.what)
def test_what_is_refused_leaves_the_server_for_the_next(variant: Variant) -> None:
    assert variant.refused
    assert bool(variant.dirt) == bool(variant.clean)
    assert bool(variant.dirt) != bool(variant.host)


@pytest.mark.parametrize("variant", SERVES, ids=lambda variant: variant.what)
def test_what_serves_is_looked_at_afterwards(variant: Variant) -> None:
    assert not variant.refused
    assert variant.holds or variant.says


def test_variants_declare_settings_that_there_are() -> None:
    for variant in REFUSED + SERVES:
        assert variant.settings.keys() <= Settings.model_fields.keys(), variant.what


def test_a_server_has_one_deploy() -> None:
    numbers = [server.number for server in SERVERS]
    assert sorted(set(numbers)) == numbers
    assert numbers[-1] < len(MEMBERS)
