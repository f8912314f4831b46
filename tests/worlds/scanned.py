"""Bodies as the scan reads them."""

from __future__ import annotations

import json
from typing import Any

from tests.worlds.lua_scripts import load_module, new_runtime, plain, wire

LUA = new_runtime()
SCAN = load_module("scan", LUA)
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini-x:generateContent",
}


def inspect(body: Any, dialect: str = "openai") -> dict[str, Any]:
    """What the scan says about a body."""
    text = body if isinstance(body, str) else json.dumps(body)
    request, _, _ = SCAN.body(wire(text), dialect, PATHS[dialect])
    found: dict[str, Any] = plain(request)
    return found


def refused(body: Any, dialect: str = "openai") -> str:
    """Why the scan refuses a body."""
    text = body if isinstance(body, str) else json.dumps(body)
    passed, problem = LUA.globals().pcall(SCAN.body, wire(text), dialect, PATHS[dialect])
    assert not passed
    return str(plain(problem.message))


def chat(**more: Any) -> dict[str, Any]:
    """A small body of OpenAI's or Anthropic's dialect."""
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}]} | more
