"""The simulator as a process: one vendor of each kind, each on its own port, and the control API.

    SPENDGATE_SIMULATOR_KEY=sk-... spendgate-simulator

All vendors accept the same API key. The process prints its addresses as one line of JSON:
{"control": URL, "openai": URL, "anthropic": URL, "gemini": URL}. It ends on SIGTERM or when standard input ends, so it
does not outlive its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from types import FrameType

from services.chassis.process import SystemClock
from services.chassis.settings import Environ, SettingsError
from services.chassis.variables import refuse_unknown_variables
from services.simulator.control import Stage, control_app
from services.simulator.provider import SimulatedProvider, Vendor
from services.simulator.server import Listener


def main() -> None:
    """Serves until asked to stop."""
    variables = os.environ  # noqa: TID251  (the main of this process)
    try:
        refuse_unknown_variables(variables)
        api_key = Environ(variables).text("SPENDGATE_SIMULATOR_KEY")
    except SettingsError as error:
        sys.stderr.write(f"spendgate-simulator: {error}\n")
        sys.exit(2)
    stages: dict[str, Stage] = {}
    for vendor in Vendor:
        provider = SimulatedProvider(vendor, api_key, SystemClock())
        stages[vendor] = Stage(provider, Listener(provider.app))
    control = Listener(control_app(stages))
    listeners = [control, *(stage.listener for stage in stages.values())]
    for listener in listeners:
        listener.open()
    addresses = {"control": control.url, **{name: stage.listener.url for name, stage in stages.items()}}
    sys.stdout.write(json.dumps(addresses) + "\n")
    sys.stdout.flush()
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    waiting = threading.Thread(target=_wait_for_end_of_input, args=(stopping,), daemon=True)  # noqa: TID251  (it reads)
    waiting.start()
    while not stopping.wait(timeout=1.0):
        pass
    for listener in listeners:
        listener.close()


def _wait_for_end_of_input(stopping: threading.Event) -> None:
    while sys.stdin.read(1):
        pass
    stopping.set()


if __name__ == "__main__":
    main()
