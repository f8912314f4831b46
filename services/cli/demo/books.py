"""Checks that the books agree: quota's counters, the ledger's entries and sums, and the providers' usage."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.quota.v1 import quota_service_pb2 as quota

from services.chassis.well_known import nano_usd_of
from services.cli.configuration import ConfigurationFile
from services.cli.demo.application import Served
from services.cli.gateway import Gateway
from services.cli.paging import read_list
from services.cli.usage_dimensions import USAGE_DIMENSIONS
from services.kernel.money import nano_from_pico

_POLL_S = 0.05
_SETTLE_TIMEOUT_S = 20.0


class BooksError(Exception):
    """Something does not add up, or did not happen."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The same money, counted four ways, in nano-USD."""

    settled: int
    """By quota, over all counters."""
    entries: int
    """By the ledger, entry by entry."""
    rollups: int
    """By the ledger's running sums."""
    reported: int
    """From the tokens in the applications' answers, priced here by hand."""
    calls: int

    @property
    def agree(self) -> bool:
        """Whether they agree to the last nano-dollar."""
        return self.settled == self.entries == self.rollups == self.reported


class Books:
    """Reads the running gateway over its admin API."""

    def __init__(self, gateway: Gateway, configuration: ConfigurationFile) -> None:
        self._gateway = gateway
        self._configuration = configuration

    def budget(self, policy: str) -> quota.Budget:
        """Returns the counter of a policy.

        Raises:
            BooksError: it has none.
        """
        for budget in self._budgets():
            if budget.policy == policy:
                return budget
        raise BooksError(f"policy {policy} has no counter")

    def settle(self) -> None:
        """Waits until no call holds anything.

        Raises:
            BooksError: a call still does, long after it ended.
        """
        deadline = time.monotonic() + _SETTLE_TIMEOUT_S
        while any(budget.reserved for budget in self._budgets()):
            if time.monotonic() > deadline:
                raise BooksError("calls that ended long ago are still reserved")
            time.sleep(_POLL_S)

    def alerts(self) -> list[ledger.Alert]:
        """Returns the thresholds that were crossed."""
        return list(self._gateway.ledger.ListAlerts(ledger.ListAlertsRequest()).alerts)

    def usage(self, *group_by: str) -> ledger.QueryUsageResponse:
        """Returns sums by these dimensions."""
        answer: ledger.QueryUsageResponse = self._gateway.ledger.QueryUsage(
            ledger.QueryUsageRequest(group_by=[USAGE_DIMENSIONS[name] for name in group_by])
        )
        return answer

    def sums(self, served: Iterable[Served]) -> Sums:
        """Adds up everything."""
        calls = read_list(self._gateway.ledger.ListCalls, ledger.ListCallsRequest(), lambda page: page.calls)
        return Sums(
            settled=sum(budget.settled for budget in self._budgets()),
            entries=sum(nano_usd_of(call.cost) for call in calls),
            rollups=nano_usd_of(self.usage("team").total.cost),
            reported=sum(self._priced_by_hand(call) for call in served),
            calls=len(calls),
        )

    def _budgets(self) -> list[quota.Budget]:
        return list(self._gateway.quota.ListBudgets(quota.ListBudgetsRequest()).budgets)

    def _priced_by_hand(self, call: Served) -> int:
        price = self._configuration.prices[call.target]
        cached_price = price.input if price.cached_input is None else price.cached_input
        pico_usd = (
            (call.input_tokens - call.cached_tokens) * price.input
            + call.cached_tokens * cached_price
            + call.output_tokens * (price.output or 0)
        )
        return nano_from_pico(pico_usd)
