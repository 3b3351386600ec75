"""Children that never outlive their parent."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from softreg.logs import log_tail
from softreg.process import Command, await_end, end, end_stranger, identity, spawn


def shell(place: Path, script: str, name: str = "child") -> Command:
    return Command(name, ("/bin/sh", "-c", script), place, place / f"{name}.log", dict(os.environ))


def test_a_child_dies_with_a_parent_that_is_killed(place: Path, eventually: Callable[..., None]) -> None:
    program = (
        "import sys; from pathlib import Path; from softreg.process import Command, spawn\n"
        "place = Path(sys.argv[1])\n"
        "print(spawn(Command('child', ('/bin/sleep', '600'), place, place / 'log')).pid, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    eventually(lambda: identity(child.pid) is None)


def test_a_child_dies_also_where_the_parent_ignores_the_signal(place: Path) -> None:
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as a shell's background job does
    try:
        process = spawn(dataclasses.replace(shell(place, "exec sleep 600"), orphan_signal=signal.SIGQUIT))
    finally:
        signal.signal(signal.SIGQUIT, before)
    assert end(process, signal.SIGQUIT, grace_seconds=30.0) == -signal.SIGQUIT


def test_what_a_child_left_behind_is_killed_with_it(place: Path, eventually: Callable[..., None]) -> None:
    process = spawn(shell(place, "sleep 600 & echo $!; trap '' TERM; while :; do sleep 0.05; done"))
    eventually(lambda: log_tail(place / "child.log"))
    grandchild = int(log_tail(place / "child.log"))
    assert end(process, signal.SIGTERM, grace_seconds=0.2) == -signal.SIGKILL
    eventually(lambda: identity(grandchild) is None)


def test_a_child_that_obeys_is_not_killed(place: Path) -> None:
    process = spawn(shell(place, "exec sleep 600"))
    assert end(process, signal.SIGTERM, grace_seconds=30.0) == -signal.SIGTERM
    assert await_end(process, 0.0) == -signal.SIGTERM


def test_a_process_with_a_recycled_number_is_not_touched(place: Path) -> None:
    process = spawn(shell(place, "exec sleep 600"))
    end_stranger(process.pid, "another start", signal.SIGKILL, grace_seconds=1.0)
    assert process.poll() is None
    known_as = identity(process.pid)
    assert known_as is not None
    end_stranger(process.pid, known_as, signal.SIGTERM, grace_seconds=30.0)
    assert process.wait(1.0) == -signal.SIGTERM
    assert identity(process.pid) is None


def test_a_thread_may_not_start_children(place: Path) -> None:
    errors: list[BaseException] = []

    def try_it() -> None:
        try:
            spawn(shell(place, "true"))
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert len(errors) == 1
