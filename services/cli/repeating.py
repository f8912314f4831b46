"""Repeats a change whose answer got lost, so that the user never sees the loss.

Each change gets a request id. The gateway answers a repetition with the same id as it answered the first request, and
changes nothing (AIP-155).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

_FIELD = "request_id"
# A service that died is back within a few seconds.
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
# The last moment after the first try to begin another one. A silent gateway thus gets two deadlines.
_PATIENCE_S = 25.0
# gRPC's own texts. Envoy's, about services that it cannot reach, also say "connection refused".
_NEVER_SENT = ("failed to connect to all addresses", "name resolution", "dns resolution", "handshake")
_BROKEN = "RST_STREAM"


def was_never_sent(details: str) -> bool:
    """Whether the details of an UNAVAILABLE say that gRPC reached nobody, and so sent nothing."""
    return any(mark in details.lower() for mark in _NEVER_SENT)


class Repeating(grpc.UnaryUnaryClientInterceptor):
    """Gives each request that has the field a request id, and repeats it while its answer may be lost."""

    def __init__(self, pauses_s: Sequence[float] = _PAUSES_S) -> None:
        """`pauses_s`: the pause before each repetition, which also bounds their number."""
        self._pauses_s = pauses_s

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Sends the request until it is answered, or until it is time to give up."""
        if _FIELD not in request.DESCRIPTOR.fields_by_name:
            return continuation(client_call_details, request)
        identified = _with_id(request)
        began_s = time.monotonic()
        call = continuation(client_call_details, identified)
        if call.code() is grpc.StatusCode.UNAVAILABLE and was_never_sent(call.details() or ""):
            return call
        for pause_s in self._pauses_s:
            if not _may_be_lost(call) or time.monotonic() - began_s > _PATIENCE_S:
                return call
            time.sleep(pause_s)
            call = continuation(client_call_details, identified)
        return call


def _with_id(request: Message) -> Message:
    """A copy, so that a caller that sends its message twice asks for two changes."""
    identified = type(request)()
    identified.CopyFrom(request)
    if not getattr(identified, _FIELD):
        setattr(identified, _FIELD, str(uuid.uuid4()))
    return identified


def _may_be_lost(call: Any) -> bool:
    """Whether the service may have carried out the request, or may do so soon, although we got no answer."""
    if call.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return True
    return call.code() is not grpc.StatusCode.OK and _BROKEN in (call.details() or "")
