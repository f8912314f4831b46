"""The tables of what size costs."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.size.checks import Cost, Group
from tests.bench.size.ledger import LedgerCost
from tests.bench.spread import Spread, ratios
from tests.bench.tables import section

_TITLES = {
    "keys": "Keys",
    "teams": "Teams, each with a policy of its own",
    "limits": "Limits that apply to each call",
    "open": "Open reservations",
}


def of_quota(group: Group, costs: Sequence[Cost]) -> str:
    """One group of sizes."""
    rows = []
    for cost in costs:
        times = Spread.of(ratios(cost.check_us, costs[0].check_us))
        rows.append(
            [
                f"{group.value(cost.size):,}",
                Spread.of(cost.check_us).text(),
                times.text(2, "x"),
                Spread.of(cost.first_us).text(),
                Spread.of(cost.settle_us).text(),
                f"{cost.resident_mib:,.0f}",
                f"{cost.start_s:.2f}",
            ]
        )
    head = [
        group.what,
        "Check, us",
        "against the first row",
        "first Check of a key, us",
        "settling a call, us",
        "memory of quota, MiB",
        "reading its counters at a start, s",
    ]
    return section(f"{_TITLES[group.what]}: CPU time in quota", head, rows)


def of_ledger(costs: Sequence[LedgerCost]) -> str:
    """Ledgers of different sizes, side by side."""
    rows = [
        ["file, MiB", *(f"{cost.file_mib:,.0f}" for cost in costs)],
        ["bytes a call", *(f"{cost.file_mib * 2**20 / cost.calls:,.0f}" for cost in costs)],
    ]
    rows += [[what, *(Spread.of(cost.took_ms[what]).text(2) for cost in costs)] for what in costs[0].took_ms]
    head = ["", *(f"{cost.calls:,} calls" for cost in costs)]
    return section("Calls in the ledger: milliseconds of CPU time", head, rows)
