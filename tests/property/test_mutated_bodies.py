"""Whatever a body asks of any reader, quota holds at least that much of it, or the scan refuses it.

Mutated bodies go through the scan as Envoy runs it, through quota's reading of what it says, and through readers that
know nothing of either. `SPENDGATE_MUTATED_BODIES` sets how many of each dialect. Test a release with 20,000.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2

from services.kernel.envoy_contract import REQUEST_NAMESPACE
from services.quota.domain.admission.estimate import bound
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.routing.plan import PlannedTarget
from services.quota.domain.routing.target_facts import TargetFacts
from services.quota.transport.check_request import read_check
from tests.e2e.adversary import attacks_anthropic, attacks_gemini, attacks_openai
from tests.e2e.adversary.attack import LONG_TEXT, PIXELS, Attack
from tests.e2e.adversary.provider import MODELS, understand
from tests.e2e.adversary.temperaments import BadBodyError, Temperament, read
from tests.property.mutations import TEXT, mutated, parsed
from tests.worlds.lua_scripts import load_module, new_runtime, plain

BODIES = int(os.environ.get("SPENDGATE_MUTATED_BODIES", "1300"))
LUA = new_runtime()
SCAN = load_module("scan", LUA)
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/meant:generateContent",
}
TABLES = {"openai": attacks_openai, "anthropic": attacks_anthropic, "gemini": attacks_gemini}
# Small, so that no image hides text that nobody counts.
IMAGE_TOKENS = 10


def seeds(dialect: str) -> list[str]:
    """The bodies of all attacks and honest calls that are JSON, without their length."""
    table: Any = TABLES[dialect]
    attacks: tuple[Attack, ...] = (*table.ATTACKS, *table.HONEST, *table.LARGE)
    found = []
    for attack in attacks:
        body = str(attack.body).replace(LONG_TEXT, TEXT).replace(PIXELS, "iVBORw0KGgo")
        try:
            parsed(body.replace("@MODEL@", "meant"))
        except ValueError:
            continue
        if len(body) < 8_000:
            found.append(body.replace("@MODEL@", "meant"))
    return found


def target_of(dialect: str) -> TargetFacts:
    model = MODELS[dialect]
    target = PlannedTarget("p/m", model.name, model.ceiling, model.window, ())
    return dataclasses.replace(TargetFacts.of(target, None), image_tokens=IMAGE_TOKENS)


def scanned(body: bytes, dialect: str) -> tuple[str, RequestFacts] | None:
    """Model and facts as quota gets them; None if the scan refuses the body."""
    passed, found = LUA.globals().pcall(SCAN.body, body.decode("latin-1"), dialect, PATHS[dialect])[:2]
    if not passed:
        assert not isinstance(found, str), f"a mistake in the scan: {found}, with {body!r}"
        return None
    request = external_auth_pb2.CheckRequest()
    request.attributes.request.http.path = PATHS[dialect]
    request.attributes.metadata_context.filter_metadata[REQUEST_NAMESPACE].update(plain(found))
    scan = read_check(request.SerializeToString()).scan
    return None if scan is None else (scan.model, scan.facts)


def faults(body: bytes, dialect: str, target: TargetFacts) -> Iterator[str]:
    """The work that a reader would do beyond what is held."""
    found = scanned(body, dialect)
    if found is None:
        return
    model, facts = found
    if facts.price_options:
        # Refused where money is limited, or priced for itself.
        return
    held = bound(facts, target)
    for temperament in Temperament:
        try:
            members = read(body, "application/json", temperament)
        except BadBodyError:
            continue
        asked = understand(dialect, PATHS[dialect], {}, members, temperament)
        asked.image_tokens = IMAGE_TOKENS
        if asked.input > held.input:
            yield f"{temperament}: {asked.input} input tokens, held {held.input}"
        if asked.all_output > held.output:
            yield f"{temperament}: {asked.all_output} output tokens, held {held.output}"
        if asked.model != model:
            yield f"{temperament}: the model {asked.model!r}, judged {model!r}"
        if asked.writes_cache_1h and "cache_1h" not in facts.features:
            yield f"{temperament}: a cache for an hour"


@pytest.mark.parametrize("dialect", PATHS)
def test_no_reader_asks_for_more_than_quota_holds(dialect: str) -> None:
    draw = random.Random(f"{dialect}-1")
    known, target = seeds(dialect), target_of(dialect)
    passed = 0
    for _ in range(BODIES):
        body = mutated(draw.choice(known), draw)
        found = list(faults(body, dialect, target))
        assert not found, f"{found}\n{body.decode(errors='backslashreplace').replace(TEXT, '<long text>')}"
        passed += scanned(body, dialect) is not None
    # A scan that refuses everything would be right, and useless.
    assert passed > BODIES // 5


@pytest.mark.parametrize("dialect", PATHS)
def test_what_an_honest_call_holds_is_near_what_it_asks(dialect: str) -> None:
    table: Any = TABLES[dialect]
    for call in table.HONEST:
        body = str(call.body).replace(PIXELS, "iVBORw0KGgo").replace("@MODEL@", "meant").encode()
        found = scanned(body, dialect)
        assert found is not None, call.name
        assert bound(found[1], target_of(dialect)).input < len(body) + 2_000, call.name
