"""Shows what one call to a provider showed of it."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration
from spendgate.router.v1 import router_service_pb2 as router
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_names

_DIALECTS = enum_names(dialect_pb2.Dialect)
_STEPS = enum_names(router.TestProviderResponse.Step)
_NOT_BOOKED = "nothing: the provider bills this call to your account with it"


def trial_document(seen: router.TestProviderResponse, is_priced: bool | None) -> dict[str, object]:
    """What was seen, as a document. `is_priced` is None if no configured model has the target."""
    return {
        "target": seen.target,
        "ok": not seen.problem,
        "problem": seen.problem or None,
        "step": _STEPS.get(seen.step),
        "dialect": _DIALECTS.get(seen.dialect),
        "url": seen.url,
        "credential": seen.credential,
        "address": seen.address or None,
        "connect_ms": _ms(seen.connect_latency) if seen.address else None,
        "tls": seen.tls_version or None,
        "tls_ms": _ms(seen.tls_latency) if seen.HasField("tls_latency") else None,
        "status": seen.status or None,
        "answer_ms": _ms(seen.answer_latency) if seen.status else None,
        "served_model": seen.served_model or None,
        "input_tokens": seen.input_tokens if seen.HasField("input_tokens") else None,
        "output_tokens": seen.output_tokens if seen.HasField("output_tokens") else None,
        "priced": is_priced,
        "booked": False,
    }


def trial_lines(seen: router.TestProviderResponse, is_priced: bool | None) -> Iterator[str]:
    """What was seen, a line for each step that was reached."""
    yield f"target      {seen.target}"
    yield f"call        POST {seen.url}, {_DIALECTS.get(seen.dialect, 'a later dialect')} dialect"
    yield f"credential  {seen.credential}"
    if seen.address:
        yield f"connection  {seen.address}, {_ms(seen.connect_latency)} ms"
    if seen.tls_version:
        yield f"encryption  {seen.tls_version}, certificate accepted, {_ms(seen.tls_latency)} ms"
    if seen.status:
        yield f"answer      status {seen.status}, {_ms(seen.answer_latency)} ms"
    if seen.served_model:
        yield f"model       {seen.served_model}"
    if seen.HasField("input_tokens"):
        yield f"usage       {seen.input_tokens} tokens in, {seen.output_tokens} out"
    yield f"price       {_price(is_priced)}"
    yield f"booked      {_NOT_BOOKED}"
    yield f"problem     {seen.problem}" if seen.problem else "ok"


def _price(is_priced: bool | None) -> str:
    if is_priced is None:
        return "not looked up: no configured model has this target"
    return "known" if is_priced else "unknown: calls under a limit on spend never go there until you write one"


def _ms(latency: Duration) -> int:
    return latency.ToMilliseconds()
