"""What calls took lately, in memory for the path of every call and in SQLite for the next start."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.estimate import Lesson, Tokens, learn

# Pairs of a key and a model. Beyond it the pair that was learnt first makes room.
_MOST = 50_000
_SAVE = (
    "INSERT INTO expectations (key_id, model, input_tokens, output_tokens) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens"
)
_LOAD = "SELECT key_id, model, input_tokens, output_tokens FROM expectations LIMIT ?"
_DROP = "DELETE FROM expectations WHERE key_id = ? AND model = ?"


class SqliteExpectations:
    """`ports.Expectations`."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._learning = threading.Lock()
        self._known: dict[tuple[str, str], Tokens] = {}
        self.refresh()

    def refresh(self) -> None:
        """Takes over what another process has learnt."""
        with self._learning, self._file.reading() as connection:
            rows = connection.execute(_LOAD, (_MOST,)).fetchall()
            self._known = {(key_id, model): Tokens(input_, output) for key_id, model, input_, output in rows}

    def get(self, key_id: str, model: str) -> Tokens | None:
        """What to expect; None when nothing is known."""
        return self._known.get((key_id, model))

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """Learns from calls."""
        if not lessons:
            return
        with self._learning:
            changed: dict[tuple[str, str], Tokens] = {}
            for lesson in lessons:
                pair = (lesson.key_id, lesson.model)
                self._known[pair] = changed[pair] = learn(self._known.get(pair), lesson)
            dropped = list(self._known)[: max(0, len(self._known) - _MOST)]
            for pair in dropped:
                del self._known[pair]
            with self._file.writing() as connection:
                rows = [(*pair, tokens.input, tokens.output) for pair, tokens in changed.items()]
                connection.executemany(_SAVE, rows)
                connection.executemany(_DROP, dropped)
