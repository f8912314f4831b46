"""What a new process does before it becomes another program."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# Loaded before any fork, because after a fork only loaded code is safe to call.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_this_process(orphan_signal: signal.Signals, niceness: int = 0) -> Callable[[], None]:
    """Returns the `preexec_fn` of a child. However this process dies, kill -9 included, the child dies too.

    `orphan_signal`: what the kernel sends it then. `niceness`: as for `nice`.
    """
    parent = os.getpid()

    def prepare() -> None:
        os.nice(niceness)
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
            # The parent may have died between fork and here.
            if os.getppid() != parent:
                os._exit(1)

    return prepare
