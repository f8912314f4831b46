"""Who asks: carried from the decision at the admin listener to the services in a header that no client can set."""

from __future__ import annotations

from typing import Any, Protocol

from services.kernel.change import OWNER, Actor, Authorship
from services.kernel.envoy_contract import ACTOR_HEADER
from services.kernel.errors import InvalidInput, PermissionDenied

MAX_REASON_CHARS = 512
_REQUEST_ID_HEADER = "x-request-id"


class CallContext(Protocol):
    """What is needed of a gRPC context, threaded or asynchronous."""

    def invocation_metadata(self) -> Any:
        """Pairs of a name in lower case and a value."""
        ...


def actor_of(context: CallContext) -> Actor:
    """Who asks.

    Raises:
        PermissionDenied: the header is not one that quota wrote.
    """
    return authorship_of(context).actor


def authorship_of(context: CallContext, reason: str = "") -> Authorship:
    """Who asks, in which request, and why.

    Raises:
        InvalidInput: the reason is too long, or holds control characters.
        PermissionDenied: the header is not one that quota wrote.
    """
    check_reason("reason", reason)
    metadata = dict(context.invocation_metadata() or ())
    header = metadata.get(ACTOR_HEADER)
    if header is None:
        return Authorship(OWNER.actor, reason)
    return Authorship(_read_actor(str(header)), reason, str(metadata.get(_REQUEST_ID_HEADER, "")))


def check_reason(field: str, reason: str) -> None:
    """Passes a reason that can be kept and shown.

    Raises:
        InvalidInput: it cannot.
    """
    if len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise InvalidInput(field, f"must be at most {MAX_REASON_CHARS} characters on one line")


def write_actor(actor: Actor) -> str:
    """The header's value. Role, team and name are plain names, which hold no colon."""
    return f"{actor.role}:{actor.team}:{actor.name}"


def _read_actor(header: str) -> Actor:
    role, team, name = (*header.split(":"), "", "", "")[:3]
    if not role or not name or header.count(":") != 2:
        raise PermissionDenied("it cannot be told who asks: the request did not come through the admin listener")
    return Actor(name, role, team)
