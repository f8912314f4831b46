from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.configuration import Configuration, load_configuration, read_configuration
from services.cli.configuration.source import ConfigurationError

ROOT = Path(__file__).parents[4]

HEAD = """\
version: 1
organization: acme
providers:
  openai: {preset: openai, api_key: {env: OPENAI_API_KEY}}
models:
  gpt: {targets: [openai/gpt-4o]}
teams:
  ds: {projects: [forecasting]}
channels:
  lead: {url: "mailto://lead@example.com"}
"""
"""Ten lines; what a test adds begins in line 11."""


def _read(text: str) -> Configuration:
    return read_configuration("f.yaml", text, folder=Path("/"))


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        _read(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "path", ["tests/data/brief.yaml", "deploy/examples/acme.yaml", "services/cli/starting_file.yaml"]
)
def test_every_example_loads(path: str) -> None:
    assert load_configuration(ROOT / path).file.policies


def test_money_is_read_exactly_as_it_is_written() -> None:
    policies = """policies:
  - name: p
    limits:
      - {spend: 0.1, per: month}
      - {spend: 9007199254.740993, per: month}
      - {spend: 1_000.000000001, per: month}
      - {spend: 0, per: month}
      - {tokens: 9_007_199_254_740_993, per: day}
prices:
  openai/gpt-4o: {input: 0.0375, output: 2.50}
"""
    file = _read(HEAD + policies).file
    assert [limit.value for limit in file.policies[0].limits] == [
        100_000_000,
        9_007_199_254_740_993_000,
        1_000_000_000_001,
        0,
        9_007_199_254_740_993,
    ]
    price = file.prices["openai/gpt-4o"]
    assert (price.input, price.output, price.cached_input) == (37_500, 2_500_000, None)


def test_what_looks_like_something_else_stays_what_it_is() -> None:
    text = (
        HEAD.replace("acme", "on").replace("lead:", "no:")
        + "keys: [{name: '1e3', environment: dev, expires: 2027-12-31}]\n"
    )
    file = _read(text).file
    assert file.organization == "on"
    assert list(file.channels) == ["no"]
    assert file.keys[0].name == "1e3"
    assert file.keys[0].expires is not None
    assert file.keys[0].expires.isoformat() == "2027-12-31T00:00:00+00:00"


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = HEAD + "polices: []\nkeys: [{nam: x}]\nteam: {}\n"
    assert [problem.split(": ")[0] for problem in _problems(text)] == [
        "f.yaml:11:1",
        "f.yaml:12:8",
        "f.yaml:12:9",
        "f.yaml:13:1",
    ]


LIMIT = "policies: [{name: p, limits: [LIMIT]}]"


