"""The whole way as a user goes it: real PostgreSQL, Valkey, uvicorn, keeper and Celery worker under `softreg up`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from sklearn.datasets import load_diabetes

import softreg_core

# Short leases, so that the loss of a worker is noticed soon.
SETTINGS = {"SOFTREG_LEASE_SECONDS": "3", "SOFTREG_BEAT_SECONDS": "0.5", "SOFTREG_RING_AGAIN_SECONDS": "0.5"}


def softreg(*arguments: str) -> str:
    command = [sys.executable, "-m", "softreg", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **SETTINGS}).stdout


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A running service."""
    path = Path(tempfile.mkdtemp(prefix="softreg-test-home-"))
    softreg("up", "--home", str(path), "--port", "0", "--detach")
    yield path
    softreg("down", "--home", str(path))
    shutil.rmtree(path)


def status(home: Path) -> dict:
    return json.loads(softreg("status", "--home", str(home), "--format", "json"))


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    """HTTP with the first key."""
    found = status(home)
    key = Path(found["api_key_file"]).read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=found["base_url"], headers=headers, timeout=30, trust_env=False) as client:
        yield client


def wait(client: httpx.Client, job_id: str, condition: Callable[[dict], bool], seconds: float = 90.0) -> dict:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        if condition(job):
            return job
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain: {job}")


def download(client: httpx.Client, job: dict, directory: Path) -> None:
    for name in ("model.safetensors", "model.json"):
        response = client.get(f"/v1/models/{job['model_id']}/files/{name}").raise_for_status()
        (directory / name).write_bytes(response.content)


def test_upload_submit_poll_download_load_predict(client: httpx.Client, tmp_path: Path) -> None:
    data = load_diabetes(scaled=False)
    names = (*data.feature_names, "progression")
    rows = np.column_stack([data.data, data.target])
    content = "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)])
    response = client.post("/v1/datasets", files={"file": ("diabetes.csv", content, "text/csv")})
    dataset = response.raise_for_status().json()
    body = {"dataset": dataset["id"], "task": {"target": "progression"}, "training": {"epochs": 20}}
    submitted = client.post("/v1/jobs", json=body)
    assert submitted.status_code == 201
    job = wait(client, submitted.json()["id"], lambda job: job["terminal"])
    assert job["state"] == "succeeded", job["error"]
    download(client, job, tmp_path)
    model = softreg_core.load(tmp_path)
    assert tuple(model.features) == tuple(data.feature_names)
    predicted = np.asarray(model.predict(data.data), dtype=float).ravel()
    # In the user's units: far closer than always saying the mean.
    assert np.mean((predicted - data.target) ** 2) < 0.6 * np.var(data.target)


def test_a_worker_killed_in_the_middle_is_replaced_and_the_job_succeeds(
    home: Path, client: httpx.Client, tmp_path: Path
) -> None:
    body = {"dataset": "sample:digits", "training": {"epochs": 250}, "checkpoints": {"every_epochs": 5}}
    job_id = client.post("/v1/jobs", json=body).raise_for_status().json()["id"]
    wait(client, job_id, lambda job: job["best_checkpoint_id"] is not None)
    (worker,) = (process["pid"] for process in status(home)["processes"] if process["name"] == "worker")
    psutil.Process(worker).kill()
    job = wait(client, job_id, lambda job: job["terminal"])
    assert job["state"] == "succeeded", job["error"]
    assert job["attempt"] == 2
    reasons = [transition["reason"] for transition in job["transitions"]]
    assert reasons == ["submitted", "claimed", "lease_expired", "claimed", "completed"]
    metrics = client.get(f"/v1/jobs/{job_id}/metrics").raise_for_status().json()
    assert len(metrics["steps"]) == 250
    download(client, job, tmp_path)
    assert softreg_core.load(tmp_path).metrics["val.accuracy"] == job["metrics"]["val.accuracy"]["best"]
