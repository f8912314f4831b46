"""Errors that callers may see. The transport layer turns them into gRPC status codes.

    SpendgateError
    +-- InvalidInput        the request itself is wrong; a retry changes nothing
    +-- PermissionDenied    the caller may not do this; the text says who may
    +-- NotFound            the request names something that does not exist
    +-- AlreadyExists       the request creates something that exists
    +-- FailedPrecondition  the request is valid, but not in the current state
    +-- Unavailable         no decision is possible now; a retry may help

A refusal to spend is a value, not an error (`services.quota.domain.policies.denial`).
"""

from __future__ import annotations


class SpendgateError(Exception):
    """Base of all errors that a caller may see. The text says what was wrong, where, and what to do."""


class InvalidInput(SpendgateError):  # noqa: N818  (reads as what it is)
    """The request itself is wrong.

    `field` is the path of the offending field, e.g. "policies[2].limits[0].per".
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


class PermissionDenied(SpendgateError):  # noqa: N818
    """The caller may not do this. The text says who may."""


class NotFound(SpendgateError):  # noqa: N818
    """The request names something that does not exist."""


class AlreadyExists(SpendgateError):  # noqa: N818
    """The request creates something that exists."""


class FailedPrecondition(SpendgateError):  # noqa: N818
    """The request is valid, but not in the current state."""


class Unavailable(SpendgateError):  # noqa: N818
    """No decision is possible now."""
