"""One round of each of the ledger's two threads: one books, the other settles booked entries.

A round returns the milliseconds to pause after it, or None for the default pause.
"""

from __future__ import annotations

from collections.abc import Callable

from services.kernel.clock import Clock
from services.ledger.usecases.book import Book
from services.ledger.usecases.expire import Expire
from services.ledger.usecases.reconcile import Reconcile
from services.ledger.usecases.settle import Settle

# A transaction, or a call to quota, costs as much for one line as for ten, so lines are booked together. Under load a
# pass waits for more lines; a settlement still follows its call within about half a second.
BOOK_INTERVAL_MS = 100
_BUSY_BOOK_INTERVAL_MS = 250
_BUSY_LINES = 20
# Booking wakes this thread whenever it creates work. The pause is for work that quota did not accept then.
SETTLE_INTERVAL_MS = 1_000
_EXPIRE_INTERVAL_MS = 3_000
_TIDY_INTERVAL_MS = 5_000


class BookRound:
    """Books the spool, and tidies it now and then."""

    def __init__(
        self, book: Book, clock: Clock, *, is_stopping: Callable[[], bool], booked: Callable[[], object]
    ) -> None:
        """`is_stopping` ends a long round early. `booked` is called when there is something to settle."""
        self._book = book
        self._clock = clock
        self._is_stopping = is_stopping
        self._booked = booked
        self._tidied_ms = 0

    def __call__(self) -> int | None:
        """Runs one round."""
        lines = self._book.run_pass(self._is_stopping)
        if lines:
            self._booked()
        if self._clock.now_ms() - self._tidied_ms >= _TIDY_INTERVAL_MS:
            self._tidied_ms = self._clock.now_ms()
            self._book.tidy()
        return _BUSY_BOOK_INTERVAL_MS if lines >= _BUSY_LINES else None


class SettleRound:
    """Settles, releases, ends reservations without a line, and compares counters with entries when that is due."""

    def __init__(self, settle: Settle, expire: Expire, reconcile: Reconcile, clock: Clock) -> None:
        self._settle = settle
        self._expire = expire
        self._reconcile = reconcile
        self._clock = clock
        self._expired_ms = 0

    def __call__(self) -> int | None:
        """Runs one round.

        Raises:
            Unavailable: quota does not answer. Nothing is lost.
        """
        self._reconcile.rebuild_if_lost()
        self._settle.settle()
        self._settle.release()
        if self._clock.now_ms() - self._expired_ms >= _EXPIRE_INTERVAL_MS:
            self._expired_ms = self._clock.now_ms()
            if self._expire():
                self._expired_ms = 0
                return 0
        self._reconcile.check_if_due()
        return None
