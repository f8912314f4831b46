"""Services that are killed, with SIGKILL, right behind a commit: the change is stored, and nobody gets the answer."""

from __future__ import annotations

from pathlib import Path

# Python runs this first in every process. The hook waits for an order that names the service.
_HOOK = """
import os, pathlib, signal, sys

order = pathlib.Path({order!r})
stores = {{
    "services.quota.main": ("services.quota.adapters.sql_directory", "SqlDirectory", "replace"),
    "services.router.main": ("services.router.adapters.sql_configuration", "SqlConfigurationStore", "save"),
    "services.ledger.main": ("services.ledger.adapters.sql_configuration", "SqlConfiguration", "replace"),
}}
for service, (module, store, method) in stores.items():
    if service in sys.orig_argv:
        kind = getattr(__import__(module, fromlist=[store]), store)

        def deadly(*arguments, commit=getattr(kind, method), service=service, **options):
            done = commit(*arguments, **options)
            if order.exists() and order.read_text() == service:
                order.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        setattr(kind, method, deadly)
"""


class DeadlyCommits:
    """Orders the deaths of processes that run with `environment`."""

    def __init__(self, folder: Path) -> None:
        self._order = folder / "order"
        python = folder / "python"
        python.mkdir()
        (python / "sitecustomize.py").write_text(_HOOK.format(order=str(self._order)))
        self.environment = {"PYTHONPATH": str(python)}

    def order(self, name: str) -> None:
        """The next commit of a change is the last thing that the service does."""
        self._order.write_text(f"services.{name}.main")

    @property
    def is_done(self) -> bool:
        """Whether the service died as ordered."""
        return not self._order.exists()
