"""Does one thing again and again in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from services.kernel.errors import SpendgateError

_log = logging.getLogger("spendgate.quota")


class Repeating:
    """Calls `do` every so often, for the first time after one such pause. What it raises is logged, and it goes on."""

    def __init__(self, name: str, every_s: float, do: Callable[[], object]) -> None:
        self._name = name
        self._every_s = every_s
        self._do = do
        self._told = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it, after the call in hand."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self._do()
                self._told = ""
            except SpendgateError as error:
                # Once for each reason, not every time.
                if str(error) != self._told:
                    self._told = str(error)
                    _log.warning("%s: tried again in %g s: %s", self._name, self._every_s, error)
            except Exception:  # noqa: BLE001  (whatever it was, it is logged, and others wait for the next time)
                _log.exception("%s failed", self._name)
