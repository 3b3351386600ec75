"""Our service, in a temporary home and with one worker, as its users reach it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx

from benchmarks.service.load import exchange
from benchmarks.service.processes import family

__all__ = ["Service", "to_the_end"]

# Settings, not code: as large an upload as is measured, and a queue that takes every round's jobs.
_SETTINGS = {"SOFTREG_MAX_UPLOAD_BYTES": str(2**30), "SOFTREG_MAX_QUEUED_JOBS": "1000000"}
_POLL_SECONDS = 0.005


class Service:
    """Started by `with`, stopped at its end."""

    def __enter__(self) -> Self:
        self.home = Path(tempfile.mkdtemp(prefix="softreg-bench-"))
        started = time.perf_counter()
        self._softreg("up", "--port", "0", "--detach")
        self.start_seconds = time.perf_counter() - started
        status = json.loads(self._softreg("status", "--format", "json"))
        self.port = int(status["base_url"].rpartition(":")[2])
        self._pids = {process["name"]: int(process["pid"]) for process in status["processes"]}
        key = Path(status["api_key_file"]).read_text(encoding="utf-8").strip()
        self.headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx.Client(base_url=status["base_url"], headers=self.headers, timeout=300, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._softreg("down")
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def api(self) -> int:
        """The process that answers HTTP."""
        return self._pids["api"]

    @property
    def processes(self) -> list[int]:
        """API, keeper, supervisor and its runner; not the servers."""
        return [pid for name in ("api", "keeper", "worker") for pid in family(self._pids[name])]

    def restart_seconds(self) -> float:
        """From `up` to ready in a home that was used before; the service is another one afterwards."""
        self._softreg("down")
        started = time.perf_counter()
        self._softreg("up", "--port", str(self.port), "--detach")
        seconds = time.perf_counter() - started
        status = json.loads(self._softreg("status", "--format", "json"))
        self._pids = {process["name"]: int(process["pid"]) for process in status["processes"]}
        return seconds

    def fetch(self, path: str) -> int:
        """Download and drop; the bytes of the answer's body."""
        status, received = exchange(self.port, "GET", path, self.headers)
        if status != 200:
            raise SystemExit(f"GET {path}: {status}")
        return received

    def upload(self, data: bytes) -> None:
        """Upload an NPZ file as a dataset."""
        headers = {**self.headers, "Content-Type": "application/octet-stream"}
        status, _ = exchange(self.port, "POST", "/v1/datasets?format=npz", headers, data)
        if status != 201:
            raise SystemExit(f"POST /v1/datasets: {status}")

    def _softreg(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "softreg", *arguments, "--home", str(self.home)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **_SETTINGS})
        return done.stdout


def to_the_end(
    client: httpx.Client, body: dict[str, Any], poll_seconds: float = _POLL_SECONDS
) -> tuple[float, dict[str, Any]]:
    """Seconds from before the submit to the reply that says that the job is over, and the job."""
    started = time.perf_counter()
    job = client.post("/v1/jobs", json=body).raise_for_status().json()
    while not job["terminal"]:
        time.sleep(poll_seconds)
        job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    seconds = time.perf_counter() - started
    if job["state"] != "succeeded":
        raise SystemExit(f"the job {job['state']}: {job['error']}")
    return seconds, job