@pytest.mark.parametrize(
    ("addition", "problem"),
    [
        (
            "polices: []",
            "11:1: polices: unknown field: did you mean 'policies'? known here: version, organization, providers,",
        ),
        ("teams: {}", "11:1: teams: is given twice; the first time in line 7"),
        ("keys: [{name: a}, {name: a}]", "11:20: keys[1].name: there are two keys named a"),
        ("keys: [{name: -a}]", "11:9: keys[0].name: '-a' is not a name"),
        ("keys: [{name: 7}]", "11:9: keys[0].name: write text: put 7 in quotes"),
        (
            "policies: [{name: p, limits: [{requests: 1, per: day}], exhausted_status: 403}]",
            "11:57: policies[0].exhausted_status: write 429, or 402 for clients that retry every 429",
        ),
        (
            "policies: [{name: p, limits: [{requests: 1, per: day}], unmeasured: forget}]",
            "11:57: policies[0].unmeasured: write 'reserve' or 'estimate'",
        ),
        (
            "policies: [{name: p, limits: [{requests: 1, per: day}], unknown_members: allow}]",
            "11:57: policies[0].unknown_members: write 'hold' or 'refuse'",
        ),
        (
            "policies: [{name: p, limits: [{requests: 1, per: day}], unknown_member: refuse}]",
            "11:57: policies[0].unknown_member: unknown field: did you mean 'unknown_members'? known here: name,",
        ),
        ("keys: [{name: a, zzz: 1}]", "11:18: keys[0].zzz: unknown field; known here: name, "),
        (
            "policies: [{name: p, limits: [{requests: 1, per: day}], on_store_failure: allow}]",
            "11:57: policies[0].on_store_failure: write deny, or the dollars that calls may cost",
        ),
        (
            "policies: [{name: p, limits: [{requests: 1, per: day}], on_store_failure: {serve_up_to: 0}}]",
            "policies[0].on_store_failure: write an amount above 0, or `on_store_failure: deny`",
        ),
        (
            "policies: [{name: p, limits: [{requests: 1, per: day}], on_store_failure: {serve_up_to: -1}}]",
            "policies[0].on_store_failure.serve_up_to: '-1' is not an amount",
        ),
        (
            "policies: [{name: p, limits: [{requests: 1, per: day}], on_store_failure: {serve_up_to: 1, per: day}}]",
            "policies[0].on_store_failure.per: ",
        ),
        ("keys: {name: a}", "11:1: keys: write a list, like [a, b]"),
        ("keys: [a]", "11:8: keys[0]: write a mapping, like {field: value}"),
        ("keys: [{name: a, team: dss}]", "11:18: keys[0].team: there is no team 'dss': did you mean 'ds'?"),
        (
            "keys: [{name: a, team: ds, project: x}]",
            "keys[0].project: there is no project of team ds 'x': known: forecasting",
        ),
        (
            "keys: [{name: a, models: [gpt, claude]}]",
            "11:32: keys[0].models[1]: there is no model 'claude': known: gpt",
        ),
        (
            "keys: [{name: a, environment: prdo}]",
            "11:18: keys[0].environment: there is no environment 'prdo': did you mean 'prod'?",
        ),
        (
            "keys: [{name: a, environment: Prod}]",
            "11:18: keys[0].environment: there is no environment 'Prod': did you mean 'prod'?",
        ),
        ("keys: [{name: a, team: ds, user: x}]", "keys[0].user: there is no member of team ds 'x': none is declared"),
        (
            "keys: [{name: a}]",
            "11:8: keys[0]: no enforced policy bounds what key a can take, so its calls would be refused",
        ),
        ("keys: [{name: a, environment: dev}]\ndefault_policies: false", "11:8: keys[0]: no enforced policy bounds"),
        (
            "keys: [{name: a}]\npolicies: [{name: p, limits: [{output_tokens: 1, per: day}, {spend: 1, per: run}]}]",
            "11:8: keys[0]: no enforced policy bounds",
        ),
        ("environments: []", "11:1: environments: give at least one"),
        ("environments: [dev, dev]", "11:1: environments: dev is listed twice"),
        (
            "policies: [{name: p, match: {environment: Dev}, limits: [{spend: 1, per: day}]}]",
            "11:30: policies[0].match.environment: there is no environment 'Dev': did you mean 'dev'?",
        ),
        ("keys: [{name: a, expires: tomorrow}]", "keys[0].expires: write a time like 2027-01-31T00:00:00Z"),
        ("keys: [{name: a, expires: 2027-01-31T10:00:00}]", "keys[0].expires: write a time like 2027-01-31T00:00:00Z"),
        ("keys: [{name: a, secret: {env: sk-abc}}]", "keys[0].secret.env: write the name of an environment variable"),
        ("keys: [{name: a, secret: {env: A, file: b}}]", "keys[0].secret: write {env: NAME}, {file: PATH} or none"),
        (
            "prices: {azure/x: {input: 1, output: 1}}",
            "11:10: prices.azure/x: there is no provider 'azure': known: openai",
        ),
        ("prices: {gpt: {input: 1, output: 1}}", "prices.gpt: 'gpt' is not a target: write provider/model"),
        ("prices: {openai/x: {output: 1}}", "11:10: prices.openai/x.input: is missing"),
        ("prices: {openai/x: {input: -1, output: 1}}", "prices.openai/x.input: '-1' is not an amount"),
        ("prices: {openai/x: {input: 0.0000001, output: 1}}", "input: '0.0000001' is not an amount"),
        (
            "prices: {openai/x: {input: 1, output: 1, service_tiers: {default: {input: 1, output: 1}}}}",
            "default is what the rates outside of `service_tiers` are for",
        ),
        (
            "prices: {openai/x: {input: 1, output: 1, service_tiers: {priority: {output: 1}}}}",
            "prices.openai/x.service_tiers.priority.input",
        ),
        (
            LIMIT.replace("LIMIT", "{spend: 5}"),
            "limits[0]: write one window: `per: month` (or another of minute, hour,",
        ),
        (LIMIT.replace("LIMIT", "{spend: 5, per: day, rolling: 1h}"), "limits[0]: write one window: `per: month`"),
        (LIMIT.replace("LIMIT", "{spend: 5, per: decade}"), "limits[0].per: write 'minute', 'hour', 'day', 'week',"),
        (LIMIT.replace("LIMIT", "{spend: 5, rolling: 90s}"), "limits[0]: write `rolling` in whole minutes"),
        (LIMIT.replace("LIMIT", "{spend: 5, per: day, week_start: monday}"), "limits[0]: `week_start` goes with"),
        (LIMIT.replace("LIMIT", "{spend: 5, per: month, anchor_day: 32}"), "limits[0]: `anchor_day` goes with"),
        (LIMIT.replace("LIMIT", "{spend: 5, per: year, anchor_day: 3}"), "limits[0]: `anchor_day` goes with"),
        (LIMIT.replace("LIMIT", "{concurrency: 5, per: day}"), "limits[0]: concurrency holds at every moment: leave"),
        (LIMIT.replace("LIMIT", "{per: day}"), "limits[0]: write exactly one of spend, tokens,"),
        (LIMIT.replace("LIMIT", "{spend: 5, tokens: 5, per: day}"), "limits[0]: write exactly one of spend, tokens,"),
        (
            LIMIT.replace("LIMIT", '{spend: "5", per: day}'),
            "write an amount of dollars like 2000 or 12.50 without quotes",
        ),
        (LIMIT.replace("LIMIT", "{spend: 5e3, per: day}"), "limits[0].spend: write an amount of dollars"),
        (LIMIT.replace("LIMIT", "{spend: .inf, per: day}"), "limits[0].spend: write an amount of dollars"),
        (LIMIT.replace("LIMIT", "{spend: 0.0000000001, per: day}"), "limits[0].spend: '0.0000000001' is not an amount"),
        (LIMIT.replace("LIMIT", "{requests: 1.5, per: day}"), "limits[0].requests: 1.5 is not a count"),
        (LIMIT.replace("LIMIT", "{requests: true, per: day}"), "limits[0].requests: write a whole number like 50_000"),
        (LIMIT.replace("LIMIT", "{requests: 5, per: day, bound: soft}"), "limits[0]: a limit of requests is exact"),
        (
            LIMIT.replace("LIMIT", "{spend: 5, per: day, timezone: Mars/X}"),
            "limits[0].timezone: 'Mars/X' is not a time zone",
        ),
        (
            LIMIT.replace("LIMIT", "{spend: 5, per: hour, timezone: UTC}"),
            "limits[0]: `timezone` goes with `per: day`, week, month, quarter or year",
        ),
        ("policies: [{name: p, limits: []}]", "policies[0].limits: give at least one"),
        (
            "policies: [{name: p, match: {team: x}, limits: [{spend: 1, per: day}]}]",
            "policies[0].match.team: there is no team",
        ),
        (
            "policies: [{name: p, match: {team: ds}, each: team, limits: [{spend: 1, per: day}]}]",
            "policies[0].each: `match` already fixes the team",
        ),
        (
            "policies: [{name: p, limits: [{spend: 1, per: day}], thresholds: [{at: 80, notify: [lead]}]}]",
            "thresholds[0].at: write a percentage like 80%",
        ),
        (
            "policies: [{name: p, limits: [{spend: 1, per: day}], thresholds: [{at: 80%, notify: [led]}]}]",
            "11:86: policies[0].thresholds[0].notify[0]: there is no channel 'led': did you mean 'lead'?",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place_and_its_remedy(addition: str, problem: str) -> None:
    (told,) = _problems(HEAD + addition + "\n")
    assert told.startswith("f.yaml:11:")
    assert problem in told


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("{targets: []}", "give at least one"),
        ("{targets: [gpt-4o]}", "'gpt-4o' is not a target: write provider/model"),
        ("{targets: [openai/a, openai/a]}", "openai/a is twice in one chain"),
        ("{targets: [[openai/a, {openai/b: 0}]]}", "a weight is a whole number from 1 to 1000"),
        ("{targets: [{openai/b: 3}]}", "write provider/model, or a weighted list like [a/m, {b/m: 3}]"),
        ("{targets: [openai/a], fallbacks: [{to: [azure/b]}]}", "there is no provider 'azure'"),
        ("{targets: [openai/a], fallbacks: [{to: [openai/b], when: {}}]}", "write a condition like {budget_used: 75%}"),
        ("{targets: [openai/a], fallbacks: [{to: [openai/b], when: {budget_used: 101%}}]}", "write at most 100%"),
        ("{targets: [openai/a], fallbacks: [{to: [openai/b], when: {error_rate: 5%}}]}", "need `over: 1m`"),
        ("{targets: [openai/a], fallbacks: [{to: [openai/b], when: {latency_p95: 8, over: 1m}}]}", "write a duration"),
    ],
)
def test_a_mistake_in_a_chain_is_reported(model: str, problem: str) -> None:
    (told,) = _problems(HEAD.replace("{targets: [openai/gpt-4o]}", model))
    assert told.startswith("f.yaml:6:")
    assert problem in told


@pytest.mark.parametrize(
    ("provider", "problem"),
    [
        (
            "{preset: azure, api_key: none}",
            "azure needs your own address: `base_url: https://RESOURCE.openai.azure.com",
        ),
        ("{preset: unheard, api_key: none}", "preset: write 'openai', 'anthropic', 'gemini', "),
        ("{preset: mistrall, api_key: none}", "preset: did you mean 'mistral'? write 'openai', "),
        ("{preset: openai}", "api_key: is missing"),
        ("{api_key: none}", "write `preset`, or `protocol` and `base_url`"),
        ("{preset: openai, api_key: none, headers: {}}", "headers.allow: is missing"),
        ("{preset: openai, api_key: none, headers: {allow: []}}", "give at least one"),
        ("{preset: openai, api_key: none, headers: {allow: [x-a, X-A]}}", "headers: allow: x-a is listed twice"),
        ("{preset: openai, api_key: none, headers: {allow: [1]}}", "write the name of a header, like x-title"),
        ("{preset: openai, api_key: none, headers: {allow: [x-a, authorization]}}", "allow[1]: authorization carries"),
        ("{preset: openai, api_key: none, headers: {allow: [x_a]}}", "'x_a' holds an underscore"),
        (
            "{preset: openai, api_key: none, stops_on_disconect: true}",
            "did you mean 'stops_on_disconnect'?",
        ),
        ("{preset: openai, api_key: none, stops_on_disconnect: 1}", "write true or false"),
        ("{preset: openai, protocol: openai, api_key: none}", "`preset` implies the protocol"),
        ("{preset: openai, api_key: {file: ../key}}", "a file is named relative to the `secrets` folder"),
        ("{preset: openai, api_key: {file: /etc/key}}", "a file is named relative to the `secrets` folder"),
        ("{protocol: openai, base_url: 'ftp://h', api_key: none}", "write an address like https://example.com/v1"),
        (
            "{protocol: openai, base_url: 'http://u:p@h/v1', api_key: none}",
            "write an address like https://example.com/v1",
        ),
        ("{protocol: openai, base_url: 'http://169.254.169.254/v1', api_key: none}", "is a link-local address"),
        ("{protocol: openai, base_url: 'http://[fe80::1]/v1', api_key: none}", "is a link-local address"),
        ("{protocol: openai, base_url: 'http://[::ffff:169.254.1.1]/v1', api_key: none}", "is a link-local address"),
    ],
)
def test_a_mistake_in_a_provider_is_reported(provider: str, problem: str) -> None:
    told = _problems(HEAD.replace("{preset: openai, api_key: {env: OPENAI_API_KEY}}", provider))
    assert len(told) == 1
    assert told[0].startswith("f.yaml:4:")
    assert problem in told[0]


@pytest.mark.parametrize(
    ("channel", "problem"),
    [
        ("{}", "write either `url` or `webhook`"),
        ('{url: "json://h", webhook: "http://h"}', "write either `url` or `webhook`"),
        ("{url: lead@example.com}", "write an address like slack://... or mailto://..."),
        ('{url: "json://h", secret: {env: S}}', "`secret` signs a webhook: leave it out here"),
        ('{webhook: "https://h/hook", secret: {file: s}}', "the secret of a webhook is written {env: NAME}"),
        ('{webhook: "https://u:p@h/hook"}', "write an address like https://example.com/hook, without user or fragment"),
    ],
)
def test_a_mistake_in_a_channel_is_reported(channel: str, problem: str) -> None:
    (told,) = _problems(HEAD.replace('{url: "mailto://lead@example.com"}', channel))
    assert told.startswith("f.yaml:10:")
    assert problem in told


def test_a_webhook_may_carry_a_query() -> None:
    text = HEAD.replace('{url: "mailto://lead@example.com"}', '{webhook: "https://h/hook?version=1"}')
    assert _read(text).file.channels["lead"].webhook == "https://h/hook?version=1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("# nothing\n", "f.yaml:1:1: the file is empty"),
        ("version: 1\n  x: y", "f.yaml:2:4: not YAML: mapping values are not allowed here"),
        ("a: [1, 2", "f.yaml:1:9: not YAML: "),
        ("a: *ghost", "f.yaml:1:4: not YAML: found undefined alias"),
        ("a: !!python/object/apply:os.system [true]", "f.yaml:1:1: a: remove the tag"),
        ("a: \x07", "f.yaml:1:1: not YAML: "),
        ("- a\n- b", "f.yaml:1:1: write a mapping, like {field: value}"),
        ("{[a]: 1, version: 1}", "f.yaml:1:2: a name must be text"),
        ("a: &a [*a]", "f.yaml:1:"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: not YAML: "),
    ],
)
def test_what_is_no_configuration_at_all_is_reported(text: str, problem: str) -> None:
    assert problem in _problems(text)[0]


def test_a_small_file_cannot_mean_a_huge_one() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9))
    (told,) = _problems("l0: &l0 x\n" + levels)
    assert "nests or repeats too much" in told


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_configuration(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load_configuration(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    "key", ["{name: a, unlimited: true}", "{name: a, environment: staging}", "{name: a, team: ds, models: [gpt]}"]
)
def test_a_key_that_a_policy_bounds_or_that_is_to_be_unlimited_is_right(key: str) -> None:
    of_model = "policies: [{name: p, match: {team: ds, model: gpt}, limits: [{requests: 1, per: day}]}]\n"
    assert _read(HEAD + of_model + f"keys: [{key}]\n").file.keys[0].name == "a"
