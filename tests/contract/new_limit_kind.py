"""What every part of the gateway does with a limit kind that `test_new_limit_kind` adds to a copy of the tree.

It runs in that copy. It names the kind by its text alone, since the tree itself does not have it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from services.cli.commands.budgets import budget_as_json
from services.cli.configuration.loading import read_configuration
from services.cli.translate import quota_policies
from services.kernel.dialect import Dialect
from services.kernel.limit_kind import kind_named
from services.kernel.settlement import Most
from services.ledger.domain.counting import CountedLimit, Matching, Span, Taken, expected_counters
from services.quota.adapters import directory_rows
from services.quota.adapters.slices import Turns
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.lint import PolicyState
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.transport.admin_messages import write_budget
from services.quota.transport.budget_endpoint import BudgetEndpoint
from services.quota.transport.dialects.answer import HttpAnswer
from services.quota.transport.dialects.sentences import sentence_of
from services.quota.transport.limit_headers import limit_headers
from services.quota.transport.policy_messages import read_policy, write_policy
from services.quota.usecases.admit import Admitted
from services.quota.usecases.budgets import ListBudgets
from services.quota.usecases.own_budget import ReadOwnBudget
from services.quota.usecases.policies import ListedPolicy
from tests.worlds.quota import CENT_FACTS, SECRET, World

NAME = "weighted_tokens"
"""Output tokens count four times, as they cost about four times as much."""
FILE = """
version: 1
organization: acme
policies:
  - name: heavy
    limits:
      - {weighted_tokens: 9000, per: day}
"""


def see_configured_and_stored() -> QuotaPolicy:
    file = read_configuration("spendgate.yaml", FILE, folder=Path()).file
    (message,) = (each for each in quota_policies(file) if not each.default)
    policy = read_policy("policies[0]", message)
    (limit,) = policy.limits
    assert (limit.kind, limit.bound) == (kind_named(NAME), 9_000), limit
    assert read_policy("", write_policy(ListedPolicy(policy, PolicyState.ACTIVE, 0, None))) == policy
    row = directory_rows.policy_row(policy)
    assert directory_rows.read_policy(row["name"], json.loads(row["body"])) == policy
    return policy


def see_held_cut_and_refused(world: World) -> Admitted:
    call = world.let()
    assert world.level("heavy") == (0, 1_000 + 4 * 1_000), world.level("heavy")
    # The output is cut until it fits; the prompt cannot be.
    assert world.let(facts=replace(CENT_FACTS, max_output_tokens=4_000)).reservation.output_cap_tokens == 750
    refused = world.refused(facts=replace(CENT_FACTS, body_bytes=9_500))
    assert refused.denial is not Denial.POLICY_UNAVAILABLE, refused
    assert "weighted tokens" in sentence_of(refused), sentence_of(refused)
    return call


def see_settled(world: World, call: Admitted) -> None:
    world.settle(call, cost=5, tokens=(900, 700))
    assert world.level("heavy") == (900 + 4 * 700, 4_000), world.level("heavy")


def see_in_doubt(world: World) -> None:
    """Nobody measured the call."""
    reservation, most = world.let().reservation.id, Most(5, 1_000, 900)
    world.settle_all([Settlement(reservation, 5, 1_000, 100, world.clock.now_ms(), reported=False, most=most)], 0)
    assert world.level("heavy") == (1_000 + 4 * 100, 0), world.level("heavy")
    assert world.doubt("heavy") == 4 * 800, world.doubt("heavy")


def see_adopted(world: World, policy: QuotaPolicy) -> None:
    """A limit that is new in force holds what calls in flight can take."""
    (limit,) = policy.limits
    world.change_policies((policy, replace(policy, name="wide", limits=(replace(limit, bound=99_000),))))
    assert world.level("wide") == (0, 4_000), world.level("wide")


def see_shown(world: World, call: Admitted) -> None:
    """To clients, to the holder of the key and to the administrator."""
    headers = dict(limit_headers(Dialect.OPENAI, call.limit_statuses, world.clock.now_ms()))
    assert headers["x-ratelimit-limit-tokens"] == "9000", headers
    read = ReadOwnBudget(authenticate=world.authenticate, counters=world.counters, clock=world.clock)
    answer = BudgetEndpoint(read).answer(SECRET, "", "request")
    assert isinstance(answer, HttpAnswer), answer
    own = json.loads(answer.body)["budgets"][0]
    assert (own["limit_kind"], own["limit"], own["used"], own["reserved"]) == (NAME, 9_000, 3_700, 4_000), own
    (budget,) = ListBudgets(live=world.live, counters=world.counters, clock=world.clock, turns=Turns())("heavy")
    shown = budget_as_json(write_budget(budget))
    assert (shown["limit_kind"], shown["settled"], shown["remaining"]) == (NAME, 3_700, 1_300), shown


def see_counted_again_from_the_books(policy: QuotaPolicy) -> None:
    (limit,) = policy.limits
    counted = CountedLimit("heavy", limit.limit_id, limit.kind, (), False, Span(0, 1, False), 1)
    booked = Taken("", "", "", "", "ds-prod", "dear", "", 1, 900, 700, 5, 0, 0)
    (expected,) = expected_counters([counted], Matching(()), [booked])
    assert [each.amount for each in expected.values()] == [900 + 4 * 700], expected


def main() -> None:
    """Follows the kind from the configuration file to the books."""
    policy = see_configured_and_stored()
    world = World((policy,))
    call = see_held_cut_and_refused(world)
    see_settled(world, call)
    see_adopted(world, policy)
    see_shown(world, call)
    see_in_doubt(World((policy,)))
    see_counted_again_from_the_books(policy)


if __name__ == "__main__":
    main()
