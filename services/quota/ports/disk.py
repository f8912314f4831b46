"""The disk of the gateway."""

from __future__ import annotations

from typing import Protocol


class DiskSpace(Protocol):
    """Checks whether the disk has room for the spool. It asks the system at most once a second."""

    def is_low(self) -> bool:
        """Whether so little space is left that no call may start."""
        ...
