"""The trace of a request: W3C's rules, and what quota and the ledger must come to alike."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.kernel.trace_context import (
    ALWAYS,
    ATTEMPTS_MAX,
    BY_CLIENT,
    CALL_SPAN,
    COST_SPAN,
    DECISION_SPAN,
    NEVER,
    Sampling,
    begin_trace,
    read_context,
    read_sampling,
    read_traceparent,
    span_id,
)

REQUEST_ID = "5ca9213f-1b1f-4da9-99f1-e8d52416c941"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"

hex_digits = st.text("0123456789abcdef", min_size=1)


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=count, max_size=count)


trace_ids = digits(32).filter(lambda text: text.strip("0") != "")
span_ids = digits(16).filter(lambda text: text.strip("0") != "")
samplings = st.one_of(st.just(ALWAYS), st.just(NEVER), st.just(BY_CLIENT), st.integers(1, 99).map(Sampling))
request_ids = st.uuids(version=4).map(str)
REFUSED = (
    "",
    "-",
    VALID[:-1],
    VALID + "0",
    VALID + "-",
    VALID + "-more",
    VALID.upper(),
    VALID.replace("b7ad", "B7ad"),
    f" {VALID}",
    f"{VALID}\n",
    f"{VALID},{VALID}",
    f"ff-{TRACE}-{SPAN}-01",
    f"FF-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{SPAN}-0g",
    f"00_{TRACE}_{SPAN}_01",
    f"0-{TRACE}-{SPAN}-01",
    f"00-{TRACE[1:]}-{SPAN}-01",
    f"00-{TRACE}-{SPAN[1:]}-01",
    f"cc-{TRACE}-{SPAN}-01more",
    f"cc-{TRACE}-{SPAN}",
    f"cc-{TRACE}-{SPAN}-01-more,{VALID}",
    f"cc-{'0' * 32}-{SPAN}-01-more",
    f"00-{TRACE[:-1]}٣-{SPAN}-01",
)


@pytest.mark.parametrize("header", REFUSED)
def test_what_the_standard_refuses_names_no_span(header: str) -> None:
    assert read_traceparent(header) is None
    assert begin_trace(header, REQUEST_ID, ALWAYS) == begin_trace("", REQUEST_ID, ALWAYS)


@given(trace_ids, span_ids, st.integers(0, 255))
def test_a_header_of_this_version_says_who_called_and_whether_that_is_recorded(
    trace_id: str, span: str, flags: int
) -> None:
    parent = read_traceparent(f"00-{trace_id}-{span}-{flags:02x}")
    assert parent is not None
    assert (parent.trace_id, parent.span_id) == (trace_id, span)
    assert parent.sampled == (flags % 2 == 1)
    # Flags that have no meaning yet are not passed on.
    assert parent.flags == flags & 0b11


@given(st.integers(1, 254), trace_ids, span_ids, st.integers(0, 255), st.text("0123456789abcdefxyz-_. "))
def test_a_later_version_is_read_as_far_as_this_one_goes(
    version: int, trace_id: str, span: str, flags: int, more: str
) -> None:
    for header in (base := f"{version:02x}-{trace_id}-{span}-{flags:02x}", f"{base}-{more}"):
        parent = read_traceparent(header)
        assert parent is not None
        assert (parent.trace_id, parent.span_id, parent.flags) == (trace_id, span, flags & 1)


@given(st.text())
@example(VALID)
def test_any_text_is_either_read_or_refused(header: str) -> None:
    parent = read_traceparent(header)
    assert parent is None or header[3:35] == parent.trace_id


@given(st.one_of(st.text(), trace_ids.map(lambda trace_id: f"00-{trace_id}-{SPAN}-00")), request_ids, samplings)
def test_quota_and_the_ledger_come_to_the_same_trace(header: str, request_id: str, sampling: Sampling) -> None:
    """The ledger reads back what quota said, and finds by itself what quota would have said."""
    context = begin_trace(header, request_id, sampling)
    assert context is not None
    assert read_context(str(context)) == context
    assert begin_trace(str(context), request_id, sampling) == context


@given(request_ids, samplings)
def test_a_trace_that_begins_here_has_the_id_of_its_request(request_id: str, sampling: Sampling) -> None:
    context = begin_trace("", request_id, sampling)
    assert context is not None
    assert (context.trace_id, context.parent_id) == (request_id.replace("-", ""), "")
    # As a header it names no span, so nobody takes it for a client's.
    assert read_traceparent(str(context)) is None


@pytest.mark.parametrize("request_id", ["", "req-1", "0" * 36, str(UUID(int=0)), f"{REQUEST_ID}0"])
def test_a_request_id_that_is_not_envoys_makes_no_trace(request_id: str) -> None:
    assert begin_trace("", request_id, ALWAYS) is None


@pytest.mark.parametrize(
    ("sampling", "unnamed", "unrecorded", "recorded"),
    [(ALWAYS, True, True, True), (BY_CLIENT, True, False, True), (NEVER, False, False, False)],
)
def test_sampling_decides_whether_a_trace_is_recorded(
    sampling: Sampling, *, unnamed: bool, unrecorded: bool, recorded: bool
) -> None:
    headers = {"": unnamed, f"00-{TRACE}-{SPAN}-00": unrecorded, VALID: recorded}
    for header, expected in headers.items():
        context = begin_trace(header, REQUEST_ID, sampling)
        assert context is not None
        assert context.recorded is expected
        assert str(context).endswith("1") is expected


@given(st.integers(1, 99))
def test_a_share_is_chosen_by_the_trace_and_not_by_its_client(percent: int) -> None:
    sampling, count = Sampling(percent), 10_000
    # Ids whose random part is spread evenly, as a generator would.
    traces = [f"{number:018x}{number * (1 << 56) // count:014x}" for number in range(count)]
    recorded = sum(sampling.records(trace_id, None) for trace_id in traces)
    assert abs(recorded - percent * count // 100) <= 1
    for flags in (0, 1):
        parent = read_traceparent(f"00-{TRACE}-{SPAN}-{flags:02x}")
        assert sampling.records(TRACE, parent) == sampling.records(TRACE, None)


@pytest.mark.parametrize("text", ["always", "client", "1%", "99%"])
def test_a_sampling_is_read(text: str) -> None:
    assert read_sampling(text) is not None


@pytest.mark.parametrize("text", ["", "never", "0%", "100%", "01%", "1.5%", "10", "-1%", "Always"])
def test_any_other_sampling_is_refused(text: str) -> None:
    assert read_sampling(text) is None


@given(request_ids, st.integers(1, ATTEMPTS_MAX))
def test_no_two_spans_of_a_request_share_an_id(request_id: str, attempt: int) -> None:
    ids = {span_id(number, request_id) for number in (attempt, CALL_SPAN, DECISION_SPAN, COST_SPAN)}
    assert len(ids) == 4
    assert all(len(each) == 16 and each.strip("0") for each in ids)
