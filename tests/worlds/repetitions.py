"""Requests that clients may repeat."""

from __future__ import annotations

import itertools
import os
import uuid
from dataclasses import replace

from services.chassis.authorship import write_actor
from services.kernel.change import Actor, Authorship
from services.kernel.repetition import SALT_BYTES, Repeatable

ROOT = Actor("root", "platform")
_numbers = itertools.count(1)


def asked(actor: Actor = ROOT, *, request_id: str = "", method: str = "Create", content: str = "") -> Authorship:
    """The author of a new request."""
    repeatable = Repeatable(
        id=request_id or str(uuid.UUID(int=next(_numbers), version=4)),
        actor=write_actor(actor),
        method=method,
        digest=content.encode().ljust(32),
        salt=os.urandom(SALT_BYTES),
    )
    return Authorship(actor, "why", "req-1", repeatable)


def again(by: Authorship) -> Authorship:
    """The same request as it arrives once more: Envoy gives it another id, and the service draws another salt."""
    assert by.repeatable is not None
    return replace(by, request_id="req-2", repeatable=replace(by.repeatable, salt=os.urandom(SALT_BYTES)))


def of_others(by: Authorship, actor: Actor) -> Authorship:
    """Somebody else's request with the same id and content."""
    assert by.repeatable is not None
    return replace(by, actor=actor, repeatable=replace(by.repeatable, actor=write_actor(actor)))
