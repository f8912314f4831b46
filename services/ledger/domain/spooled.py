"""Spool files and the batches read from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from services.ledger.domain.call import SpooledAttempt, SpooledCall
from services.ledger.domain.dropped import DroppedHeader
from services.ledger.domain.entry import Entry


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A spool file. A rename does not change its identity."""

    epoch: str
    """The run of Envoy that writes it, or wrote it."""
    inode: int
    name: str
    """Name when the folder was listed, for people."""
    is_closed: bool
    """Nothing will be appended: the file was rotated away, or its Envoy is gone."""
    size_bytes: int
    """Size in bytes when the folder was listed."""

    @property
    def identity(self) -> tuple[str, int]:
        """Epoch and inode: the key of its checkpoint."""
        return self.epoch, self.inode


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line that was set aside. Its content is not kept, because it may be anything."""

    offset: int
    size_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class SpoolBatch:
    """Whole lines of one file."""

    file: SpoolFile
    end: int
    """Offset in bytes after the last line: the next checkpoint."""
    calls: tuple[SpooledCall, ...]
    attempts: tuple[SpooledAttempt, ...]
    unreadable: tuple[UnreadableLine, ...]

    @property
    def lines(self) -> int:
        """Number of lines."""
        return len(self.calls) + len(self.attempts) + len(self.unreadable)


@dataclass(frozen=True, slots=True)
class Booking:
    """Everything that one transaction writes: all of it or nothing."""

    entries: tuple[Entry, ...] = ()
    attempts: tuple[SpooledAttempt, ...] = ()
    released: tuple[str, ...] = ()
    """Envoy's ids of requests that do not know their reservation."""
    unreadable: tuple[UnreadableLine, ...] = ()
    file: SpoolFile | None = None
    """The file whose checkpoint moves. None when the entries come from no file."""
    checkpoint: int = 0
    dropped: Counter[DroppedHeader] = field(default_factory=Counter)
    """How many of the calls lost each header."""
    now_ms: int = 0
