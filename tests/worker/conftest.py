"""Keeper and worker as real processes on a real ledger, with short leases so that recovery is seen soon."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, select

from softreg_core.data.parse import parse_sample
from softreg_core.spec import TrainSpec, resolve
from softreg_jobs import queries, store
from softreg_jobs.database import engine_of
from softreg_jobs.datasets import add_dataset, get_dataset
from softreg_jobs.keys import DEFAULT_TENANT
from softreg_jobs.records import Job
from softreg_jobs.settings import Settings
from softreg_jobs.tables import workers

NewDatabase = Callable[..., Settings]


class Site:
    """A ledger and the processes that work on it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine: Engine = engine_of(settings)
        self._processes: list[subprocess.Popen[bytes]] = []

    def environment(self) -> dict[str, str]:
        values = {
            name: getattr(value, "get_secret_value", lambda value=value: value)()
            for name, value in self.settings
            if value is not None
        }
        return {**os.environ, **{f"SOFTREG_{name.upper()}": str(value) for name, value in values.items()}}

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.settings.spool_dir / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**self.environment(), **environment},
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        self._processes.append(process)
        return process

    def worker(self, **environment: str) -> subprocess.Popen[bytes]:
        return self.start("-m", "worker", **environment)

    def worker_states(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(workers.c.state)).scalars())

    def keeper(self) -> subprocess.Popen[bytes]:
        return self.start("-c", "from softreg_jobs.keeper import main; main()")

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.settings.spool_dir.glob("*.log")))

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.engine.dispose()

    def submit(self, spec: Mapping[str, Any] | None = None, dataset: str = "sample:digits") -> str:
        """Queue a job; a long one would be compiled first, unless it names its engine."""
        given = dict(spec or {})
        given["training"] = {"engine": "eager"} | given.get("training", {})
        with self.engine.begin() as connection:
            report = get_dataset(connection, DEFAULT_TENANT, dataset).report
            resolution = resolve(TrainSpec.model_validate(given), report)
            new = store.NewJob(tenant_id=DEFAULT_TENANT, dataset_id=dataset, resolution=resolution)
            return store.submit(connection, new, max_queued=1000, alive_seconds=15.0).job.id

    def job(self, job_id: str) -> Job:
        with self.engine.connect() as connection:
            return queries.get_job(connection, DEFAULT_TENANT, job_id)

    def wait(self, job_id: str, condition: Callable[[Job], bool], seconds: float = 60.0) -> Job:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            job = self.job(job_id)
            if condition(job):
                return job
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s in vain: {self.job(job_id)}\n{self.logs()}")

    def wait_for_end(self, job_id: str, seconds: float = 60.0) -> Job:
        return self.wait(job_id, lambda job: job.finished_at is not None, seconds)

    def runner_of(self, worker: subprocess.Popen[bytes]) -> psutil.Process:
        """The process with torch below a worker."""
        found = [
            child for child in psutil.Process(worker.pid).children(recursive=True) if "worker.runner" in child.cmdline()
        ]
        assert len(found) == 1, found
        return found[0]


def open_site(new_database: NewDatabase) -> Site:
    """A migrated ledger with the digits, and nothing running yet; the caller stops it."""
    settings = new_database(
        lease_seconds=3.0,
        beat_seconds=0.5,
        ring_again_seconds=0.5,
        cancel_grace_seconds=20.0,
        metrics_flush_seconds=0.1,
        log_level="info",
    )
    site = Site(settings)
    path = settings.spool_dir / "digits"
    report = parse_sample("digits", path)
    add_dataset(
        site.engine,
        path,
        tenant_id=None,
        name="digits",
        sha256="0" * 64,
        size=path.stat().st_size,
        report=report,
        dataset_id="sample:digits",
    )
    return site


@pytest.fixture
def site(new_database: NewDatabase) -> Iterator[Site]:
    """A ledger that is the test's own."""
    site = open_site(new_database)
    yield site
    site.stop()
