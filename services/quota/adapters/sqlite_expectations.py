"""What recent calls typically took, in memory for the hot path and in SQLite for the next start."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import orjson

from services.quota.adapters.packed_taught import PackedTaught, Pair
from services.quota.adapters.sqlite_file import SqliteFile, write_in_slices
from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.scale import Scale
from services.quota.domain.admission.unmeasured import NOTHING_TAUGHT, Guide, Taught

# The most pairs of key and model. Beyond this number the pair learned first makes room.
MOST_PAIRS = 50_000
# The most models for what all keys taught. Models come and go; beyond this number the one learned first makes room.
MOST_MODELS = 5_000
# No key has this id.
_ALL_KEYS = ""
_SAVE = (
    "INSERT INTO expectations (key_id, model, input_tokens, output_tokens, scales) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,"
    " scales = excluded.scales"
)
_LOAD = "SELECT key_id, model, input_tokens, output_tokens, scales FROM expectations LIMIT ?"
_DROP = "DELETE FROM expectations WHERE key_id = ? AND model = ?"


class SqliteExpectations:
    """`ports.Expectations`."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._learning = threading.Lock()
        self._known = PackedTaught(MOST_PAIRS)
        self._of_all = PackedTaught(MOST_MODELS)
        self.refresh()

    def refresh(self) -> None:
        """Takes over what other processes have learned."""
        with self._learning, self._file.reading() as connection:
            known, of_all = PackedTaught(MOST_PAIRS), PackedTaught(MOST_MODELS)
            for key_id, model, *row in connection.execute(_LOAD, (MOST_PAIRS + MOST_MODELS,)):
                (of_all if key_id == _ALL_KEYS else known).put(key_id, model, _read(*row))
            self._known, self._of_all = known, of_all

    def get(self, key_id: str, model: str) -> Tokens | None:
        """The typical tokens of such a call; None if they are unknown."""
        return self._known.typical(key_id, model)

    def guide(self, key_id: str, model: str) -> Guide:
        """The knowledge on which the estimate of an unmeasured call rests."""
        return Guide.of(self._known.get(key_id, model), self._of_all.get(_ALL_KEYS, model))

    def learn(self, samples: Sequence[UsageSample]) -> None:
        """Learns from calls."""
        if not samples:
            return
        with self._learning:
            changed: dict[Pair, Taught] = {}
            for sample in samples:
                for known, key_id in ((self._known, sample.key_id), (self._of_all, _ALL_KEYS)):
                    taught = (known.get(key_id, sample.model) or NOTHING_TAUGHT).after(sample)
                    known.put(key_id, sample.model, taught)
                    changed[key_id, sample.model] = taught
            dropped = [*self._known.make_room(), *self._of_all.make_room()]
            write_in_slices(self._file, _SAVE, [(*pair, *_row(taught)) for pair, taught in changed.items()])
            write_in_slices(self._file, _DROP, dropped)


def _row(taught: Taught) -> tuple[int, int, str]:
    typical = taught.typical or Tokens(0, 0)
    return typical.input, typical.output, orjson.dumps((tuple(taught.request), tuple(taught.answer))).decode()


def _read(input_tokens: int, output_tokens: int, scales: str) -> Taught:
    """`scales` is empty in a row that an earlier release wrote."""
    request, answer = orjson.loads(scales) if scales else ((), ())
    return Taught(Tokens(input_tokens, output_tokens), Scale(*request), Scale(*answer))
