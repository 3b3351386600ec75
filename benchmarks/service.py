"""Submit to succeeded: how long a one-epoch job takes on a warm worker, over HTTP, everything included.

    make bench-service

Starts a service of its own in a temporary home, warms it with two jobs, then submits 20 jobs one after another. Each
is polled every 5 ms until it is terminal; the time runs from before the submit to that reply.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

JOBS = 20
WARM_UP = 2
BODY = {"dataset": "sample:digits", "training": {"epochs": 1}}
TARGET_SECONDS = 0.3


def softreg(*arguments: str) -> str:
    """Run the command line; its output."""
    command = [sys.executable, "-m", "softreg", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def one_job(client: httpx.Client) -> float:
    """Seconds from submit to a terminal reply."""
    started = time.perf_counter()
    job = client.post("/v1/jobs", json=BODY).raise_for_status().json()
    while not job["terminal"]:
        time.sleep(0.005)
        job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    if job["state"] != "succeeded":
        raise SystemExit(f"the job {job['state']}: {job['error']}")
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    home = Path(tempfile.mkdtemp(prefix="softreg-bench-"))
    softreg("up", "--home", str(home), "--port", "0", "--detach")
    try:
        status = json.loads(softreg("status", "--home", str(home), "--format", "json"))
        key = Path(status["api_key_file"]).read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=status["base_url"], headers=headers, timeout=60, trust_env=False) as client:
            for _ in range(WARM_UP):
                one_job(client)
            seconds = sorted(one_job(client) for _ in range(JOBS))
    finally:
        softreg("down", "--home", str(home))
        shutil.rmtree(home, ignore_errors=True)
    median = statistics.median(seconds)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"submit to succeeded, one epoch of sample:digits, warm worker, {JOBS} jobs one after another:")
    print(f"  min {seconds[0] * 1000:.0f} ms, median {median * 1000:.0f} ms, max {seconds[-1] * 1000:.0f} ms")
    print(f"  asked: median under {TARGET_SECONDS * 1000:.0f} ms: {'reached' if median < TARGET_SECONDS else 'MISSED'}")


if __name__ == "__main__":
    main()
