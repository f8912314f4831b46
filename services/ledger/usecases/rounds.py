"""What the two threads of the ledger do in each round: one books, the other settles what is booked.

A round says for how many milliseconds to pause after it, or None for as long as usual.
"""

from __future__ import annotations

from collections.abc import Callable

from services.kernel.clock import Clock
from services.ledger.usecases.book import Book
from services.ledger.usecases.reconcile import Reconcile
from services.ledger.usecases.settle import Settle

# What Envoy wrote meanwhile is booked together: a transaction and a call of quota cost as much for one line as for ten.
# Under load a pass waits for more; a settlement still follows its call within half a second or so.
BOOK_INTERVAL_MS = 100
_BUSY_BOOK_INTERVAL_MS = 250
_BUSY_LINES = 20
# Whatever is to be settled was booked, which wakes the thread; this is for what quota did not take then.
SETTLE_INTERVAL_MS = 1_000
_EXPIRE_INTERVAL_MS = 3_000
_TIDY_INTERVAL_MS = 5_000


class BookRound:
    """Books what is in the spool, and now and then tidies the spool up."""

    def __init__(
        self, book: Book, clock: Clock, *, is_stopping: Callable[[], bool], booked: Callable[[], object]
    ) -> None:
        """`is_stopping` ends a long round early; `booked` is called when something is there to be settled."""
        self._book = book
        self._clock = clock
        self._is_stopping = is_stopping
        self._booked = booked
        self._tidied_ms = 0

    def __call__(self) -> int | None:
        """One round."""
        lines = self._book.run_pass(self._is_stopping)
        if lines:
            self._booked()
        if self._clock.now_ms() - self._tidied_ms >= _TIDY_INTERVAL_MS:
            self._tidied_ms = self._clock.now_ms()
            self._book.tidy()
        return _BUSY_BOOK_INTERVAL_MS if lines >= _BUSY_LINES else None


class SettleRound:
    """Settles, releases, ends what left no line, and compares counters with entries when that is due."""

    def __init__(self, settle: Settle, reconcile: Reconcile, clock: Clock) -> None:
        self._settle = settle
        self._reconcile = reconcile
        self._clock = clock
        self._expired_ms = 0

    def __call__(self) -> int | None:
        """One round.

        Raises:
            Unavailable: quota does not answer; nothing is lost.
        """
        self._reconcile.rebuild_if_lost()
        self._settle.settle()
        self._settle.release()
        if self._clock.now_ms() - self._expired_ms >= _EXPIRE_INTERVAL_MS:
            self._expired_ms = self._clock.now_ms()
            if self._settle.expire():
                self._expired_ms = 0
                return 0
        self._reconcile.check_if_due()
        return None
