"""Envoy's part in traces: it makes no spans, but names the trace of requests that only it has seen.

Quota says which trace a call belongs to (`services/kernel/trace_context.py`). For requests that never reach quota,
these expressions give the same result.
"""

from __future__ import annotations

_HEADER = "request.headers['traceparent']"
_ID = "request.headers['x-request-id']"
# Expressions take only short patterns, and none with bounds like {32}. So sizes are compared.
_FORM = "^([0-9a-f][0-9a-f])-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f][0-9a-f])(-[^,]*)?$"


def _part(number: int) -> str:
    return f"re.extract({_HEADER}, '{_FORM}', r'\\{number}')"


_IS_TRACE = " && ".join(
    (
        f"'traceparent' in request.headers && {_HEADER}.matches('{_FORM}')",
        f"!{_HEADER}.startsWith('ff') && !({_HEADER}.startsWith('00') && {_HEADER}.size() != 55)",
        f"{_part(2)}.size() == 32 && {_part(3)}.size() == 16",
        f"!{_part(2)}.matches('^0+$') && !{_part(3)}.matches('^0+$')",
    )
)
CLIENTS_TRACEPARENT = f"({_IS_TRACE} ? re.extract({_HEADER}, '{_FORM}', r'\\1-\\2-\\3-\\4') : '-')"
"""The client's header, without what a later version adds, or a dash if it names no span. Other text may hold a key."""
TRACE_ID = f"%CEL({_IS_TRACE} ? {_part(2)} : re.extract({_ID}, '^(.+)-(.+)-(.+)-(.+)-(.+)$', r'\\1\\2\\3\\4\\5'))%"
"""The id of the trace: the client's, else the request id without its dashes."""
