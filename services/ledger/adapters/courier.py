"""Takes alerts to channels in a process of its own, as `delivery_ports.Courier`.

The libraries that reach a hundred services take memory, wait for strangers, and may hang. Alerts are rare, so the
process lives only while it sends, and ends itself if that takes too long. `courier_process` is what it runs.

It outlives a ledger that is killed, and notes in a journal what arrived. So the next ledger sends nothing twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from services.ledger.delivery_ports import Failure, Parcel

_COMMAND = (sys.executable, "-P", "-m", "services.ledger.adapters.courier_process")
_TIMEOUT_S = 60


class CourierProcess:
    """Starts the process for each batch. `journal` is a file that only couriers use."""

    def __init__(self, journal: Path, timeout_s: int = _TIMEOUT_S) -> None:
        self._journal = journal
        self._timeout_s = timeout_s
        self._running: set[subprocess.Popen[str]] = set()
        self._is_stopping = threading.Event()

    def leftovers(self) -> Mapping[str, Failure | None] | None:
        """Returns what became of a batch whose ledger died, by id; None while it is still under way."""
        if not self._journal.exists():
            return {}
        with self._journal.open() as journal:
            try:
                fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            return _results(journal.read())

    def forget(self) -> None:
        """Forgets the latest batch, because its results are recorded."""
        self._journal.unlink(missing_ok=True)

    def send(self, parcels: Sequence[Parcel]) -> Mapping[str, Failure | None]:
        """Sends all. Returns for each id why it did not arrive, or None if it did. Never raises."""
        return self._run(parcels, self._journal) if parcels else {}

    def try_one(self, parcel: Parcel) -> Failure | None:
        """Sends one without a note of it. Returns why it did not arrive. Never raises."""
        return self._run([parcel], None)[parcel.id]

    def stop(self) -> None:
        """Ends what is under way, and lets nothing begin. What has not arrived counts as failed."""
        self._is_stopping.set()
        for process in tuple(self._running):
            process.kill()

    def _run(self, parcels: Sequence[Parcel], journal: Path | None) -> Mapping[str, Failure | None]:
        said, missing = "", Failure("the ledger stops")
        if not self._is_stopping.is_set():
            said, missing = self._said(json.dumps([written(parcel) for parcel in parcels]), journal)
        results = _results(said)
        return {parcel.id: results.get(parcel.id, missing) for parcel in parcels}

    def _said(self, errand: str, journal: Path | None) -> tuple[str, Failure]:
        """Returns what the process said, and what is wrong with parcels of which it said nothing."""
        try:
            with _open_locked(journal) as kept:
                process = subprocess.Popen(
                    (*_COMMAND, str(kept.fileno()), str(self._timeout_s)),
                    pass_fds=[kept.fileno()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    # Its last words may hold an address with a secret, so nobody keeps them.
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
        except OSError as error:
            return "", Failure(f"nothing was sent, because no process could start: {error.strerror}")
        with process:
            self._running.add(process)
            try:
                said, _ = process.communicate(errand)
            finally:
                self._running.discard(process)
        if process.returncode == -signal.SIGALRM:
            return said, Failure(f"no answer within {self._timeout_s} s")
        return said, Failure(f"the process that sends alerts ended with {process.returncode}")


def _open_locked(journal: Path | None) -> BinaryIO:
    """An empty journal. Its lock goes over to the process, and lasts as long as that lives."""
    if journal is None:
        return Path(os.devnull).open("wb")
    number = os.open(journal, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(number, 0)
    except OSError:
        os.close(number)
        raise
    return os.fdopen(number, "wb")


def written(parcel: Parcel) -> dict[str, Any]:
    """Returns a parcel as the process reads it."""
    return {
        "id": parcel.id,
        "url": parcel.channel.url,
        "webhook": parcel.channel.webhook,
        "secret": parcel.secret,
        "created_ms": parcel.created_ms,
        "title": parcel.words.title,
        "text": parcel.words.text,
        "kind": parcel.words.kind,
        "data": parcel.words.data,
    }


def _results(text: str) -> dict[str, Failure | None]:
    # A line that is cut off was being written when its process ended.
    said = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return {
        one["id"]: None if one["problem"] is None else Failure(one["problem"], for_good=one["for_good"]) for one in said
    }
