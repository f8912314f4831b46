"""Estimates usage that no provider measured, and bounds it.

The estimate uses the call's own evidence and never exceeds what was held. A figure that the provider sent always wins:

    evidence                                              input                   output
    nothing came back, or a proxy's time was up           expected                expected
    a stream with a running count                         the provider's          the provider's
    a stream whose text was seen, in part or whole        the provider's, else    its text by the learned scale, at
                                                          expected                least a token for each content event
    a stream without visible text                         the same                expected, or by its bytes
    a body that was cut, or carried no usage              the same                expected, or by its bytes

"Expected" is the size of this call by the learned scale of requests, and the typical size of an answer. Where a stream
was seen in part, the text sent after the meter's last report is added in proportion to the bytes.

The bound is the most that an attempt can be billed for. Quota keeps the difference reserved, as doubt:

    how it ended                                          input                   output
    never sent, or refused without usage                  nothing                 nothing
    the provider sent its final count                     that                    that
    the client left, or it took too long                  the provider's, else    held: we cannot see whether a
                                                          held                    provider stops when its client is gone
    the same, and the provider is declared to stop:
        a stream with a running count                     the provider's          that, and what was under way
        another stream of Anthropic's dialect             the provider's          a token for each byte of its text, and
                                                                                  what was under way
        any other answer                                  the provider's, else    held: it may contain unseen reasoning,
                                                          held                    or the whole answer was made
    the provider hung up                                  the same                held: it may have made more
    it ended without usage                                the same                held: it may contain unseen reasoning
    no answer, or one that says that a time was up        held                    held
    there is no record of it                              unbounded               unbounded

Nothing learned ever lowers a bound: a client could teach a scale with one kind of text and then send another. A
declaration about a provider may lower it, if we saw the provider's answer directly:

* "Under way" is one second of the stream at its own pace, or a few of its events if that is more. A provider needs a
  moment to notice a disconnect, and a fast stream makes more in that moment.
* A client that does not read can hold the answer back, out of our sight, while its provider makes more. So only streams
  that Envoy had room for qualify. HTTP/2 streams share their connection's room and do not qualify.
* Text bounds tokens only where all output is text that is sent. That excludes tools, whose calls take more than text;
  requests that ask the model to think; and OpenAI's dialect, where models think unasked and unseen.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import STREAM_BUFFER_BYTES
from services.kernel.price import ANY_SERVICE_TIER, Bounds, Price, charge, charge_at_most
from services.kernel.settlement import UNBOUNDED, Most
from services.kernel.spool_contract import UNREPORTED_TEXT_BYTES
from services.kernel.usage import Usage
from services.ledger.domain.call import SpooledCall
from services.ledger.domain.outcome import Outcome
from services.ledger.domain.reading import ReadingState

_ENVELOPE_BYTES = 400
"""Bytes of a JSON answer besides its text."""
_STREAM_BYTES_PER_TEXT_BYTE = 8
"""For a stream whose text nobody read: about 25 bytes of text in an event of about 200."""
_MOST_ESTIMATED_TOKENS = 128_000
"""Bounds an estimate when the line does not carry the reservation's own bound."""
_BOUNDED_FEATURES = frozenset(
    {"tools", "custom_tools", "images", "response_format", "thinking", "cache_control", "cache_1h"}
)
"""Request features whose cost tokens bound. Sound, searches and files are billed in other units too."""
_LEFT = frozenset({Outcome.CLIENT_CANCELLED, Outcome.TIMEOUT})
"""Outcomes in which Envoy hangs up on the provider."""
_ALL_IS_SENT = frozenset({"images", "response_format", "cache_control", "cache_1h"})
"""Request features with which all output is text that is sent."""
_NOTICED_MS = 1_000
_EVENTS_UNDER_WAY = 4
UNBOUNDED_MOST = Most(UNBOUNDED, UNBOUNDED, UNBOUNDED)


def estimated_usage(call: SpooledCall) -> Usage:
    """Estimates the usage of an answer that began, from its evidence."""
    reading = call.reading
    input_tokens = call.expected.input_tokens if reading.input_tokens is None else reading.input_tokens
    running = _running_count(call)
    if running is not None:
        return reading.usage_of(input_tokens, running)
    return reading.usage_of(input_tokens, max(estimated_output_tokens(call), reading.output_tokens or 0))


def estimated_output_tokens(call: SpooledCall) -> int:
    """Estimates the output of an answer that began, from what was visible of it."""
    seen = call.reading.seen
    if seen.content:
        tokens = max(call.answer.tokens(_text_seen(call)), seen.content)
    else:
        tokens = max(call.expected.output_tokens, call.answer.tokens(_text_by_bytes(call)))
    return min(tokens, _held_output(call))


