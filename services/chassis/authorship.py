"""Who is calling. The admin listener's decision passes it to services in a header that no client can set."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from services.kernel.change import OWNER, Actor, Authorship
from services.kernel.envoy_contract import ACTOR_HEADER
from services.kernel.errors import InvalidInput, PermissionDenied
from services.kernel.repetition import SALT_BYTES, Repeatable, read_request_id

MAX_REASON_CHARS = 512
_REQUEST_ID_HEADER = "x-request-id"
_REQUEST_ID_FIELD = "request_id"

M = TypeVar("M", bound=Message)


class CallContext(Protocol):
    """The part of a gRPC context that we need, threaded or asynchronous."""

    def invocation_metadata(self) -> Any:
        """Pairs of a lower-case name and a value."""
        ...


def actor_of(context: CallContext) -> Actor:
    """Returns the caller.

    Raises:
        PermissionDenied: quota did not write the header.
    """
    return authorship_of(context).actor


def authorship_of(context: CallContext, reason: str = "") -> Authorship:
    """Returns the caller, the request and the reason.

    Raises:
        InvalidInput: the reason is too long, or holds control characters.
        PermissionDenied: quota did not write the header.
    """
    check_reason("reason", reason)
    metadata = dict(context.invocation_metadata() or ())
    header = metadata.get(ACTOR_HEADER)
    if header is None:
        return Authorship(OWNER.actor, reason)
    return Authorship(_read_actor(str(header)), reason, str(metadata.get(_REQUEST_ID_HEADER, "")))


def mutation_by(context: CallContext, request: Message, reason: str) -> Authorship:
    """Returns the author of a mutation. If `request.request_id` is set, the client may repeat the request.

    Raises:
        InvalidInput: the id is not a random UUID, or the reason cannot be kept. PermissionDenied: quota did not write
        the header.
    """
    by = authorship_of(context, reason)
    given: str = getattr(request, _REQUEST_ID_FIELD)
    if not given:
        return by
    repeatable = Repeatable(
        id=read_request_id(given),
        actor=write_actor(by.actor),
        method=request.DESCRIPTOR.full_name,
        digest=_digest_without_id(request),
        salt=os.urandom(SALT_BYTES),
    )
    return replace(by, repeatable=repeatable)


def _digest_without_id(request: M) -> bytes:
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField(_REQUEST_ID_FIELD)
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def check_reason(field: str, reason: str) -> None:
    """Checks that a reason can be kept and shown.

    Raises:
        InvalidInput: it cannot.
    """
    if len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise InvalidInput(field, f"must be at most {MAX_REASON_CHARS} characters on one line")


def write_actor(actor: Actor) -> str:
    """Returns the header's value. Role, team and name are plain names, without colons."""
    return f"{actor.role}:{actor.team}:{actor.name}"


def _read_actor(header: str) -> Actor:
    role, team, name = (*header.split(":"), "", "", "")[:3]
    if not role or not name or header.count(":") != 2:
        raise PermissionDenied("the caller is unknown: the request did not come through the admin listener")
    return Actor(name, role, team)
