"""The disk of the gateway."""

from __future__ import annotations

from typing import Protocol


class DiskSpace(Protocol):
    """Tells whether the disk has room for the spool. Asks the system at most once a second."""

    def is_low(self) -> bool:
        """Whether so little is left that no call may start."""
        ...
