"""Ray Jobs: from the submit of `true` to a status that says it is over, polled as our jobs are."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Self

from benchmarks.service.processes import end_tree, family
from softreg.readiness import free_port

__all__ = ["Ray"]

# Runs in the environment that has Ray: a line in, a job, its seconds out.
_CLIENT = """
import sys, time
from ray.job_submission import JobSubmissionClient
for _ in range(240):
    try:
        client = JobSubmissionClient(sys.argv[1])
        break
    except Exception:
        time.sleep(0.25)
print("ready", flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    job = client.submit_job(entrypoint="true")
    while not (status := client.get_job_status(job)).is_terminal():
        time.sleep(0.005)
    seconds = time.perf_counter() - started
    print(seconds if status == "SUCCEEDED" else "failed", flush=True)
"""


class Ray:
    """A head node with its dashboard, started by `with`, stopped at its end.

    Args:
        python: of the environment that has it.
    """

    def __init__(self, python: Path) -> None:
        self._python = python

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # its sockets' paths must be short
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
        port, dashboard = free_port("127.0.0.1", 0), free_port("127.0.0.1", 0)
        places = [f"--port={port}", f"--dashboard-port={dashboard}", f"--temp-dir={self._folder}"]
        command = [str(self._python.with_name("ray")), "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
        started = time.perf_counter()
        with (self._folder / "log").open("wb") as log:
            self._head = subprocess.Popen(
                [*command, *places], stdout=log, stderr=log, env=environment, start_new_session=True
            )
            self._client = subprocess.Popen(
                [self._python, "-c", _CLIENT, f"http://127.0.0.1:{dashboard}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        if self._line() != "ready":
            told = (self._folder / "log").read_text()[-2000:]
            self.__exit__()
            raise RuntimeError(f"Ray did not start:\n{told}")
        self.start_seconds = time.perf_counter() - started
        return self

    def __exit__(self, *_: object) -> None:
        end_tree(self._client)
        end_tree(self._head)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def processes(self) -> list[int]:
        """All of the head node."""
        return family(self._head.pid)

    def true_seconds(self) -> float:
        """From submit to done of `true`."""
        stdin = _pipe(self._client.stdin)
        stdin.write(b"\n")
        stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        return _pipe(self._client.stdout).readline().decode().strip()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # asked for above
    return stream
