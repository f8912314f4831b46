"""Starts the simulated providers and a complete gateway, plays the month, suggests what to try next, and cleans up."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.resources
import json
import os
import secrets
import signal
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import httpx

from services.cli.configuration import load_configuration
from services.cli.demo.application import Application
from services.cli.demo.books import Books, BooksError, Sums
from services.cli.demo.inbox import open_inbox
from services.cli.demo.month import DAYS, DEV, PROD
from services.cli.demo.play import Play
from services.cli.demo.stage import Stage
from services.cli.gateway import Gateway
from services.cli.gateway_address import find_gateway
from services.cli.printing import print_json
from services.cli.problems import Misuse, Refused
from services.cli.supervisor import Supervisor, SupervisorSettings, parse_listen
from services.kernel.clock import Clock
from services.kernel.money import format_usd

_CONFIGURATION = "month.yaml"
_FREE_PORT = "127.0.0.1:0"
_OUTAGE = [{"kind": "status", "status": 529, "times": None}]


def run_demo(*, environ: Mapping[str, str], clock: Clock, keep: bool, data_dir: Path | None, as_json: bool) -> int:
    """Runs the demo. The exit code is 0 if everything that it shows happened.

    Raises:
        Misuse: `data_dir` is not empty.
        Refused: something did not happen or does not add up.
    """
    if data_dir is not None and data_dir.exists() and any(data_dir.iterdir()):
        raise Misuse(f"{data_dir} is not empty: the demo needs a fresh folder, since it adds up everything in it")
    with contextlib.ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spendgate-demo-")))
        try:
            asyncio.run(_run(environ, clock, folder.absolute(), keep=keep, as_json=as_json))
        except BooksError as error:
            raise Refused(f"the demo failed: {error}") from error
    return 0


async def _run(environ: Mapping[str, str], clock: Clock, data_dir: Path, *, keep: bool, as_json: bool) -> None:
    started = time.monotonic()
    stage = Stage(as_json=as_json)
    stage.title("Spendgate demo: a month of a team's traffic")
    stage.say(
        "Real: Envoy, quota, router, ledger, their databases, and every call. Simulated: the providers (no model "
        f"answers and nobody is charged) and the size of it all: {DAYS} days take half a minute, and a budget of $2.00 "
        "stands for one of $2,000. The prices are the vendors' own."
    )
    hook_secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
    with (
        _simulated_providers(environ) as (addresses, provider_key),
        open_inbox(hook_secret) as inbox,
        _configuration({**addresses, "inbox": inbox.address}) as file,
    ):
        keys = {environment: f"demo-{environment}-{secrets.token_hex(16)}" for environment in (PROD, DEV)}
        given = {"DEMO_PROVIDER_KEY": provider_key, "DEMO_PROD_KEY": keys[PROD], "DEMO_DEV_KEY": keys[DEV]}
        given["DEMO_HOOK_SECRET"] = hook_secret
        async with _gateway({**environ, **given}, clock, data_dir, file, stage) as supervisor:
            stage.say(f"The gateway answers at {supervisor.url} after {time.monotonic() - started:.1f} s.")
            stage.title("The month of policy data-science-prod: $2.00, the cheaper model from 75 %, an alert at 80 %")
            address = find_gateway(supervisor.admin, data_dir, {})
            with Gateway(address) as gateway, contextlib.closing(Application(supervisor.url, keys)) as application:
                books = Books(gateway, load_configuration(file).file)
                play = Play(application, books, stage, _outage_switch(addresses["control"]), inbox)
                sums = await asyncio.to_thread(play.run)
                _report(stage, play, books, sums, time.monotonic() - started)
            if as_json:
                print_json(_document(play, sums))
            _say_what_next(stage, supervisor, keep=keep)
            if keep:
                await _wait_for_signal()


@contextlib.contextmanager
def _simulated_providers(environ: Mapping[str, str]) -> Iterator[tuple[Mapping[str, str], str]]:
    """Runs them as a separate process. It ends when its standard input does, even if this process is killed."""
    key = f"simulated-{secrets.token_hex(16)}"
    with subprocess.Popen(
        [sys.executable, "-m", "services.simulator"],
        env={**environ, "SPENDGATE_SIMULATOR_KEY": key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            raise Refused("the simulated providers did not start")
        try:
            yield json.loads(line), key
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def _gateway(
    environ: Mapping[str, str], clock: Clock, data_dir: Path, configuration: Path, stage: Stage
) -> AsyncIterator[Supervisor]:
    settings = SupervisorSettings(
        data_dir=data_dir,
        listen=parse_listen("--listen", _FREE_PORT),
        admin_listen=parse_listen("--admin-listen", _FREE_PORT),
        envoy_concurrency=min(os.cpu_count() or 1, 2),
    )
    stage.say("Starting ...")
    async with Supervisor(settings, environ=environ, clock=clock, configuration=configuration) as supervisor:
        yield supervisor


@contextlib.contextmanager
def _configuration(addresses: Mapping[str, str]) -> Iterator[Path]:
    """Writes the demo's configuration into a file for the time of the demo."""
    template = importlib.resources.files(__package__).joinpath(_CONFIGURATION).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="spendgate-demo-") as folder:
        file = Path(folder) / _CONFIGURATION
        file.write_text(string.Template(template).substitute(addresses), encoding="utf-8")
        yield file


