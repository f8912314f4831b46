from __future__ import annotations

from typing import Any, cast

import pytest

from services.chassis.line_text import read_line_text
from services.kernel.spool_contract import RequestedKey
from tests.worlds.lua_scripts import load_module, new_runtime, wire

LUA = new_runtime()
REQUESTED_LINE = load_module("requested_line", LUA)


def said(prints: dict[str, str] | None = None, client_request_id: str | None = None, **request: Any) -> dict[str, Any]:
    known = {"dialect": "openai", "model": wire("gpt-4o"), "body_bytes": 2_000} | request
    text = REQUESTED_LINE.of(LUA.table_from(known), LUA.table_from(prints or {}), client_request_id)
    return cast("dict[str, Any]", read_line_text(text.encode("latin-1").decode()))


def test_a_request_says_what_was_found_and_leaves_out_the_rest() -> None:
    assert said() == {"dialect": "openai", "model_requested": "gpt-4o", "body_bytes": 2_000}


def test_it_knows_every_key_of_the_contract() -> None:
    prints = {name.value: "0123456789abcdef" for name in RequestedKey if "prefix" in name or "print" in name}
    everything = said(prints, "r-1", operation="embeddings", stream=True, features="images,tools")
    assert everything.keys() == set(RequestedKey)
    assert (everything["stream"], everything["features"]) == (True, "images,tools")


@pytest.mark.parametrize(
    "model", ['a"b', "a'b", "'\"", "a\\b", "größe", "模型", "😀", "</x>", "%s", '","status":"500', "','status':'500"]
)
def test_a_model_of_any_name_is_read_back_as_it_is(model: str) -> None:
    assert said(model=wire(model))["model_requested"] == model


@pytest.mark.parametrize("sent", ["it's", 'say "no"', "a\\b", "größe", "b\xff", "','status':'500"])
def test_a_clients_own_id_is_read_back_and_bytes_that_are_no_text_are_replaced(sent: str) -> None:
    read = said(client_request_id=sent if "\xff" in sent else wire(sent))["client_request_id"]
    assert read == sent.replace("\xff", "?")


def test_an_ordinary_text_has_nothing_that_envoy_must_escape() -> None:
    prints = {name.value: "0123456789abcdef" for name in RequestedKey if "prefix" in name or "print" in name}
    known = {"dialect": "openai", "model": "gpt-4o", "body_bytes": 2_000, "stream": True, "features": "tools"}
    text = REQUESTED_LINE.of(LUA.table_from(known), LUA.table_from(prints), "r-1")
    assert not set(text) & {'"', "\\"}


def test_a_body_of_32_mib_has_its_size_to_the_byte() -> None:
    assert said(body_bytes=32 * 1024 * 1024 - 1)["body_bytes"] == 33_554_431
