"""A machine with CUDA devices, through real Celery: who gets which job, and what a device in error costs.

With `fake`, two devices that are none, of which workers, runners and ledger know no better; with `real`, those that are
there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from softreg_jobs import store
from softreg_jobs.keys import DEFAULT_TENANT
from softreg_jobs.records import Job
from softreg_jobs.settings import Settings
from softreg_jobs.states import JobState
from softreg_jobs.tables import attempts, workers
from tests.worker.conftest import Site, open_site
from worker.devices import cuda_devices

HERE = Path(__file__).parent
BREAKS_ONCE = 4242
ENDLESS = {"epochs": 1_000_000}


class Machine:
    """Workers, one for each CUDA device and one for the CPU."""

    def __init__(self, site: Site, mode: str, devices: int) -> None:
        self.site = site
        self.mode = mode
        self.cuda = [f"cuda:{number}" for number in range(devices)]
        self.workers = {device: self.worker(device) for device in [*self.cuda, "cpu"]}

    def worker(self, device: str) -> subprocess.Popen[bytes]:
        paths = [str(HERE.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        return self.site.start(
            str(HERE / "worker_program.py"),
            self.mode,
            SOFTREG_DEVICE=device,
            SOFTREG_WORKERS_HERE="3",
            PYTHONPATH=os.pathsep.join(paths),
        )

    def runner(self, device: str) -> psutil.Process:
        children = psutil.Process(self.workers[device].pid).children(recursive=True)
        (runner,) = [child for child in children if str(HERE / "runner_program.py") in child.cmdline()]
        return runner

    def submit(self, device: str, **training: object) -> str:
        return self.site.submit({"training": {"epochs": 1, **training}, "resources": {"device": device}})

    def trained_on(self, *job_ids: str) -> list[str]:
        """The devices of all attempts at these jobs."""
        with self.site.engine.connect() as connection:
            rows = connection.execute(
                select(attempts.c.device).where(attempts.c.job_id.in_(job_ids)).order_by(attempts.c.fence)
            )
            return [str(device) for device in rows.scalars()]

    def outcomes(self, job_id: str) -> list[str | None]:
        with self.site.engine.connect() as connection:
            rows = connection.execute(select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.fence))
            return [row.outcome for row in rows]

    def state_of(self, device: str) -> set[str]:
        with self.site.engine.connect() as connection:
            rows = connection.execute(select(workers.c.state, workers.c.devices))
            return {row.state for row in rows if device in row.devices}

    def cancel(self, *job_ids: str) -> None:
        for job_id in job_ids:
            with self.site.engine.begin() as connection:
                store.request_cancel(connection, DEFAULT_TENANT, job_id)
        for job_id in job_ids:
            self.site.wait_for_end(job_id)


@pytest.fixture(scope="module", params=["fake", "real"])
def machine(request: pytest.FixtureRequest, new_database: Callable[..., Settings]) -> Iterator[Machine]:
    """Its workers are all ready."""
    devices = 2 if request.param == "fake" else cuda_devices()
    if not devices:
        pytest.skip("no CUDA device on this machine")
    site = open_site(new_database)
    try:
        site.keeper()
        machine = Machine(site, request.param, devices)
        for device in machine.workers:
            job = site.wait_for_end(machine.submit(device), 120)
            assert job.state is JobState.SUCCEEDED, (job.error, site.logs())
        yield machine
    finally:
        site.stop()


def is_running(job: Job) -> bool:
    return job.state is JobState.RUNNING


def test_a_job_reaches_only_workers_that_fit(machine: Machine) -> None:
    fitting = {device: {device} for device in machine.workers}
    fitting |= {"cuda": set(machine.cuda), "auto": set(machine.workers)}
    job_ids = {kind: [machine.submit(kind) for _ in range(3)] for kind in fitting}
    for kind, ids in job_ids.items():
        for job_id in ids:
            assert machine.site.wait_for_end(job_id).state is JobState.SUCCEEDED, machine.site.logs()
        assert set(machine.trained_on(*ids)) <= fitting[kind], kind


def test_a_device_runs_one_job_at_a_time(machine: Machine) -> None:
    running = [machine.submit("cuda", **ENDLESS) for _ in machine.cuda]
    for job_id in running:
        machine.site.wait(job_id, is_running)
    assert sorted(machine.trained_on(*running)) == machine.cuda
    waiting = machine.submit("cuda")
    # Other devices are free, and doorbells are rung: it waits for a CUDA device all the same.
    assert machine.site.wait_for_end(machine.submit("cpu")).state is JobState.SUCCEEDED
    assert machine.site.job(waiting).state is JobState.QUEUED
    (freed,) = machine.trained_on(running[0])
    machine.cancel(running[0])
    assert machine.site.wait_for_end(waiting).state is JobState.SUCCEEDED
    assert machine.trained_on(waiting) == [freed]
    machine.cancel(*running[1:])


def test_a_runner_sees_its_own_device_alone(machine: Machine) -> None:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = given.split(",") if given is not None and machine.mode == "real" else ["0", "1", "2", "3"]
    for device, visible in zip(machine.workers, [*seen[: len(machine.cuda)], ""], strict=True):
        assert machine.runner(device).environ()["CUDA_VISIBLE_DEVICES"] == visible, device


def test_a_second_worker_for_a_device_is_refused(machine: Machine) -> None:
    second = machine.worker(machine.cuda[0])
    assert second.wait(60) != 0
    assert f"SOFTREG_DEVICE: {machine.cuda[0]} is another worker's" in machine.site.logs()


def test_a_cuda_error_costs_the_runner_and_neither_the_job_nor_the_next_one(machine: Machine) -> None:
    device = machine.cuda[-1]
    before = {name: machine.runner(name).pid for name in machine.workers}
    job_id = machine.submit(device, seed=BREAKS_ONCE)
    job = machine.site.wait_for_end(job_id)
    assert job.state is JobState.SUCCEEDED, (job.error, machine.site.logs())
    assert machine.outcomes(job_id) == ["runner_died", "succeeded"]
    with machine.site.engine.connect() as connection:
        told = connection.execute(select(attempts.c.log_tail).where(attempts.c.outcome == "runner_died")).scalar_one()
    assert "CUDA error" in told
    assert machine.site.wait_for_end(machine.submit(device)).state is JobState.SUCCEEDED
    after = {name: machine.runner(name).pid for name in machine.workers}
    assert {name for name in after if after[name] != before[name]} == {device}


def test_a_device_in_error_takes_no_job_until_it_works_again(machine: Machine) -> None:
    if len(machine.cuda) < 2:
        pytest.skip("one CUDA device: none is left for the jobs")
    broken = machine.site.settings.spool_dir / f"broken-{machine.runner('cuda:1').environ()['CUDA_VISIBLE_DEVICES']}"
    job_id = machine.submit("cuda:1", **ENDLESS)
    machine.site.wait(job_id, lambda job: (job.progress or {}).get("epoch", 0) > 0)
    broken.touch()
    machine.site.wait(job_id, lambda _: machine.state_of("cuda:1") == {"sick"})
    assert machine.site.job(job_id).state is JobState.QUEUED
    elsewhere = [machine.submit("cuda") for _ in range(3)]
    for other in elsewhere:
        assert machine.site.wait_for_end(other).state is JobState.SUCCEEDED
    assert "cuda:1" not in machine.trained_on(*elsewhere)
    assert machine.outcomes(job_id) == ["runner_died"]
    broken.unlink()
    machine.site.wait(job_id, is_running)
    machine.cancel(job_id)
