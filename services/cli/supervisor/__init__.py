"""Runs Envoy and the three services on one machine: starts them in order, keeps them running, stops them cleanly.

    settings = SupervisorSettings(data_dir=..., listen=parse_listen("--listen", "127.0.0.1:0"), ...)
    async with Supervisor(settings, environ=environ, clock=clock, configuration=configuration) as gateway:
        gateway.url, gateway.admin, gateway.pid("quota")

`spendgate up` adds signals and a line on standard output. `spendgate demo` and the end-to-end tests use it as a
library. Create it in the main thread: the kernel ends the children when the thread that started them does.
"""

from services.cli.supervisor.child import StartError
from services.cli.supervisor.data_directory import DataDirectory, DataDirectoryError
from services.cli.supervisor.listening import Listen, ListenError, parse_listen
from services.cli.supervisor.settings import SupervisorSettings
from services.cli.supervisor.supervisor import Supervisor

__all__ = [
    "DataDirectory",
    "DataDirectoryError",
    "Listen",
    "ListenError",
    "StartError",
    "Supervisor",
    "SupervisorSettings",
    "parse_listen",
]