def most_of_answer(call: SpooledCall, booked: Usage, price: Price | None) -> Most:
    """Bounds an attempt that is booked as `booked`, an estimate."""
    output_tokens = max(_most_output(call), booked.output_tokens)
    input_tokens = call.reading.input_tokens if call.began else None
    if input_tokens is None or not call.held_input_tokens:
        return most_of_silence(call, price)
    if price is None or not _is_bounded(call):
        return Most(UNBOUNDED, input_tokens, output_tokens)
    known = charge(booked, price)
    at_most = _cost_at_most(call, input_tokens, output_tokens, price)
    as_booked = _cost_at_most(call, input_tokens, booked.output_tokens, price)
    if known is None or at_most is None or as_booked is None:
        return Most(UNBOUNDED, input_tokens, output_tokens)
    # The kinds of input are known. Each token of output that nobody saw costs the highest rate.
    return Most(known + at_most - as_booked, input_tokens, output_tokens)


def most_of_silence(call: SpooledCall, price: Price | None) -> Most:
    """Bounds an attempt without any measurement."""
    if not call.held_input_tokens:
        return UNBOUNDED_MOST
    input_tokens, output_tokens = call.held_input_tokens, call.held_output_tokens
    cost = _cost_at_most(call, input_tokens, output_tokens, price) if price and _is_bounded(call) else None
    return Most(UNBOUNDED if cost is None else cost, input_tokens, output_tokens)


def add_up_most(parts: Iterable[Most]) -> Most:
    """Adds up the bounds of all attempts."""
    columns = zip(*parts, strict=True)
    return Most(*(UNBOUNDED if UNBOUNDED in column else sum(column) for column in columns))


def _running_count(call: SpooledCall) -> int | None:
    """Returns the output count that a stream repeats with each event, or None when it has none.

    Anthropic sends a first figure with the input and then only the final one.
    """
    reported = call.reading.output_tokens or 0
    counts = call.dialect != Dialect.ANTHROPIC and reported >= max(1, call.reading.seen.content)
    return reported if counts else None


def _most_output(call: SpooledCall) -> int:
    held = _held_output(call)
    made = _made_when_left(call) if call.provider_stops and call.outcome in _LEFT else None
    return held if made is None else min(held, made)


def _made_when_left(call: SpooledCall) -> int | None:
    """Returns the most output the provider can have made before it noticed the disconnect; None when unbounded."""
    seen = call.reading.seen
    had_room = call.protocol.startswith("HTTP/1") and call.bytes_sent <= STREAM_BUFFER_BYTES
    if not call.stream or not seen.content or not had_room or call.reading.state is ReadingState.FAILED:
        return None
    made = _running_count(call)
    if made is None:
        if call.dialect != Dialect.ANTHROPIC or not _has_only(call, _ALL_IS_SENT):
            return None
        made = seen.text_bytes + seen.text_bytes // 4 + UNREPORTED_TEXT_BYTES
    lasted_ms = max(1, call.duration_ms - call.first_byte_ms)
    under_way = max(made * _NOTICED_MS // lasted_ms, made * _EVENTS_UNDER_WAY // seen.content)
    return made + under_way + 1


def _text_seen(call: SpooledCall) -> int:
    """Bytes of text that were sent."""
    seen = call.reading.seen
    later = max(0, call.bytes_sent - seen.sent_bytes)
    return seen.text_bytes + seen.text_bytes * later // max(1, seen.sent_bytes)


def _text_by_bytes(call: SpooledCall) -> int:
    """Estimates the bytes of text in an answer that nobody read."""
    if call.stream:
        return call.bytes_sent // _STREAM_BYTES_PER_TEXT_BYTE
    return max(0, call.bytes_sent - _ENVELOPE_BYTES)


def _held_output(call: SpooledCall) -> int:
    known = call.held_input_tokens or call.held_output_tokens
    return call.held_output_tokens if known else _MOST_ESTIMATED_TOKENS


def _is_bounded(call: SpooledCall) -> bool:
    return _has_only(call, _BOUNDED_FEATURES)


def _has_only(call: SpooledCall, features: frozenset[str]) -> bool:
    return not call.features or features.issuperset(call.features.split(","))


def _cost_at_most(call: SpooledCall, input_tokens: int, output_tokens: int, price: Price) -> int | None:
    hour = "cache_1h" in call.features.split(",")
    tier = ANY_SERVICE_TIER if price.service_tiers else ""
    return charge_at_most(Bounds(input_tokens, output_tokens, writes_cache_1h=hour, service_tier=tier), price)
