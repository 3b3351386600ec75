"""Logs that nobody else reads and that do not fill the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from softreg.logs import LOG_LIMIT_BYTES, keep_small
from softreg.process import Command, end, spawn


def shell(place: Path, script: str) -> Command:
    return Command("child", ("/bin/sh", "-c", script), place, place / "child.log", dict(os.environ))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_log_grows_with_every_start_and_is_private(place: Path) -> None:
    for word in ("first", "second"):
        spawn(shell(place, f"echo {word}")).wait()
    assert (place / "child.log").read_text() == "first\nsecond\n"
    assert mode(place / "child.log") == 0o600


def test_a_big_log_is_moved_aside_at_a_start(place: Path) -> None:
    (place / "child.log").write_bytes(b"old" + b"x" * LOG_LIMIT_BYTES)
    spawn(shell(place, "echo fresh")).wait()
    assert (place / "child.log").read_text() == "fresh\n"
    assert (place / "child.log.1").read_bytes() == b"x" * LOG_LIMIT_BYTES


def test_a_log_is_kept_small_under_its_writer(place: Path, eventually: Callable[..., None]) -> None:
    log, older = place / "child.log", place / "child.log.1"
    older.write_text("of last week")
    flood = "head -c 11000000 /dev/zero | tr '\\0' x; until [ -e go ]; do sleep 0.02; done; echo after; exec sleep 600"
    command = shell(place, flood)
    process = spawn(command)
    try:
        eventually(lambda: log.stat().st_size == 11_000_000)
        keep_small(log)
        (place / "go").touch()
        eventually(lambda: log.read_bytes() == b"after\n")
    finally:
        end(process, command.stop_signal, 0.0)
    assert older.read_bytes() == b"x" * LOG_LIMIT_BYTES


def test_a_log_below_the_limit_is_left_alone(place: Path) -> None:
    log = place / "child.log"
    log.write_bytes(b"x" * LOG_LIMIT_BYTES)
    keep_small(log)
    assert log.stat().st_size == LOG_LIMIT_BYTES
    assert not (place / "child.log.1").exists()
    keep_small(place / "nothing.log")


@pytest.mark.parametrize("size", [0, LOG_LIMIT_BYTES + 1])
def test_a_log_is_not_written_through_a_link(place: Path, size: int) -> None:
    (place / "elsewhere").write_bytes(b"x" * size)
    (place / "child.log").symlink_to(place / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        spawn(shell(place, "echo hello"))
    assert (place / "elsewhere").stat().st_size == size
