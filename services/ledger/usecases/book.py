"""Books the spool: reads what Envoy wrote, charges it, commits it, and tracks its progress.

One transaction commits a batch together with the offset after it. If the transaction fails, nothing was booked and the
same lines are read again. If the process dies afterwards, they are not. Either way each reservation is booked once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from services.kernel.clock import Clock
from services.ledger.domain.call import SpooledAttempt, SpooledCall
from services.ledger.domain.charge import PriceOf, charge_call
from services.ledger.domain.dropped import count_dropped
from services.ledger.domain.entry import Entry
from services.ledger.domain.spooled import Booking, SpoolBatch, SpoolFile
from services.ledger.domain.traced import Traced
from services.ledger.ports import Books, Spool, Traces

WATERMARK_MARGIN_MS = 5_000
"""How long a line may take from the end of its call into the file. Envoy flushes every 200 ms."""


class Book:
    """Books in passes, from one thread."""

    def __init__(
        self,
        *,
        spool: Spool,
        books: Books,
        price_of: PriceOf,
        traces: Traces,
        clock: Clock,
    ) -> None:
        self._spool = spool
        self._books = books
        self._price_of = price_of
        self._traces = traces
        self._clock = clock
        self._checkpoints = books.checkpoints()
        self._ended = books.ended()
        self._booked_through_ms: int | None = None

    @property
    def booked_through_ms(self) -> int | None:
        """Every line written before this moment is booked. None until the first pass."""
        return self._booked_through_ms

    def backlog_bytes(self) -> int:
        """Bytes of the spool that are not booked yet."""
        return self._spool.backlog_bytes(dict(self._checkpoints))

    def run_pass(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Books everything in the spool now. Returns the number of lines."""
        began_ms = self._clock.now_ms()
        files = self._spool.files()
        lines = 0
        for file in files:
            while not stopping() and (batch := self._next(file)):
                self._book(batch)
                lines += batch.lines
        if not stopping():
            self._end_epochs(files)
            self._booked_through_ms = began_ms - WATERMARK_MARGIN_MS
        return lines

    def tidy(self) -> None:
        """Rotates and deletes spool files."""
        for file in self._spool.tidy(dict(self._checkpoints)):
            self._books.forget(file)
            self._checkpoints.pop(file.identity, None)

    def _next(self, file: SpoolFile) -> SpoolBatch | None:
        """Reads the next unbooked batch of a file, up to its size at the start of the pass."""
        checkpoint = self._checkpoints.get(file.identity, 0)
        return self._spool.read(file, checkpoint) if checkpoint < file.size_bytes else None

    def _book(self, batch: SpoolBatch) -> None:
        now_ms = self._clock.now_ms()
        attempts = self._attempts_for(batch.calls, batch.attempts)
        booked = self._books.book(
            Booking(
                entries=tuple(
                    Entry(
                        call,
                        charge_call(call, attempts.get(call.request_id, ()), self._price_of),
                        batch.file.epoch,
                        now_ms,
                    )
                    for call in batch.calls
                    if call.reservation
                ),
                attempts=batch.attempts,
                released=tuple(call.request_id for call in batch.calls if not call.reservation),
                unreadable=batch.unreadable,
                file=batch.file,
                checkpoint=batch.end,
                dropped=count_dropped(batch.calls),
                now_ms=now_ms,
            )
        )
        self._checkpoints[batch.file.identity] = batch.end
        unanswered = [call for call in batch.calls if not call.reservation]
        self._traces.emit(Traced(booked, batch.attempts, unanswered))

    def _attempts_for(
        self, calls: Iterable[SpooledCall], fresh: Iterable[SpooledAttempt]
    ) -> dict[str, list[SpooledAttempt]]:
        """Returns the attempts of calls that made more than one: from this batch, else from the table.

        Only an attempt that was followed by another can cost extra, and its line precedes the call's.
        """
        several = {call.request_id: call.attempts for call in calls if call.attempts > 1}
        found: dict[str, list[SpooledAttempt]] = {}
        for attempt in fresh if several else ():
            if attempt.request_id in several:
                found.setdefault(attempt.request_id, []).append(attempt)
        missing = [each for each, made in several.items() if len(found.get(each, ())) < made]
        for request_id, recorded in (self._books.attempts_of(missing) if missing else {}).items():
            known = {attempt.attempt for attempt in found.setdefault(request_id, [])}
            found[request_id] += [attempt for attempt in recorded if attempt.attempt not in known]
        return found

    def _end_epochs(self, files: Sequence[SpoolFile]) -> None:
        """Marks runs of Envoy as over if all their files are closed and were just read to the end."""
        alive = {file.epoch for file in files if not file.is_closed}
        for epoch in sorted({file.epoch for file in files} - alive - self._ended):
            self._books.end(epoch, self._clock.now_ms())
            self._ended.add(epoch)
