"""Models as Ollama's API has them."""

from __future__ import annotations

import json

import pytest
from pyinfra.api import FactProcessError

from ollama_stack.facts.model import LoadedModels, Model, ModelDetails, Models
from tests.unit.harness import fake_host

SHOWN = {
    "modelfile": '# comment\nFROM /root/.ollama/models/blobs/sha256-b1\nTEMPLATE """x"""',
    "parameters": 'num_ctx                        4096\nstop                           "<|im_end|>"',
}


def test_models_are_digests_by_name() -> None:
    tags = {"/api/tags": '{"models":[{"name":"a:1","digest":"d1"}]}', "/api/ps": '{"models":[]}'}
    with fake_host(tags) as host:
        assert host.get_fact(Models) == {"a:1": "d1"}
        assert host.get_fact(LoadedModels) == {}


def test_a_server_that_does_not_answer_has_no_models() -> None:
    with fake_host() as host:
        assert host.get_fact(Models) is None
        assert host.get_fact(Model, model="a:1") is None


def test_a_model_is_its_weights_and_parameters() -> None:
    with fake_host({"/api/show": json.dumps(SHOWN)}) as host:
        assert host.get_fact(Model, model="a:1") == ModelDetails(
            "FROM /root/.ollama/models/blobs/sha256-b1",
            {"num_ctx": "4096", "stop": '"<|im_end|>"'},
        )


def test_a_model_the_server_does_not_have_is_none() -> None:
    """curl --fail keeps an error's body to itself."""
    assert "curl -sS --fail --noproxy" in str(Model().command(model="a:1"))
    with fake_host({"/api/show": ""}) as host:
        assert host.get_fact(Model, model="a:1") is None


def test_an_answer_cut_short_fails_one_host_and_not_the_run() -> None:
    with pytest.raises(FactProcessError, match="Ollama's answer is not JSON"):
        Models().process(['{"models": ['])
