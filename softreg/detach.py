"""`softreg up --detach` and `softreg down`: start or end the supervisor of a home, and wait until it is done."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping

from softreg.errors import LocalError
from softreg.home import Home, Record
from softreg.local import end_leftovers
from softreg.logs import keep_small
from softreg.process import Command, end, spawn

__all__ = ["start_background", "stop"]

_POLL_SECONDS = 0.02
_START_TIMEOUT_SECONDS = 600.0  # above the sum of the supervisor's own limits
_STOP_TIMEOUT_SECONDS = 90.0  # above the sum of what the children may take before they are killed


def start_background(
    home: Home, port: int, workers: int, environment: Mapping[str, str], *, dies_with_caller: bool
) -> Record:
    """Start the supervisor as a background process and wait until the service is ready.

    Returns:
        Its record.

    Raises:
        LocalError: It ended or did not get ready; the message is what it printed.
    """
    # --quiet: what it prints goes to a log, where a key must never stand.
    options = ("--quiet", "--home", str(home.path), "--port", str(port), "--workers", str(workers))
    command = Command(
        name="supervisor",
        arguments=(sys.executable, "-P", "-m", "softreg", "up", *options),
        directory=home.path,
        log=home.log_of("supervisor"),
        environment=environment,
        orphan_signal=signal.SIGTERM if dies_with_caller else None,
    )
    with contextlib.suppress(OSError):
        keep_small(command.log)  # now, so that the place below stays the beginning of what it prints
    log_start = command.log.stat().st_size if command.log.exists() else 0
    process = spawn(command)
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    try:
        while process.poll() is None and time.monotonic() < deadline:
            record = home.running()
            if record is not None and record.supervisor.pid == process.pid and record.state == "running":
                process.returncode = 0  # it lives on by design: no warning about a child that nobody waited for
                return record
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        end(process, signal.SIGTERM, _STOP_TIMEOUT_SECONDS)
        raise
    if process.poll() is None:
        end(process, signal.SIGTERM, _STOP_TIMEOUT_SECONDS)
        raise LocalError(f"Not ready after {_START_TIMEOUT_SECONDS:.0f} seconds; the logs are in {home.logs}.")
    printed = command.log.read_bytes()[log_start:].decode(errors="replace").strip()
    raise LocalError(printed.removeprefix("Error: "))


def stop(home: Home) -> bool:
    """End the supervisor of `home` and wait until nothing of it runs.

    Returns:
        False when nothing ran.

    Raises:
        LocalError: It did not end in time.
    """
    record = home.running()
    if record is None:
        end_leftovers(home)
        return False
    os.kill(record.supervisor.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
    while record.supervisor.is_alive:
        if time.monotonic() > deadline:
            raise LocalError(f"The supervisor (pid {record.supervisor.pid}) does not end; see {home.logs}.")
        time.sleep(_POLL_SECONDS)
    with contextlib.suppress(ChildProcessError):  # the caller's own child, where the caller started it
        os.waitpid(record.supervisor.pid, 0)
    return True
