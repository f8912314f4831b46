"""A gateway before providers of every temperament, with a limit of its own for every attack."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.kernel.dialect import CAPABILITIES
from tests.e2e.adversary.attack import Attack
from tests.e2e.adversary.bills import PRICE, Books
from tests.e2e.adversary.provider import MODELS, BillingProvider
from tests.e2e.adversary.temperaments import Temperament
from tests.e2e.adversary.wire import send
from tests.worlds.gateway import Gateway, amount, run_gateway
from tests.worlds.http_server import serving

LIMIT_USD, LIMIT_NANO_USD = 2, 2_000_000_000
"""Of every key and model, for a month. Of the keys of honest calls it is $1,000."""
CHAIN = (Temperament.NODE, Temperament.PYTHON, Temperament.GO)
"""Providers in the order of their chain."""
CHAIN_LENGTHS = (2, 3)
FIRST_BYTE_S = 1
"""How long an attempt of a chain waits for the head of an answer."""
ROUNDS = 3
_AT_ONCE = 24
_BOOKED_WITHIN_S = 30.0
_STEADY_S = 1.5
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attack on a provider of one temperament."""

    temperament: Temperament
    statuses: tuple[int, ...]
    billed_nano_usd: int

    def __str__(self) -> str:
        billed = self.billed_nano_usd
        return f"{self.temperament}: ${billed // 10**9}.{billed % 10**9:09d} for answers {self.statuses}"


@dataclass(slots=True)
class Run:
    """One attack on one temperament."""

    number: int
    attack: Attack
    temperament: Temperament
    statuses: list[int] = field(default_factory=list)

    @property
    def mark(self) -> str:
        """The mark in the text of its calls."""
        return f"mark-{self.number}-{self.temperament}"


@dataclass
class Plane:
    """Running."""

    gateway: Gateway
    books: Books
    providers: dict[Temperament, BillingProvider]

    def model(self, temperament: Temperament, dialect: str) -> str:
        """The name under which the model of a provider is asked for."""
        return f"{temperament}-{dialect}"

    def chain(self, length: int, dialect: str) -> str:
        """The name under which a chain is asked for: that many providers, the first of `CHAIN`."""
        return f"chain{length}-{dialect}"

    def wait_until_booked(self, calls: int) -> None:
        """Waits until the ledger has booked that many calls."""
        deadline = time.monotonic() + _BOOKED_WITHIN_S
        while (booked := int(self.gateway.usage()["total"]["calls"])) < calls:
            assert time.monotonic() < deadline, f"{booked} of {calls} calls are booked"
            time.sleep(_POLL_S)

    def wait_until_settled(self) -> None:
        """Waits until no call holds anything any more, or until what is held stays as it is.

        If a client left during the Check, its call holds room until the ledger can prove that no record will come.
        """
        held, since = -1, 0.0
        while held and time.monotonic() - since < _STEADY_S:
            now = sum(int(amount(budget, "reserved") * 10**9) for budget in self.gateway.budgets())
            if now != held:
                held, since = now, time.monotonic()
            time.sleep(_POLL_S)

    def run(self, attacks: Sequence[Attack], rounds: int = ROUNDS) -> dict[str, list[Outcome]]:
        """Runs every attack on every temperament, all in parallel, and again once everything is booked."""
        runs = [Run(number, attack, kind) for number, attack in enumerate(attacks) for kind in Temperament]
        for _ in range(rounds):
            # A refused attack is refused again.
            going = [run for run in runs if set(run.statuses) <= {200}]
            for run, status in zip(going, asyncio.run(self._round(going)), strict=True):
                run.statuses.append(status)
            self.wait_until_booked(sum(run.statuses.count(200) for run in runs))
        found: dict[str, list[Outcome]] = {}
        for run in runs:
            billed = self.books.billed(run.mark)
            found.setdefault(run.attack.title, []).append(Outcome(run.temperament, tuple(run.statuses), billed))
        unmarked = [body for each in self.providers.values() for body in each.unmarked]
        assert not unmarked, f"billed to nobody: {unmarked[0][:500]!r}"
        return found

    async def _round(self, runs: Sequence[Run]) -> list[int]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(run: Run) -> int:
            request = run.attack.request(self.model(run.temperament, run.attack.dialect), run.mark)
            async with gate:
                return (await send(self.gateway.url, self.gateway.secret(key_of(run.number)), request)).status

        return await asyncio.gather(*map(one, runs))


def key_of(number: int) -> str:
    """Name of the virtual key of one attack. Each model is limited for itself, so that it serves all temperaments."""
    return f"k{number}"


@contextlib.contextmanager
def run_plane(folder: Path, *, poor: int, rich: int = 0, stops_on_disconnect: bool = False) -> Iterator[Plane]:
    """Runs a gateway with keys for that many attacks of the poor team, and then for as many of the rich one."""
    books = Books()
    providers = {kind: BillingProvider(kind, books) for kind in Temperament}
    with serving(providers.values()):
        teams = ["poor"] * poor + ["rich"] * rich
        keys = [{"name": key_of(number), "team": team} for number, team in enumerate(teams)]
        file = configuration(providers, keys)
        for provider in file["providers"].values():
            provider["stops_on_disconnect"] = stops_on_disconnect
        with run_gateway(folder, file) as gateway:
            yield Plane(gateway, books, providers)


def configuration(providers: dict[Temperament, BillingProvider], keys: list[dict[str, Any]]) -> dict[str, Any]:
    """A file with a model for each temperament and dialect, chains of them, and a hard limit for each key.

    Its models are declared to carry everything. Of `gpt-4o` the gateway knows that it takes no video. It would refuse
    such a call, and nobody would see what it may cost.
    """
    targets = {
        f"{kind}-{dialect}": f"{kind}-{dialect}/{model.name}" for kind in providers for dialect, model in MODELS.items()
    }
    models: dict[str, Any] = {name: {"targets": [target]} for name, target in targets.items()}
    models |= {
        f"chain{length}-{dialect}": {
            "targets": [targets[f"{kind}-{dialect}"] for kind in CHAIN[:length]],
            "first_byte_timeout": f"{FIRST_BYTE_S}s",
        }
        for length in CHAIN_LENGTHS
        for dialect in MODELS
    }
    return {
        "providers": {
            f"{kind}-{dialect}": {
                "protocol": dialect,
                "base_url": f"http://127.0.0.1:{provider.port}" + ("/v1" if dialect == "openai" else ""),
                "api_key": "none",
                "models": {model.name: {"carries": sorted(CAPABILITIES)}},
            }
            for kind, provider in providers.items()
            for dialect, model in MODELS.items()
        },
        "models": models,
        "prices": dict.fromkeys(targets.values(), PRICE),
        "default_policies": False,
        "teams": {"poor": {}, "rich": {}},
        "policies": [
            {
                "name": f"{team}-{model}",
                "match": {"team": team, "model": model},
                "each": "key",
                "limits": [{"spend": usd, "per": "month"}],
            }
            for team, usd in (("poor", LIMIT_USD), ("rich", 1_000))
            for model in models
        ],
        "keys": keys,
    }
