from __future__ import annotations

from services.chassis import telemetry

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_SPAN = "00f067aa0ba902b7"


def test_a_sampled_traceparent_becomes_a_parent() -> None:
    parent = telemetry.parent_of_traceparent(f"00-{_TRACE}-{_SPAN}-01")
    assert parent is not None
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == (_TRACE, _SPAN)


def test_unsampled_and_malformed_parents_are_none() -> None:
    for text in (
        f"00-{_TRACE}-{_SPAN}-00",
        "",
        "00-zz-zz-01",
        f"00-{'0' * 32}-{_SPAN}-01",
        f"00-{_TRACE[1:]}-{_SPAN}-01",
    ):
        assert telemetry.parent_of_traceparent(text) is None


def test_without_a_receiver_nothing_records() -> None:
    quiet = telemetry.configure("spendgate-test", None)
    assert not quiet.enabled
    assert not quiet.tracer.start_span("x").is_recording()
    quiet.shutdown()
