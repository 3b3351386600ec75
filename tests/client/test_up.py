"""`softreg up` with everything that it really starts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from softreg.http import Api


def softreg(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SOFTREG_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "softreg", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={**variables, **environment},
    )


def status(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(softreg("status", "--home", str(home), "--format", "json").stdout)
    return found


def jobs_with(base_url: str, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{base_url}/v1/jobs", headers=headers, trust_env=False).status_code


def test_up_from_nothing_twice(place: Path) -> None:
    home = place / "home"
    options = ("up", "--home", str(home), "--port", "0", "--detach")
    try:
        first = softreg(*options)
        assert first.returncode == 0, first.stderr
        key = re.findall(r"sk_\S+", first.stdout)
        assert len(key) == 1
        assert (home / "api_key").read_text().strip() == key[0]
        assert (home / "api_key").stat().st_mode & 0o777 == 0o600
        assert all(key[0].encode() not in log.read_bytes() for log in (home / "logs").iterdir())
        found = status(home)
        assert found["state"] == "running"
        assert f"curl {found['base_url']}/v1/jobs" in first.stdout
        assert jobs_with(found["base_url"], key[0]) == 200
        assert jobs_with(found["base_url"], "sk_wrong") == 401
        family = [psutil.Process(process["pid"]) for process in found["processes"]]
        family += [child for process in list(family) for child in process.children(recursive=True)]
        assert softreg("down", "--home", str(home)).returncode == 0
        assert not psutil.wait_procs(family, timeout=20)[1]

        second = softreg(*options)
        assert second.returncode == 0, second.stderr
        assert "sk_" not in second.stdout
        assert jobs_with(status(home)["base_url"], key[0]) == 200
        made = softreg("keys", "create", "--home", str(home), "--name", "second")
        assert jobs_with(status(home)["base_url"], made.stdout.strip()) == 200
    finally:
        softreg("down", "--home", str(home))
    assert softreg("status", "--home", str(home)).returncode == 3


def test_a_killed_supervisor_leaves_nothing_even_in_the_middle_of_a_job(
    place: Path, eventually: Callable[..., None]
) -> None:
    home = place / "home"
    options = ("up", "--home", str(home), "--port", "0", "--detach")
    long_job = {"dataset": "sample:digits", "training": {"epochs": 10_000}}
    try:
        assert softreg(*options).returncode == 0
        supervisor = psutil.Process(json.loads((home / "state.json").read_text())["supervisor"]["pid"])
        with Api(status(home)["base_url"], (home / "api_key").read_text().strip()) as api:
            job_id = api.submit(long_job)["id"]
            eventually(lambda: api.job(job_id)["progress"]["step"] > 0, 60.0)
        family = [supervisor, *supervisor.children(recursive=True)]
        assert len(family) > 7
        supervisor.kill()
        assert not psutil.wait_procs(family, timeout=30)[1]

        assert softreg(*options).returncode == 0
        with Api(status(home)["base_url"], (home / "api_key").read_text().strip()) as api:
            assert api.job(job_id)["state"] in ("queued", "running")
    finally:
        softreg("down", "--home", str(home))


def test_a_strange_path_and_a_dead_redis_are_no_obstacle(place: Path) -> None:
    home = place / "s p \u65e5\u672c, 100%41@x"
    dead = "redis://:secret@127.0.0.1:1/0"
    try:
        result = softreg(
            "up", "--home", str(home), "--port", "0", "--detach", SOFTREG_REDIS_URL=dead, TMPDIR=str(place)
        )
        assert result.returncode == 0, result.stderr
        masked = "redis://:***@127.0.0.1:1/0"
        assert result.stderr == f"Warning: Redis at {masked} does not answer: jobs are accepted and wait.\n"
        found = status(home)
        assert found["state"] == "running"
        assert jobs_with(found["base_url"], (home / "api_key").read_text().strip()) == 200
        shown = softreg("status", "--home", str(home))
        assert shown.returncode == 0
        assert "database ok" in shown.stdout
        assert "redis failed" in shown.stdout
    finally:
        softreg("down", "--home", str(home))


def test_a_strange_path_trains(place: Path, eventually: Callable[..., None]) -> None:
    home = place / "\u00fcn\u00ef & at@a:b,c=d"
    try:
        result = softreg("up", "--home", str(home), "--port", "0", "--detach", TMPDIR=str(place))
        assert (result.returncode, result.stderr) == (0, "")
        with Api(status(home)["base_url"], (home / "api_key").read_text().strip()) as api:
            job_id = api.submit({"dataset": "sample:digits", "training": {"epochs": 1}})["id"]
            eventually(lambda: api.job(job_id)["state"] == "succeeded", 60.0)
    finally:
        softreg("down", "--home", str(home))


def test_a_detached_start_that_fails_says_why(place: Path) -> None:
    home = place / "home"
    result = softreg("up", "--home", str(home), "--detach", SOFTREG_DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert result.returncode == 1
    assert "refused" in result.stderr
    assert "Traceback" not in result.stderr
    assert status(home)["state"] == "stopped"
