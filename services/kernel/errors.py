"""What can be wrong with what somebody asks of us. The rim turns these into gRPC status codes.

    SpendgateError
    +-- InvalidInput        the request itself is wrong; asking again changes nothing
    +-- PermissionDenied    not for who asks; the text says for whom it is
    +-- NotFound            it names something that does not exist
    +-- AlreadyExists       it creates something that exists
    +-- FailedPrecondition  right in itself, but not in the present state
    +-- Unavailable         cannot be decided now; asking again may help

A refusal to spend is not an error: it is a value (`services.quota.domain.policies.denial`).
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
    """Not for who asks. The text says for whom it is."""


class NotFound(SpendgateError):  # noqa: N818
    """Names something that does not exist."""


class AlreadyExists(SpendgateError):  # noqa: N818
    """Creates something that exists."""


class FailedPrecondition(SpendgateError):  # noqa: N818
    """Right in itself, but not in the present state."""


class Unavailable(SpendgateError):  # noqa: N818
    """Cannot be decided now."""
