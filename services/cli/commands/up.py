"""`spendgate up`: a complete gateway on this machine, until it is asked to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from services.chassis.settings import SettingsError, parse_address
from services.cli.printing import print_json_line, remark
from services.cli.problems import Misuse
from services.cli.session import DEFAULT_DATA_DIR, JsonOption, Session, session_of
from services.cli.supervisor import Listen, ListenError, Supervisor, SupervisorSettings, parse_listen
from services.cli.supervisor.environment import COUNTERS_VARIABLE
from services.cli.supervisor.settings import DEFAULT_ADMIN_LISTEN, DEFAULT_LISTEN, TlsFiles
from services.kernel.envoy_contract import MAX_QUOTAS

_MAX_DEFAULT_CONCURRENCY = 4
_LISTENING = "Listening"
_SQLITE = "sqlite"

_Listen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where applications call.", rich_help_panel=_LISTENING)
]
_AdminListen = Annotated[
    str,
    typer.Option(
        "--admin-listen", metavar="HOST:PORT", help="Where this command line calls.", rich_help_panel=_LISTENING
    ),
]
_TlsCertificate = Annotated[
    Path | None, typer.Option(metavar="FILE", exists=True, help="PEM certificate of both.", rich_help_panel=_LISTENING)
]
_TlsPrivateKey = Annotated[
    Path | None, typer.Option(metavar="FILE", exists=True, help="Its private key.", rich_help_panel=_LISTENING)
]
_Insecure = Annotated[
    bool, typer.Option(help="Allow plain text on addresses that other machines reach.", rich_help_panel=_LISTENING)
]
_Counters = Annotated[
    str,
    typer.Option(
        "--counters",
        envvar=COUNTERS_VARIABLE,
        metavar="URL",
        help="Where to keep counters: sqlite, or the URL of a Redis. Set the variable if it has a password.",
    ),
]


def up(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", exists=True, dir_okay=False, help="Configuration to apply."),
    ] = None,
    data_dir: Annotated[
        Path,
        typer.Option(
            "--data-dir", envvar="SPENDGATE_DATA_DIR", metavar="DIR", help="Where to keep everything. Created private."
        ),
    ] = DEFAULT_DATA_DIR,
    listen: _Listen = DEFAULT_LISTEN,
    admin_listen: _AdminListen = DEFAULT_ADMIN_LISTEN,
    tls_certificate: _TlsCertificate = None,
    tls_private_key: _TlsPrivateKey = None,
    insecure: _Insecure = False,
    otlp: Annotated[
        str | None,
        typer.Option(
            "--otlp", envvar="OTEL_EXPORTER_OTLP_ENDPOINT", metavar="HOST:PORT", help="Send traces to OTLP/gRPC here."
        ),
    ] = None,
    envoy_concurrency: Annotated[
        int, typer.Option(min=1, max=64, help="Worker threads of Envoy. Default: one a core, at most 4.", metavar="N")
    ] = min(os.cpu_count() or 1, _MAX_DEFAULT_CONCURRENCY),
    counters: _Counters = _SQLITE,
    quota_replicas: Annotated[
        int,
        typer.Option(
            envvar="SPENDGATE_QUOTA_REPLICAS",
            min=1,
            max=MAX_QUOTAS,
            metavar="N",
            help="How many processes answer Checks.",
        ),
    ] = 1,
    json: JsonOption = False,
) -> None:
    """Runs the gateway: Envoy and the three services, on an embedded store.

    Prints one line `ready http://HOST:PORT` when the first request would succeed, and stops cleanly on SIGTERM or
    Ctrl-C: calls in flight finish, and everything is booked. A second signal ends it at once.

    Example: spendgate up -f spendgate.yaml
    """
    if listen == admin_listen and not listen.endswith(":0"):
        raise Misuse("--listen and --admin-listen are the same address: choose another port for one of them")
    settings = SupervisorSettings(
        data_dir=data_dir.absolute(),
        listen=_address("--listen", listen),
        admin_listen=_address("--admin-listen", admin_listen),
        tls=_tls(tls_certificate, tls_private_key),
        insecure=insecure,
        otlp_endpoint=_otlp_endpoint(otlp),
        envoy_concurrency=envoy_concurrency,
        counters_url=_counters_url(counters, quota_replicas),
        quotas=quota_replicas,
    )
    asyncio.run(_run(session_of(context), settings, file, json=json))


def _address(option: str, text: str) -> Listen:
    try:
        return parse_listen(option, text)
    except ListenError as error:
        raise Misuse(str(error)) from error


def _counters_url(counters: str, quotas: int) -> str | None:
    """Returns None for SQLite. Errors never repeat the URL, which may hold a password."""
    if counters == _SQLITE:
        if quotas > 1:
            raise Misuse(
                f"--quota-replicas {quotas} needs counters that they share, or each would let a whole budget pass: "
                "give --counters redis://HOST:PORT, or run one"
            )
        return None
    if not counters.startswith(("redis://", "rediss://")):
        raise Misuse(f"--counters is neither {_SQLITE!r} nor a URL that begins with redis:// or rediss://")
    return counters


def _tls(certificate: Path | None, private_key: Path | None) -> TlsFiles | None:
    if certificate is None and private_key is None:
        return None
    if certificate is None or private_key is None:
        raise Misuse("--tls-certificate and --tls-private-key go together")
    return TlsFiles(certificate.absolute(), private_key.absolute())


def _otlp_endpoint(text: str | None) -> str | None:
    """Returns HOST:PORT of a URL in OpenTelemetry's form."""
    if not text:
        return None
    endpoint = text.removeprefix("http://").removesuffix("/")
    try:
        parse_address("--otlp", endpoint)
    except SettingsError as error:
        raise Misuse(str(error)) from error
    return endpoint


async def _run(session: Session, settings: SupervisorSettings, configuration: Path | None, *, json: bool) -> None:
    stopping = asyncio.Event()
    supervisor = Supervisor(
        settings, environ=session.environ, clock=session.clock, configuration=configuration, report=remark
    )
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stopping.is_set():
            remark("stopped at once: what is not booked yet is booked at the next start")
            supervisor.kill()
            os._exit(1)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    starting = asyncio.create_task(supervisor.start())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([starting, stop], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return
    await starting
    _announce(supervisor, json=json)
    await stop
    await supervisor.stop()
    remark("stopped")


def _announce(supervisor: Supervisor, *, json: bool) -> None:
    if json:
        print_json_line({"ready": supervisor.url, "admin": supervisor.admin})
    else:
        print(f"ready {supervisor.url}", flush=True)
    remark(f"admin {supervisor.admin}, its token is in {supervisor.settings.data_dir / 'admin-token'}")
