from __future__ import annotations

import json
from typing import Any

import pytest

from services.kernel.spool_contract import RequestedKey
from tests.worlds.lua_scripts import load_module, new_runtime, wire

LUA = new_runtime()
REQUESTED_LINE = load_module("requested_line", LUA)


def said(prints: dict[str, str] | None = None, **request: Any) -> dict[str, Any]:
    known = {"dialect": "openai", "model": wire("gpt-4o"), "body_bytes": 2_000} | request
    text = REQUESTED_LINE.of(LUA.table_from(known), LUA.table_from(prints or {}))
    read: dict[str, Any] = json.loads(text.encode("latin-1"))
    return read


def test_a_request_says_what_was_found_and_leaves_out_the_rest() -> None:
    assert said() == {"dialect": "openai", "model_requested": "gpt-4o", "body_bytes": 2_000}


def test_it_knows_every_key_of_the_contract() -> None:
    prints = {name.value: "0123456789abcdef" for name in RequestedKey if "prefix" in name or "print" in name}
    everything = said(prints, stream=True, features="images,tools")
    assert everything.keys() == set(RequestedKey)
    assert (everything["stream"], everything["features"]) == (True, "images,tools")


@pytest.mark.parametrize("model", ['a"b', "a\\b", "größe", "模型", "😀", "</x>", "%s", '","status":"500'])
def test_a_model_of_any_name_is_read_back_as_it_is(model: str) -> None:
    assert said(model=wire(model))["model_requested"] == model


def test_a_body_of_32_mib_has_its_size_to_the_byte() -> None:
    assert said(body_bytes=32 * 1024 * 1024 - 1)["body_bytes"] == 33_554_431