def _outage_switch(control: str) -> Callable[[bool], None]:
    """Returns a switch that makes the simulated Anthropic fail every call, or work again."""
    faults = f"{control}/anthropic/faults"

    def switch(down: bool) -> None:
        answer = httpx.post(faults, json=_OUTAGE) if down else httpx.delete(faults)
        answer.raise_for_status()

    return switch


def _report(stage: Stage, play: Play, books: Books, sums: Sums, took_s: float) -> None:
    stage.title("What was attributed, from the ledger")
    for row in books.usage("environment", "model", "model_served").rows:
        environment, model, served = row.values
        cost = f"{row.cost.units}.{row.cost.nanos:09d}"
        stage.literal(f"{environment:<5} {model:<16} -> {served:<28} {row.calls:>4} calls  ${cost}")
    stage.title("What was checked")
    stage.verdict(f"day {play.switched_on}: the cheaper model led from 75 % on, and never before")
    stage.verdict(f"day {play.alerted_on}: the 80 % threshold was crossed, and each recipient was told, exactly once")
    stage.verdict(
        f"day {play.denied_on}: denied when nothing was left; {play.refused} later calls refused, none served"
    )
    stage.verdict("the budget was never exceeded, not by a nano-dollar")
    stage.verdict(
        f"{sums.calls} calls add up to ${format_usd(sums.entries)} four ways: the counters of quota, the entries of "
        "the ledger, its running sums, and the tokens in the answers priced by hand"
    )
    stage.say(f"The demo took {took_s:.0f} s.")


def _document(play: Play, sums: Sums) -> dict[str, object]:
    amounts = {f"{name}_usd": format_usd(nano_usd) for name, nano_usd in asdict(sums).items() if name != "calls"}
    days = {"switched_on": play.switched_on, "alerted_on": play.alerted_on, "denied_on": play.denied_on}
    return {"calls": sums.calls, "refused": play.refused, **days, **amounts}


def _say_what_next(stage: Stage, supervisor: Supervisor, *, keep: bool) -> None:
    stage.title("Where to look next")
    if not keep:
        stage.literal("spendgate demo --keep     leaves this gateway running, to look around in")
        stage.literal("spendgate init            writes a configuration for your own providers")
        stage.literal("README.md                 five minutes from there to your first call")
        return
    options = f"--admin {supervisor.admin} --data-dir {supervisor.settings.data_dir}"
    for command in ("budgets", "usage --by environment,model_served", "calls list --limit 5", "alerts list"):
        stage.literal(f"spendgate {command} {options}")
    stage.literal(f"spendgate explain --key forecasting-prod --model claude-sonnet-4 {options}")
    stage.literal(f"spendgate keys create mine --team data-science --environment dev {options}")
    stage.say(f"With that key, any OpenAI client can call {supervisor.url}/v1. The gateway runs until Ctrl-C.")


async def _wait_for_signal() -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
