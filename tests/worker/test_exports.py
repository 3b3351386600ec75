"""A model's further files come after the job: built by a real worker, also when what builds them is killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import onnxruntime
from sqlalchemy import select

from softreg_core import load
from softreg_jobs import blobs, queries, store
from softreg_jobs.keys import DEFAULT_TENANT
from softreg_jobs.records import Export, Model
from softreg_jobs.states import JobState
from softreg_jobs.tables import exports

SHORT = {"training": {"epochs": 1}, "export": ["onnx"]}


def model_of(site, job_id: str) -> Model:
    model_id = site.job(job_id).model_id
    with site.engine.connect() as connection:
        return queries.get_model(connection, DEFAULT_TENANT, model_id)


def wait_for_exports(site, job_id: str, seconds: float = 90.0) -> tuple[Export, ...]:
    """Until none is building any more."""
    site.wait(job_id, lambda _: all(export.state != "building" for export in model_of(site, job_id).exports), seconds)
    return tuple(model_of(site, job_id).exports)


def claims(site) -> list[tuple[int, int]]:
    with site.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(exports.c.fence, exports.c.tries))]


def wait_for_claim(site, fence: int) -> None:
    deadline = time.monotonic() + 60.0
    while not any(found >= fence for found, _ in claims(site)):
        assert time.monotonic() < deadline, site.logs()
        time.sleep(0.05)


def test_the_onnx_file_of_a_job_answers_as_the_model_does(site, tmp_path: Path) -> None:
    site.keeper()
    site.worker()
    job_id = site.submit(SHORT)
    job = site.wait_for_end(job_id)
    assert job.state is JobState.SUCCEEDED, (job.error, site.logs())
    assert [export.name for export in model_of(site, job_id).exports] == ["model.onnx"]
    (export,) = wait_for_exports(site, job_id)
    assert (export.state, export.reason) == ("ready", None), site.logs()
    assert export.facts is not None
    assert export.facts["largest_difference"] < 1e-4
    with site.engine.connect() as connection:
        for file in model_of(site, job_id).files:
            blobs.save_to(connection, file.blob, tmp_path / file.name)
    model = load(tmp_path)
    rows = np.random.default_rng(0).uniform(0.0, 16.0, (50, 64))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"numbers": rows})
    assert (np.asarray(model.labels)[scores.argmax(axis=1)] == model.predict(rows)).all()
    # One never asked for at submit, on the same worker.
    with site.engine.begin() as connection:
        store.want_export(connection, job.model_id, "model.pt2")
    assert [export.state for export in wait_for_exports(site, job_id)] == ["ready", "ready"], site.logs()


def test_a_killed_runner_or_worker_does_not_lose_the_file(site) -> None:
    site.keeper()
    worker = site.worker()
    job_id = site.submit(SHORT)
    site.wait(job_id, lambda job: job.finished_at is not None)
    wait_for_claim(site, 1)
    site.runner_of(worker).kill()
    wait_for_claim(site, 2)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    site.worker()
    (export,) = wait_for_exports(site, job_id)
    assert export.state == "ready", site.logs()
    ((fence, tries),) = claims(site)
    assert (fence, tries) >= (2, 2)
    assert site.job(job_id).state is JobState.SUCCEEDED


def test_a_stopping_worker_gives_the_file_back_and_it_does_not_count(site) -> None:
    site.keeper()
    worker = site.worker()
    job_id = site.submit(SHORT)
    site.wait(job_id, lambda job: job.finished_at is not None)
    wait_for_claim(site, 1)
    worker.terminate()
    assert worker.wait(20) == 0
    site.worker()
    (export,) = wait_for_exports(site, job_id)
    assert export.state == "ready", site.logs()
