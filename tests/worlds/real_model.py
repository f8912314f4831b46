"""A model server from outside: llama.cpp with a model of two layers and random weights.

Its text is noise, but its counts are real. The weights are written with `gguf` in llama.cpp's own format, and its own
HTTP server answers in a process of its own:

    python tests/worlds/real_model.py FOLDER KEY [vectors]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.worlds.ports import free_port

MODEL = "tiny"
ANSWERS, VECTORS = "answers", "vectors"
_WIDTH, _FEED_FORWARD, _LAYERS, _HEADS = 64, 128, 2, 4
_CONTEXT_TOKENS = 2048
_SPECIAL = ["<unk>", "<s>", "</s>"]
_BYTES = [f"<0x{value:02X}>" for value in range(256)]
_PIECES = [*map(chr, range(32, 127)), "▁", "▁the", "▁a", "▁is", "▁hello"]
_VOCABULARY = [*_SPECIAL, *_BYTES, *_PIECES]
_CHAT_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class RealModel:
    """A running server."""

    url: str
    """Without a path."""
    api_key: str


@contextmanager
def run_real_model(folder: Path, api_key: str, serves: str = ANSWERS) -> Iterator[RealModel]:
    """Serves the model from a process of its own until the block ends: llama.cpp gives either answers or vectors."""
    log_path = folder / "llama.log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            [sys.executable, __file__, str(folder), api_key, serves],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            yield RealModel(_wait_for_address(folder, process, log_path), api_key)
        finally:
            process.terminate()
            process.wait(timeout=20)


def write_model(path: Path) -> None:
    """Writes the weights; the same ones every time."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer)
    writer.add_tensor("token_embd.weight", weights(len(_VOCABULARY), _WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    writer.add_tensor("output.weight", weights(len(_VOCABULARY), _WIDTH))
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(_WIDTH, np.float32))
        writer.add_tensor(f"{block}.ffn_norm.weight", np.ones(_WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}.{name}.weight", weights(_WIDTH, _WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"{block}.{name}.weight", weights(_FEED_FORWARD, _WIDTH))
        writer.add_tensor(f"{block}.ffn_down.weight", weights(_WIDTH, _FEED_FORWARD))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(_CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_file_type(0)
    writer.add_vocab_size(len(_VOCABULARY))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.encode() for piece in _VOCABULARY])
    # Longer pieces score no better than letters: merges are decided by order alone.
    writer.add_token_scores([0.0 if index < len(_SPECIAL) else -float(index) for index in range(len(_VOCABULARY))])
    kinds = gguf.TokenType
    special = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
    writer.add_token_types([*special, *[kinds.BYTE] * len(_BYTES), *[kinds.NORMAL] * len(_PIECES)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(_CHAT_TEMPLATE)


def _wait_for_address(folder: Path, process: subprocess.Popen[str], log_path: Path) -> str:
    deadline = time.monotonic() + _START_TIMEOUT_S
    address = folder / "address"
    while time.monotonic() < deadline and process.poll() is None:
        if address.exists():
            return str(json.loads(address.read_text()))
        time.sleep(0.05)
    raise AssertionError(f"llama.cpp did not start:\n{log_path.read_text()[-4000:]}")


def _serve(folder: Path, api_key: str, serves: str = ANSWERS) -> None:
    import xllamacpp  # noqa: PLC0415  (loads llama.cpp, which only this process needs)

    write_model(folder / "tiny.gguf")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(folder / "tiny.gguf")
    parameters.model_alias = {MODEL}
    parameters.api_keys = [api_key]
    parameters.n_ctx = 2 * _CONTEXT_TOKENS
    parameters.n_parallel = 2
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    if serves == VECTORS:
        parameters.embedding = True
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    parameters.port = free_port()
    server = xllamacpp.Server(parameters)
    unfinished = folder / "address.tmp"
    unfinished.write_text(json.dumps(server.listening_address))
    unfinished.rename(folder / "address")
    # Ends with whoever started it: SIGTERM, or the end of standard input.
    sys.stdin.read()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), *sys.argv[2:])
