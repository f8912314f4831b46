"""Reads Envoy's spool: `<data dir>/spool/<epoch>.jsonl`, one JSON object per line.

A file keeps its identity (epoch and inode) through rotation: it becomes `<epoch>.<n>.jsonl`, and Envoy opens a new
`<epoch>.jsonl`. Nothing is appended to a rotated file once its successor exists, nor to any file of an epoch once the
same node has a later one. Only whole lines are read. A line that can never be completed is set aside.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from services.chassis.envoy_admin import ask_envoy
from services.chassis.line_text import read_line_text
from services.kernel.clock import Clock
from services.kernel.spool_contract import SPOOL_SUFFIX, AdmittedKey, SpoolKey
from services.ledger.domain.call import SpooledAttempt, SpooledCall, parse_line
from services.ledger.domain.line_fields import UnreadableLineError, is_known
from services.ledger.domain.spooled import SpoolBatch, SpoolFile, UnreadableLine

_log = logging.getLogger("spendgate.ledger.spool")

LINE_BYTES_MAX = 1_000_000
BATCH_LINES_MAX = 128
"""One transaction books a batch, and settling waits for it: for 5 ms of CPU time, and for 30 with 1000 lines. A line
costs 3% more than with 1000, and 12% more with 64."""
# Lines have 1 to 2 KB, so this is about a batch. Only a line that is longer makes it read on.
_READ_BYTES = 256 * 1024
_CHUNK_BYTES = 2 * LINE_BYTES_MAX
_USAGE = SpoolKey.USAGE.value
# What quota and `request_info.lua` say of a call. Their members count as fields of the line, and quota's word comes
# first.
_SAID_BY_OTHERS = (SpoolKey.ADMITTED.value, SpoolKey.REQUESTED.value)
_DECIDED = AdmittedKey.DECIDED.value
_NAME = re.compile(r"(?P<epoch>(?P<node>.+)-(?P<start>\d{13}))(?:\.(?P<rotation>\d{1,9}))?" + re.escape(SPOOL_SUFFIX))
_ADMIN_TIMEOUT_S = 2.0

ReopenLogs = Callable[[], None]
"""Makes Envoy reopen its log files by name. Raises `OSError` when Envoy cannot be asked."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How large files grow and how long they are kept."""

    file_bytes: int = 256 * 1024 * 1024
    """A larger live file is rotated."""
    keep_ms: int = 7 * 24 * 3_600_000
    """How long a booked and closed file is kept."""
    refused_bytes: int = 64 * 1024 * 1024
    """A larger log of refused requests replaces the one old copy."""


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    node: str
    start: str
    rotation: int | None
    """None for the live file of an epoch."""
    file: SpoolFile
    modified_ms: int


class SpoolFolder:
    """The folder of spool files and the log of refused requests, as `ports.Spool`."""

    def __init__(
        self, folder: Path, refused_log: Path, limits: SpoolLimits, reopen_logs: ReopenLogs, clock: Clock
    ) -> None:
        self._folder = folder
        self._refused_log = refused_log
        self._limits = limits
        self._reopen_logs = reopen_logs
        self._clock = clock

    def files(self) -> Sequence[SpoolFile]:
        """Returns all files by epoch: within one, the rotated files in order, then the live one."""
        return [found.file for found in self._found()]

    def read(self, file: SpoolFile, offset: int) -> SpoolBatch | None:
        """Returns the next whole lines from `offset` on, at most `BATCH_LINES_MAX`, or None when there is none yet.

        Raises:
            OSError: the file cannot be read.
        """
        with self._open(file) as stream:
            stream.seek(offset)
            chunk = stream.read(_READ_BYTES)
            if b"\n" not in chunk:
                chunk += stream.read(_CHUNK_BYTES - len(chunk))
            end = chunk.rfind(b"\n") + 1
            if end:
                return _parse(file, offset, chunk[:end])
            if len(chunk) <= LINE_BYTES_MAX and not (chunk and file.is_closed):
                return None
            # No accepted line is this long, or its end will never come. Skip to the start of the next line.
            size = len(chunk)
            while more := stream.read(_CHUNK_BYTES):
                newline = more.find(b"\n") + 1
                size += newline or len(more)
                if newline:
                    return _set_aside(file, offset, size, "longer than 1 MB")
        if not file.is_closed:
            return None
        return _set_aside(file, offset, size, "cut off at the end of the file")

    def backlog_bytes(self, checkpoints: Mapping[tuple[str, int], int]) -> int:
        """Counts the bytes after the checkpoints."""
        return sum(max(found.file.size_bytes - checkpoints.get(found.file.identity, 0), 0) for found in self._found())

    def tidy(self, booked: Mapping[tuple[str, int], int]) -> Sequence[SpoolFile]:
        """Rotates files that are too large and deletes old files that are closed and booked."""
        found = self._found()
        if self._rotate(found) | self._cap_refused():
            try:
                self._reopen_logs()
            except OSError as error:
                # A later round asks again, as long as a live file is missing.
                _log.warning("Envoy did not reopen its logs: %s", error)
        return self._delete(found, booked)

    def _open(self, file: SpoolFile) -> BinaryIO:
        path = self._folder / file.name
        stream = path.open("rb")
        if os.fstat(stream.fileno()).st_ino != file.inode:
            stream.close()
            raise FileNotFoundError(f"{path} was replaced while it was read")
        return stream

    def _found(self) -> list[_Found]:
        named = []
        # Read all names before the first size: a file whose successor has a name no longer grows.
        for entry in list(os.scandir(self._folder)) if self._folder.is_dir() else ():
            match = _NAME.fullmatch(entry.name)
            if match is not None:
                named.append((match, self._folder / entry.name, entry.stat()))
        latest: dict[str, str] = {}
        live = {match["epoch"] for match, _, _ in named if match["rotation"] is None}
        for match, _, _ in named:
            latest[match["node"]] = max(match["start"], latest.get(match["node"], ""))
        found = [
            _Found(
                path=path,
                node=match["node"],
                start=match["start"],
                rotation=None if match["rotation"] is None else int(match["rotation"]),
                file=SpoolFile(
                    epoch=match["epoch"],
                    inode=stat.st_ino,
                    name=path.name,
                    is_closed=match["start"] < latest[match["node"]]
                    or (match["rotation"] is not None and match["epoch"] in live),
                    size_bytes=stat.st_size,
                ),
                modified_ms=stat.st_mtime_ns // 1_000_000,
            )
            for match, path, stat in named
        ]
        return sorted(found, key=lambda each: (each.start, each.node, each.rotation is None, each.rotation or 0))

    def _rotate(self, found: list[_Found]) -> bool:
        """Returns whether Envoy must open a new file."""
        must_reopen = False
        rotations: dict[str, int] = {}
        for each in found:
            rotations[each.file.epoch] = max(rotations.get(each.file.epoch, 0), each.rotation or 0)
        for each in found:
            if each.file.is_closed:
                continue
            if each.rotation is not None:
                must_reopen = True
            elif each.file.size_bytes > self._limits.file_bytes:
                epoch = each.file.epoch
                each.path.rename(self._folder / f"{epoch}.{rotations[epoch] + 1}{SPOOL_SUFFIX}")
                must_reopen = True
        return must_reopen

    def _cap_refused(self) -> bool:
        """Returns whether Envoy must reopen the log of refused requests. Until it does, it writes to the old copy."""
        log = self._refused_log
        old_copy = log.with_name(f"{log.stem}.1{log.suffix}")
        if not log.exists():
            return old_copy.exists()
        if log.stat().st_size <= self._limits.refused_bytes:
            return False
        log.replace(old_copy)
        return True

    def _delete(self, found: list[_Found], booked: Mapping[tuple[str, int], int]) -> list[SpoolFile]:
        deleted = []
        for each in found:
            is_booked = booked.get(each.file.identity, 0) >= each.file.size_bytes
            is_old = each.modified_ms + self._limits.keep_ms < self._clock.now_ms()
            if each.file.is_closed and is_booked and is_old:
                each.path.unlink()
                deleted.append(each.file)
        return deleted


