"""What is wrong with what a client got."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.kernel.dialect import Dialect
from tests.e2e.fuzz.cases import Case
from tests.e2e.fuzz.examples import ANSWERS, STREAMS
from tests.e2e.fuzz.mutations import CANARY, encoded
from tests.e2e.fuzz.plane import Answer, FuzzPlane
from tests.e2e.fuzz.shapes import ForeignError, assert_is_document, assert_is_error, assert_is_stream

_ENDS = {
    Dialect.OPENAI: (b"finish_reason",),
    Dialect.ANTHROPIC: (b"message_stop",),
    Dialect.GEMINI: (b"finishReason",),
}
_ENDS_OF_ALL = (b"[DONE]", b'"error"')
"""A stream that looks whole has one of these."""
_ARGUMENTS = re.compile(rb'"(arguments|partial_json)":"(\\.|[^"\\])*"')


def verdict(plane: FuzzPlane, case: Case, answer: Answer) -> Iterator[str]:
    """Each thing that breaks a promise."""
    if answer.hangs:
        yield "it hangs"
        return
    if not answer.status:
        yield f"no answer: {answer.head[:200]!r}"
        return
    if any(credential in answer.head or credential in answer.body for credential in plane.credentials):
        yield f"a credential reaches the client: {answer.head!r} {answer.body[:500]!r}"
    if case.is_good and answer.status != 200 and not answer.is_overload:
        yield f"a good call fails: {answer.body[:300]!r}"
    if answer.is_stream and answer.is_whole and not _has_end(case, answer):
        yield f"a stream ends without its end: {answer.body[-300:]!r}"
    if case.direction.is_translated:
        # An error may name what was wrong with the request, and a call's arguments are the model's own.
        if answer.status < 400 and CANARY.encode() in _ARGUMENTS.sub(b"", answer.body):
            yield f"a foreign name reaches the client: {answer.body[:500]!r}"
        try:
            _check(case, answer)
        except ForeignError as error:
            yield str(error)


def _has_end(case: Case, answer: Answer) -> bool:
    return any(mark in answer.body for mark in (*_ENDS[case.direction.client], *_ENDS_OF_ALL))


def _check(case: Case, answer: Answer) -> None:
    dialect = case.direction.client
    if not answer.is_whole and not answer.body:
        # Its provider hung up within an answer that is held until it is whole.
        return
    if answer.served.startswith("spare") and answer.status >= 400:
        # An error of the client's own dialect, as its provider wrote it.
        return
    if answer.status >= 400:
        assert_is_error(dialect, answer.body)
        return
    if not 200 <= answer.status < 300:
        raise ForeignError(f"status {answer.status}")
    if answer.served.startswith("spare"):
        assert_is_the_spares(dialect, answer.body)
    elif answer.is_stream:
        ends_well = assert_is_stream(dialect, answer.body, is_whole=answer.is_whole)
        if case.is_good and not ends_well:
            raise ForeignError(f"a good stream ends in an error: {answer.body[-300:]!r}")
    else:
        assert_is_document(dialect, answer.body)


def assert_is_the_spares(dialect: Dialect, body: bytes) -> None:
    """Whether an answer is that of the next target, which speaks the client's dialect, and of nobody before it."""
    events = STREAMS[dialect]
    with_usage, without = b"".join(events), b"".join(event for event in events if b'"choices": []' not in event)
    if body not in {with_usage, without, encoded(ANSWERS[dialect])}:
        raise ForeignError(f"not what the spare said: {body[:500]!r}")
