from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.trace_context import ALWAYS, ATTEMPTS_MAX, BY_CLIENT, begin_trace, read_traceparent, span_id
from tests.worlds.lua_scripts import load_module

REQUEST_ID = "5ca9213f-1b1f-4da9-99f1-e8d52416c941"
TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LUA = load_module("traceparent")


@given(st.uuids(version=4).map(str), st.integers(1, ATTEMPTS_MAX), st.sampled_from(["00", "01", "02", "03"]))
def test_the_header_of_an_attempt_names_the_span_that_the_ledger_will_write(
    request_id: str, attempt: int, flags: str
) -> None:
    context = begin_trace(f"00-{TRACE}-{CLIENT}-{flags}", request_id, ALWAYS)
    sent = read_traceparent(LUA.of_attempt(str(context), attempt, request_id))
    assert sent is not None
    assert (sent.trace_id, sent.span_id) == (TRACE, span_id(attempt, request_id))
    assert sent.sampled
    assert sent.flags & 0b10 == int(flags, 16) & 0b10


@pytest.mark.parametrize("flags", ["00", "02"])
def test_the_clients_own_header_passes_if_nobody_records_the_trace(flags: str) -> None:
    context = begin_trace(f"00-{TRACE}-{CLIENT}-{flags}", REQUEST_ID, BY_CLIENT)
    assert LUA.of_attempt(str(context), 1, REQUEST_ID) is None


def test_without_a_trace_nothing_is_sent() -> None:
    assert LUA.of_attempt(None, 1, REQUEST_ID) is None
