"""A limit kind is one row: a copy of the tree gets another kind, and every part of the gateway knows it.

The copy changes only where CONTRIBUTING.md says: the row, the value on the wire, the field of the configuration file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("services", "protos", "tests/worlds", "envoy")

# Output tokens count four times, as they cost about four times as much.
MEASURE = "lambda of: of.input_tokens + 4 * of.output_tokens"
ROW = f'    WEIGHTED_TOKENS = "weighted_tokens", LimitKindRow("weighted tokens", {MEASURE})'
ADDITIONS = {
    "services/kernel/limit_kind.py": (r'    REQUESTS = "requests", .*\n', f"{ROW}\n"),
    "protos/spendgate/quota/v1/quota_service.proto": (
        r"  LIMIT_KIND_BURN_RATE = \d+;\n",
        "  // Input tokens and four times the output tokens.\n  LIMIT_KIND_WEIGHTED_TOKENS = 90;\n",
    ),
    "services/cli/configuration/policy_entries.py": (
        r"    requests: Count \| None = None\n",
        "    weighted_tokens: Count | None = None\n",
    ),
}
FILE = """
version: 1
organization: acme
policies:
  - name: heavy
    limits:
      - {weighted_tokens: 9000, per: day}
"""
SCENARIO = f"""
import json
from dataclasses import replace
from pathlib import Path

from services.cli.commands.budgets import budget_as_json
from services.cli.configuration.loading import read_configuration
from services.cli.translate import quota_policies
from services.kernel.dialect import Dialect
from services.kernel.limit_kind import LimitKind
from services.kernel.settlement import Most
from services.ledger.domain.counting import CountedLimit, Matching, Span, Taken, expected_counters
from services.quota.adapters import directory_rows
from services.quota.adapters.slices import Turns
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.lint import PolicyState
from services.quota.transport.admin_messages import write_budget
from services.quota.transport.budget_endpoint import BudgetEndpoint
from services.quota.transport.dialects.sentences import sentence_of
from services.quota.transport.limit_headers import limit_headers
from services.quota.transport.policy_messages import read_policy, write_policy
from services.quota.usecases.budgets import ListBudgets
from services.quota.usecases.own_budget import ReadOwnBudget
from services.quota.usecases.policies import ListedPolicy
from tests.worlds.quota import CENT_FACTS, SECRET, World

# Configured, sent and stored.
kind = LimitKind.WEIGHTED_TOKENS
file = read_configuration("spendgate.yaml", {FILE!r}, folder=Path()).file
(message,) = (each for each in quota_policies(file) if not each.default)
policy = read_policy("policies[0]", message)
(limit,) = policy.limits
assert (limit.kind, limit.bound) == (kind, 9_000), limit
assert read_policy("", write_policy(ListedPolicy(policy, PolicyState.ACTIVE, 0, None))) == policy
row = directory_rows.policy_row(policy)
assert directory_rows.read_policy(row["name"], json.loads(row["body"])) == policy

# Held, cut and refused.
world = World((policy,))
call = world.let()
assert world.level("heavy") == (0, 1_000 + 4 * 1_000), world.level("heavy")
# The output is cut until it fits; the prompt cannot be.
assert world.let(facts=replace(CENT_FACTS, max_output_tokens=4_000)).reservation.output_cap_tokens == 750
refused = world.refused(facts=replace(CENT_FACTS, body_bytes=9_500))
assert refused.denial is not Denial.POLICY_UNAVAILABLE, refused
assert "weighted tokens" in sentence_of(refused), sentence_of(refused)

# Settled, and in doubt if nobody measured the call.
world.settle(call, cost=5, tokens=(900, 700))
assert world.level("heavy") == (900 + 4 * 700, 4_000), world.level("heavy")
other = World((policy,))
reservation = other.let().reservation.id
most = Most(5, 1_000, 900)
other.settle_all([Settlement(reservation, 5, 1_000, 100, other.clock.now_ms(), reported=False, most=most)], 0)
assert (other.level("heavy"), other.doubt("heavy")) == ((1_400, 0), 4 * 800), other.doubt("heavy")

# A limit that is new in force holds what calls in flight can take.
wide = replace(policy, name="wide", limits=(replace(limit, bound=99_000),))
world.change_policies((policy, wide))
assert world.level("wide") == (0, 4_000), world.level("wide")

# Shown to clients, to the holder of the key and to the administrator.
left = dict(limit_headers(Dialect.OPENAI, call.limit_statuses, world.clock.now_ms()))
assert left["x-ratelimit-limit-tokens"] == "9000", left
answer = BudgetEndpoint(ReadOwnBudget(authenticate=world.authenticate, counters=world.counters, clock=world.clock))
(own, _) = json.loads(answer.answer(SECRET, "", "request").body)["budgets"]
assert (own["limit_kind"], own["limit"], own["used"], own["reserved"]) == (kind, 9_000, 3_700, 4_000), own
(budget,) = ListBudgets(live=world.live, counters=world.counters, clock=world.clock, turns=Turns())("heavy")
shown = budget_as_json(write_budget(budget))
assert (shown["limit_kind"], shown["settled"], shown["remaining"]) == (kind, 3_700, 1_300), shown

# Counted again from the books.
counted = CountedLimit("heavy", limit.limit_id, kind, (), False, Span(0, 1, False), 1)
booked = Taken("", "", "", "", "ds-prod", "dear", "", 1, 900, 700, 5, 0, 0)
(expected,) = expected_counters([counted], Matching(()), [booked])
assert [each.amount for each in expected.values()] == [900 + 4 * 700], expected
"""


def test_another_limit_kind_is_stored_held_refused_settled_shown_and_reconciled_by_its_row_alone(
    tmp_path: Path,
) -> None:
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, added) in ADDITIONS.items():
        text = (tmp_path / name).read_text()
        (place,) = re.finditer(before, text)
        (tmp_path / name).write_text(text[: place.end()] + added + text[place.end() :])
    run(tmp_path, "protos/build.py")

    run(tmp_path, "-c", SCENARIO)


def run(folder: Path, *arguments: str) -> None:
    """Runs Python in the copy, whose modules come before all others."""
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{folder / 'gen'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
