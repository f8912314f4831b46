"""LiteLLM's proxy, as its page of best practices for production has it: one worker for the one core.

With its database it checks a virtual key, and the budgets of the key, its team and its user. It reaches PostgreSQL
through an engine that its package downloads from an address of its own. Where that address cannot be reached, the proxy
runs without a database: it then checks its master key and no budget, which costs less than what it should be compared
with.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.bench.gateways import Bench, Gateway, wait_for
from tests.bench.peers.install import installed, run
from tests.bench.peers.peer import Enforces, Peer
from tests.bench.peers.postgres import running_postgres
from tests.bench.processes import start, stop
from tests.bench.upstream import SLOW_MODEL
from tests.worlds.ports import free_port

VERSION = "1.106.12"
"""The newest whose proxy can be installed from PyPI alone."""
_REQUIREMENTS = [
    f"litellm[proxy]=={VERSION}",
    "prisma==0.15.0",
    # Its server takes this parser where there is one, and a slower one where there is none.
    "httptools>=0.7",
]
_START_S = 180
_BUDGET = {"max_budget": 1_000_000.0, "budget_duration": "30d"}
_WITH_DATABASE = Enforces(
    keys="virtual keys",
    budgets="of key, team and user, read before the call and added up after it",
    durable="spend, once a minute; a killed process loses what came since",
    traces="none",
)
_WITHOUT_DATABASE = Enforces(keys="one master key", budgets="none", durable="nothing", traces="none")


def start_litellm(bench: Bench, upstream_port: int) -> Peer:
    """Starts the proxy on the gateways' core.

    Raises:
        RuntimeError: it cannot be installed, or does not start.
    """
    programs = installed("litellm", _REQUIREMENTS)
    environ = {
        "PATH": f"{programs}:{os.environ.get('PATH', '')}",
        "PRISMA_BINARY_CACHE_DIR": str(programs.parent / "prisma"),
        "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(16)}",
        "LITELLM_SALT_KEY": f"sk-{secrets.token_hex(16)}",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DISABLE_NO_REDIS_WARNING": "true",
    }
    missing = _why_no_database(programs, environ)
    pids: dict[str, int] = {}
    if not missing:
        database = bench.stack.enter_context(running_postgres(bench.gateway_core))
        environ["DATABASE_URL"] = database.url
        pids["postgres"] = database.pid
    port = free_port()
    pids["litellm"] = _start(bench, programs, port, _configuration(upstream_port), environ)
    key = environ["LITELLM_MASTER_KEY"] if missing else _key(port, environ["LITELLM_MASTER_KEY"])
    return Peer(
        Gateway(
            "LiteLLM" if not missing else "LiteLLM without its database",
            port,
            headers={"authorization": f"Bearer {key}"},
            processes=lambda: pids,
            families=frozenset(pids),
        ),
        VERSION,
        _WITHOUT_DATABASE if missing else _WITH_DATABASE,
        f"Without PostgreSQL, keys and budgets, because its engine for the database cannot be had here: {missing}. With"
        " them it does more for each call."
        if missing
        else "",
    )


def _why_no_database(programs: Path, environ: Mapping[str, str]) -> str:
    """Why the proxy cannot use a database here; empty if it can."""
    [schema] = programs.parent.glob("lib/*/site-packages/litellm/proxy/schema.prisma")
    try:
        run([programs / "prisma", "generate", "--schema", schema], {**os.environ, **environ})
    except RuntimeError as error:
        return str(error).splitlines()[-1]
    return ""


def _start(bench: Bench, programs: Path, port: int, configuration: dict[str, Any], environ: dict[str, str]) -> int:
    file, log = bench.folder / "litellm.json", bench.folder / "litellm.log"
    # JSON is YAML, too.
    file.write_text(json.dumps(configuration))
    process = start(
        [programs / "litellm", "--config", file, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"],
        core=bench.gateway_core,
        log=log,
        cwd=bench.folder,
        environ=environ,
        says_nothing=True,
    )
    bench.stack.callback(stop, process)
    wait_for(port, process, log, seconds=_START_S)
    return process.pid


def _configuration(upstream_port: int) -> dict[str, Any]:
    # Not among the parameters: there they make the proxy rebuild its table of prices at each call.
    prices = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
    upstream = {"api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "bench-provider-key"}
    return {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{served}", **upstream}, "model_info": prices}
            for name, served in (("bench", "bench-model"), (SLOW_MODEL, SLOW_MODEL))
        ],
        "general_settings": {
            "proxy_batch_write_at": 60,
            "database_connection_pool_limit": 10,
            "disable_error_logs": True,
        },
        "litellm_settings": {"request_timeout": 600, "set_verbose": False, "json_logs": True},
    }


def _key(port: int, master_key: str) -> str:
    """A virtual key with a budget, of a user and a team with budgets of their own."""
    headers = {"authorization": f"Bearer {master_key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:

        def made(path: str, **fields: Any) -> dict[str, Any]:
            answer: dict[str, Any] = client.post(path, json={**_BUDGET, **fields}).raise_for_status().json()
            return answer

        team = made("/team/new", team_alias="bench")["team_id"]
        made("/user/new", user_id="bench@example.com", auto_create_key=False)
        return str(made("/key/generate", team_id=team, user_id="bench@example.com")["key"])
