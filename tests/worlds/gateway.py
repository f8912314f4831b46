"""The whole gateway for a test: simulated providers, `spendgate up` as a process of its own, SDK clients, the CLI.

    with simulated_providers() as providers, run_gateway(folder, configuration, providers) as gateway:
        gateway.openai("alice").chat.completions.create(...)
        gateway.settle()
        gateway.budgets()

Everything listens on free loopback ports and lives in `folder`. `RUNNING` lists the gateways of this process, so that
a failing test can show their logs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import anthropic
import httpx
import openai
from google import genai
from spendgate.ledger.v1 import ledger_service_pb2
from typer.testing import CliRunner

from services.chassis.process import SystemClock
from services.cli.gateway import Gateway as AdminPlane
from services.cli.gateway_address import find_gateway
from services.cli.main import build_app
from services.cli.session import Session
from services.kernel.envoy_contract import Socket
from services.simulator.faults import Fault, Latency
from services.simulator.provider import ReceivedRequest, SimulatedProvider, Vendor
from services.simulator.server import Listener
from tests.worlds.ports import free_port
from tests.worlds.window_edge import stay_clear_of_the_edge

COMMAND = Path(sys.executable).with_name("spendgate")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 45.0
SETTLE_TIMEOUT_S = 30.0
_POLL_S = 0.1
_LOG_TAIL_BYTES = 12_000

Client = TypeVar("Client")


@dataclass
class Providers:
    """One simulated vendor of each kind, all with keys of their own."""

    by_vendor: dict[Vendor, SimulatedProvider]
    listeners: dict[Vendor, Listener]

    @property
    def environment(self) -> dict[str, str]:
        """The providers' keys, under the names that the vendors' own SDKs use."""
        return {f"{vendor.upper()}_API_KEY": provider.api_key for vendor, provider in self.by_vendor.items()}

    @property
    def configuration(self) -> dict[str, Any]:
        """The `providers` of a configuration file: the presets, at the simulated addresses."""
        return {
            vendor.value: {
                "preset": vendor.value,
                "base_url": listener.url + ("/v1" if vendor is Vendor.OPENAI else ""),
                "api_key": {"env": f"{vendor.upper()}_API_KEY"},
            }
            for vendor, listener in self.listeners.items()
        }

    def fault(self, vendor: Vendor, *faults: Fault) -> None:
        """Orders faults."""
        self.by_vendor[vendor].faults.add(*faults)

    def requests(self, vendor: Vendor) -> list[ReceivedRequest]:
        """What reached a vendor since the last `reset`."""
        return self.by_vendor[vendor].requests

    def reset(self) -> None:
        """All is well again and nothing has been received."""
        for vendor, provider in self.by_vendor.items():
            provider.faults.clear()
            provider.latency = Latency()
            provider.requests.clear()
            provider.bills.clear()
            provider.stops = True
            self.listeners[vendor].open()


@contextlib.contextmanager
def simulated_providers() -> Iterator[Providers]:
    """Serves the three vendors from threads of this process."""
    by_vendor = {
        vendor: SimulatedProvider(vendor, f"provider-key-{vendor}-{secrets.token_hex(12)}", SystemClock())
        for vendor in Vendor
    }
    with contextlib.ExitStack() as stack:
        listeners = {vendor: stack.enter_context(Listener(provider.app)) for vendor, provider in by_vendor.items()}
        yield Providers(by_vendor, listeners)


class CommandError(AssertionError):
    """A command that the test expects to work did not."""


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    """Of the data plane, without a path."""
    admin: str
    """HOST:PORT of the admin plane."""
    data_dir: Path
    process: subprocess.Popen[str]
    output: Path
    """What `spendgate up` has written."""
    key_secrets: Mapping[str, str]
    """By name of the virtual key."""
    clients: list[Any] = field(default_factory=list)

    def openai(self, key: str, **options: Any) -> openai.OpenAI:
        """The official SDK with a virtual key. It does not retry unless asked to."""
        options = {"max_retries": 0, "timeout": 30, **options}
        return self._keep(openai.OpenAI(api_key=self.secret(key), base_url=f"{self.url}/v1", **options))

    def anthropic(self, key: str, **options: Any) -> anthropic.Anthropic:
        """The official SDK with a virtual key."""
        options = {"max_retries": 0, "timeout": 30, **options}
        return self._keep(anthropic.Anthropic(api_key=self.secret(key), base_url=self.url, **options))

    def gemini(self, key: str, version: str = "v1beta") -> genai.Client:
        """The official SDK with a virtual key."""
        options = genai.types.HttpOptions(base_url=self.url, api_version=version, timeout=30_000)
        return self._keep(genai.Client(api_key=self.secret(key), http_options=options))

    def http(self, key: str = "", **options: Any) -> httpx.Client:
        """A plain client, with a virtual key if one is named."""
        headers = {"authorization": f"Bearer {self.secret(key)}"} if key else {}
        options = {"timeout": 30, "headers": headers, **options}
        return self._keep(httpx.Client(base_url=self.url, **options))

    def secret(self, key: str) -> str:
        """The secret of the virtual key of this name. Any other text counts as a secret."""
        return self.key_secrets.get(key, key)

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs `spendgate` against this gateway."""
        variables = {"SPENDGATE_ADMIN": self.admin, "SPENDGATE_DATA_DIR": str(self.data_dir)}
        return run_command(*arguments, environment={**variables, **(environment or {})})

    def json(self, *arguments: str) -> Any:
        """Runs `spendgate ... --json` within this process, which saves its start, and reads its one document."""
        session = Session({}, SystemClock())
        options = ["--json", "--admin", self.admin, "--data-dir", str(self.data_dir)]
        done = CliRunner().invoke(build_app(), [*arguments, *options], obj=session)
        if done.exit_code != 0:
            raise CommandError(f"spendgate {' '.join(arguments)}: {done.exception!r}\n{done.output}")
        return json.loads(done.stdout)

    def budgets(self) -> list[dict[str, Any]]:
        """All counters."""
        return list(self.json("budgets")["budgets"])

    def budget(self, policy: str) -> dict[str, Any]:
        """The one counter of `policy`."""
        (found,) = [budget for budget in self.budgets() if budget["policy"] == policy]
        return found

    def calls(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The booked calls, newest first."""
        return list(self.json("calls", "list", "--limit", str(limit))["calls"])

    def usage(self, by: str = "team") -> dict[str, Any]:
        """Sums."""
        return dict(self.json("usage", "--by", by))

    def settle(self, calls: int | None = None, timeout_s: float = SETTLE_TIMEOUT_S) -> list[dict[str, Any]]:
        """Waits until nothing is reserved and, if `calls` is given, as many are booked; then returns all counters."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                budgets = self.budgets()
                booked = int(self.usage()["total"]["calls"])
            except CommandError:
                # A service that was killed takes a moment to be back.
                assert time.monotonic() < deadline
                time.sleep(_POLL_S)
                continue
            reserved = [budget for budget in budgets if amount(budget, "reserved")]
            if not reserved and booked >= (calls or 0):
                assert calls in {None, booked}, f"{booked} calls are booked, not {calls}"
                return budgets
            assert time.monotonic() < deadline, f"after {timeout_s} s: {booked} of {calls} booked, reserved {reserved}"
            time.sleep(_POLL_S)

    def pids(self) -> dict[str, int]:
        """Process ids of Envoy and the services, by name; of several quotas the second is "quota-2" and so on."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found: dict[str, int] = {}
        for child in children:
            # One that was just killed is gone when it is looked at.
            with contextlib.suppress(OSError):
                found.update((name, int(child)) for name in _names_of(child))
        return found

    def ask_envoy(self, path: str, socket: str = Socket.ENVOY_ADMIN) -> bytes:
        """What Envoy's own admin interface answers, or that of another one beside it."""
        run = os.open(self.data_dir / "run", os.O_RDONLY | os.O_DIRECTORY)
        # Through the open folder the socket's address is short, however deep the test's own folder lies.
        transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{run}/{socket}")
        try:
            with httpx.Client(transport=transport, base_url="http://envoy") as envoy:
                return envoy.get(path).content
        finally:
            os.close(run)

    def envoy_stats(self, prefix: str, socket: str = Socket.ENVOY_ADMIN) -> dict[str, int]:
        """Envoy's counters and gauges whose names begin with this prefix, without it."""
        answer = json.loads(self.ask_envoy(f"/stats?filter=^{prefix}&format=json", socket))
        return {stat["name"].removeprefix(prefix): stat["value"] for stat in answer["stats"] if "name" in stat}

    def status(self) -> Any:
        """What the ledger believes: a `spendgate.ledger.v1.LedgerStatus`."""
        with AdminPlane(find_gateway(self.admin, self.data_dir, {})) as plane:
            return plane.ledger.GetLedgerStatus(ledger_service_pb2.GetLedgerStatusRequest()).status

    def logs(self) -> str:
        """The end of every log, to find out what went wrong."""
        paths = [self.output, *sorted((self.data_dir / "logs").glob("*"))]
        return "\n".join(f"--- {path.name}\n{_tail(path)}" for path in paths)

    def stop(self) -> int:
        """Stops it cleanly; the exit code."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_TIMEOUT_S)

    def _keep(self, client: Client) -> Client:
        self.clients.append(client)
        return client


RUNNING: list[Gateway] = []


@contextlib.contextmanager
def run_gateway(
    folder: Path,
    configuration: Mapping[str, Any],
    providers: Providers | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
) -> Iterator[Gateway]:
    """Runs `spendgate up` with `configuration` until the block ends, which begins when no window is about to end.

    Each of its `keys` without a `secret` gets one; `providers` are added if it names none.
    """
    document, key_secrets = _completed(configuration, providers)
    variables = {**(providers.environment if providers else {}), **(environment or {})}
    variables |= {_secret_variable(name): secret for name, secret in key_secrets.items()}
    file = folder / "spendgate.yaml"
    file.write_text(json.dumps(document, indent=2))
    data_dir, output = folder / "data", folder / "up.log"
    listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    command = [str(COMMAND), "up", "-f", str(file), "--data-dir", str(data_dir)]
    command += ["--listen", listen, "--admin-listen", admin, *arguments]
    with output.open("w") as log:
        process = subprocess.Popen(
            command, env=_environ(variables), stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True
        )
    gateway = Gateway(f"http://{listen}", admin, data_dir, process, output, key_secrets)
    RUNNING.append(gateway)
    try:
        _wait_until_ready(gateway)
        stay_clear_of_the_edge()
        yield gateway
    finally:
        try:
            gateway.stop()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            RUNNING.remove(gateway)


def run_command(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = 60, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `spendgate`, with `given` on standard input, and returns how it ended."""
    return subprocess.run(
        [str(COMMAND), *arguments],
        env=_environ(environment or {}),
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def amount(budget: Mapping[str, Any], name: str) -> Decimal:
    """A number of a counter, whether it counts dollars or something else."""
    return Decimal(budget.get(f"{name}_usd", budget.get(name)))


def new_key_secret() -> str:
    """A secret as another gateway might have issued it."""
    return f"imported-{base64.b32encode(secrets.token_bytes(20)).decode().lower()}"


def _completed(configuration: Mapping[str, Any], providers: Providers | None) -> tuple[dict[str, Any], dict[str, str]]:
    document = {"version": 1, "organization": "acme", **configuration}
    if providers is not None:
        document.setdefault("providers", providers.configuration)
    keys = [
        {"secret": {"env": _secret_variable(key["name"])}, **key} if "secret" not in key else key
        for key in document.get("keys", ())
    ]
    document["keys"] = keys
    return document, {key["name"]: new_key_secret() for key in configuration.get("keys", ()) if "secret" not in key}


def _secret_variable(key: str) -> str:
    return f"KEY_{key.upper().replace('-', '_')}"


def _environ(variables: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SPENDGATE_", "OTEL_"))}
    return {**inherited, **variables}


def _wait_until_ready(gateway: Gateway) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if f"ready {gateway.url}" in gateway.output.read_text():
            return
        if gateway.process.poll() is not None:
            break
        time.sleep(_POLL_S)
    raise AssertionError(f"the gateway did not start (exit code {gateway.process.poll()}):\n{gateway.logs()}")


def _names_of(pid: str) -> Iterator[str]:
    """The name of a process, if it is one of a gateway."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    if "envoy" in command.split(" ", 1)[0]:
        yield "envoy"
    for name in ("quota", "router", "ledger", "envoy"):
        if f"services.{name}" in command or f"spendgate-{name}" in command:
            yield name + _replica(pid) if name == "quota" else name


def _replica(pid: str) -> str:
    """The suffix in the name of a quota; empty for the first."""
    for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        name, _, number = variable.decode(errors="replace").partition("=")
        if name == "SPENDGATE_QUOTA_REPLICA" and number != "1":
            return f"-{number}"
    return ""


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
    return ""
