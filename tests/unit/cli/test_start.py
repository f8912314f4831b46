from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

_START = """
import os, subprocess, sys
from services.cli.__main__ import keep_grpc_out_of_forks

assert "grpc" not in sys.modules
keep_grpc_out_of_forks()

import grpc

def count_threads():
    os.write(1, str(len(os.listdir("/proc/self/task"))).encode())

with grpc.insecure_channel("unix:nobody.sock") as channel:
    try:
        channel.unary_unary("/nobody/Answers")(b"", timeout=0.2)
    except grpc.RpcError:
        subprocess.run([sys.executable, "-c", ""], preexec_fn=count_threads, check=True)
"""


def test_grpc_has_no_threads_in_what_is_forked_to_become_another_program(tmp_path: Path) -> None:
    started = subprocess.run([sys.executable, "-c", _START], cwd=tmp_path, capture_output=True, check=True, timeout=30)
    assert started.stdout == b"1"


def test_the_command_starts_there() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="spendgate")
    assert script.value == "services.cli.__main__:main"
