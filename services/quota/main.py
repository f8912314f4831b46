"""Entry point of `spendgate-quota`."""

from __future__ import annotations

from services.chassis.process import SystemClock, run
from services.chassis.settings import Environ
from services.quota.settings import Settings
from services.quota.wiring import QuotaService


def main() -> None:
    """Runs quota until it is told to stop."""
    run("spendgate-quota", _build)


def _build(environ: Environ) -> QuotaService:
    return QuotaService(Settings.from_environ(environ), SystemClock())


if __name__ == "__main__":
    main()
