"""Repetitions: if an answer is lost, its client sends the same request again and gets that answer (AIP-155).

A client gives a mutation a request id. The service remembers the request in the transaction of its change. The same
request with the same id then gets the same answer and changes nothing.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from services.kernel.errors import InvalidInput

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)

KEPT_MS = 86_400_000
"""How long a service remembers a request."""
MOST_KEPT = 10_000
"""The most requests that a service remembers. It forgets the oldest ones first."""
MOST_OF_ONE_ACTOR = 1_000
"""The most requests of one actor, so that nobody pushes out those of others."""
SALT_BYTES = 32
_FIELD = "request_id"
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that its client may repeat."""

    id: str
    """A UUID of version 4, in lower case."""
    actor: str
    """Role, team and name of the caller, joined by colons."""
    method: str
    """Full name of the request message. Each method has its own."""
    digest: bytes
    """A digest of the request's content without its id: 32 bytes."""
    salt: bytes
    """Random bytes of the first request with this id. Secrets that it makes are derived from them."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[A_co]):
    """A request that succeeded, with its answer."""

    request: Repeatable
    answer: A_co
    """Contains no secret."""
    time_ms: int


class RequestMemory(Protocol):
    """Remembers the requests that clients may repeat.

    Raises:
        Unavailable: the store cannot be read now.
    """

    def recall(self, request: Repeatable, kind: type[A], now_ms: int) -> Answered[A] | None:
        """The first request with this id and its answer, which is of type `kind`; None if the id is new.

        Raises:
            InvalidInput: the first request with this id was another one.
        """
        ...


def read_request_id(text: str) -> str:
    """Returns the id in lower case.

    Raises:
        InvalidInput: it is not a random UUID. Two clients might choose the same one.
    """
    lower = text.lower()
    if not _UUID4.fullmatch(lower):
        raise InvalidInput(
            _FIELD, f"{text[:80]!r} is not a UUID of version 4: make a random one, or leave it empty not to repeat it"
        )
    return lower


def check_repetition(first: Repeatable, again: Repeatable) -> None:
    """Checks that a request with a known id repeats the first one.

    The error says only that somebody used the id, because the caller may have read it in another's log.

    Raises:
        InvalidInput: it is another request, or somebody else's.
    """
    same = (first.actor, first.method) == (again.actor, again.method)
    if not same or not hmac.compare_digest(first.digest, again.digest):
        raise InvalidInput(_FIELD, f"{again.id} belongs to another request of the last 24 hours: make a new one")