def reopen_logs_at(socket: str) -> ReopenLogs:
    """Returns a function that asks the Envoy whose admin interface listens on this Unix socket."""

    def reopen() -> None:
        ask_envoy(socket, "POST", "/reopen_logs", _ADMIN_TIMEOUT_S)

    return reopen


def _parse(file: SpoolFile, offset: int, lines: bytes) -> SpoolBatch:
    calls: list[SpooledCall] = []
    attempts: list[SpooledAttempt] = []
    unreadable: list[UnreadableLine] = []
    for line in lines.split(b"\n", BATCH_LINES_MAX)[:-1]:
        size = len(line) + 1
        if not line.isspace() and line:
            try:
                parsed = _parse_line(line)
            except UnreadableLineError as error:
                unreadable.append(UnreadableLine(offset, size, str(error)))
            else:
                if isinstance(parsed, SpooledCall):
                    calls.append(parsed)
                else:
                    attempts.append(parsed)
        offset += size
    return SpoolBatch(file, offset, tuple(calls), tuple(attempts), tuple(unreadable))


def _parse_line(line: bytes) -> SpooledCall | SpooledAttempt:
    if len(line) > LINE_BYTES_MAX:
        raise UnreadableLineError("longer than 1 MB")
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UnreadableLineError(f"not JSON: {error.msg} at byte {error.pos}") from error
    if not isinstance(fields, dict):
        raise UnreadableLineError("not a JSON object")
    if b".0" in line:
        # Metadata has only floating-point numbers: 900 tokens may be 900.0 there.
        fields = {name: _whole_numbers(value) for name, value in fields.items()}
    usage = fields.get(_USAGE)
    if isinstance(usage, str) and is_known(usage):
        fields[_USAGE] = _members(usage, _USAGE)
    for name in _SAID_BY_OTHERS:
        text = fields.get(name)
        if is_known(text):
            fields = _members(text, name) | fields
    decided = fields.get(_DECIDED)
    if isinstance(decided, dict):
        fields[_DECIDED] = orjson.dumps(decided).decode()
    return parse_line(fields)


def _members(text: object, name: str) -> dict[str, object]:
    """The JSON object that a text of a line holds."""
    try:
        members = read_line_text(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        members = None
    if not isinstance(members, dict):
        raise UnreadableLineError(f"{name} is not a JSON object")
    return members


def _whole_numbers(value: object) -> object:
    """Converts every number with a fraction of zero to an integer."""
    if isinstance(value, dict):
        return {name: _whole_numbers(each) for name, each in value.items()}
    return int(value) if type(value) is float and value.is_integer() else value


def _set_aside(file: SpoolFile, offset: int, size: int, reason: str) -> SpoolBatch:
    return SpoolBatch(file, offset + size, (), (), (UnreadableLine(offset, size, reason),))
