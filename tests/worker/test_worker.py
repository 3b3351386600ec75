"""Jobs through real Celery workers and runners: they finish, and they survive what kills them."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import psutil
import redis
from sqlalchemy import func, select

from softreg_core import load
from softreg_jobs import blobs, queries, store
from softreg_jobs.keys import DEFAULT_TENANT
from softreg_jobs.records import Job, Model
from softreg_jobs.states import JobState
from softreg_jobs.tables import attempts, checkpoints

SHORT = {"training": {"epochs": 3}, "checkpoints": {"every_epochs": 1}}
ENDLESS = {"training": {"epochs": 1_000_000}, "checkpoints": {"every_epochs": 5}}


def downloaded(site, job: Job, directory: Path) -> Model:
    assert job.model_id is not None
    with site.engine.connect() as connection:
        model = queries.get_model(connection, DEFAULT_TENANT, job.model_id)
        for file in model.files:
            blobs.save_to(connection, file.blob, directory / file.name)
    return model


def has_checkpoint(job: Job) -> bool:
    return job.last_checkpoint_id is not None


def outcomes(site) -> list[tuple[str | None, int | None]]:
    with site.engine.connect() as connection:
        rows = connection.execute(select(attempts.c.outcome, attempts.c.signal).order_by(attempts.c.fence))
        return [(row.outcome, row.signal) for row in rows]


def test_a_job_is_trained_and_its_model_loads(site, tmp_path: Path) -> None:
    site.keeper()
    site.worker()
    divergence = {"kind": "article", "variance": {"kind": "residual", "floor": 0.5}}
    job = site.wait_for_end(
        site.submit(SHORT | {"loss": {"alpha": 6, "alpha_units": "none", "divergence": divergence}})
    )
    assert job.state is JobState.SUCCEEDED, (job.error, site.logs())
    assert job.progress is not None
    assert job.progress["step"] == job.progress["total_steps"]
    model = downloaded(site, job, tmp_path)
    assert model.metrics["val.accuracy"] == job.metrics["val.accuracy"]["best"]
    report = load(tmp_path).document.report
    assert report is not None
    assert model.report == report.model_dump(mode="json")
    assert set(report.parts) == {"train", "validation"}
    assert load(tmp_path).predict([[0.0] * 64])[0] in "0123456789"
    with site.engine.connect() as connection:
        series = queries.metric_series(connection, job.id)
        events = queries.events_of(connection, job.id, after=None, limit=100).items
    assert [len(steps) for steps, _ in (series["train.loss"], series["val.accuracy"])] == [3, 3]
    ratios = [6.0 / value for value in series["train.sigma2"][1]]
    told = {event.data["code"]: event.data["epoch"] for event in events if event.type == "warning"}
    bounds = {"article_pushes_outward": 4.0, "article_not_convex": 2.638}
    assert set(told) <= set(bounds)
    assert told
    assert all(ratios[epoch - 1] > bounds[code] for code, epoch in told.items())


def test_a_killed_worker_comes_back_and_goes_on_from_the_checkpoint(site) -> None:
    site.keeper()
    worker = site.worker()
    job_id = site.submit({"training": {"epochs": 200}, "checkpoints": {"every_epochs": 2}})
    site.wait(job_id, has_checkpoint)
    runner = site.runner_of(worker)
    worker.kill()
    worker.wait()
    psutil.wait_procs([runner], timeout=5)
    assert not runner.is_running()
    site.worker()
    job = site.wait_for_end(job_id, 90)
    assert job.state is JobState.SUCCEEDED, (job.error, site.logs())
    assert outcomes(site) == [("lease_expired", None), ("succeeded", None)]
    with site.engine.connect() as connection:
        assert connection.execute(select(attempts.c.from_step).order_by(attempts.c.fence)).scalars().all()[1] > 0
        steps = queries.metric_series(connection, job_id)["train.loss"][0]
    assert steps == sorted(set(steps))
    assert len(steps) == 200


def test_a_killed_runner_is_replaced_at_once(site) -> None:
    site.keeper()
    worker = site.worker()
    job_id = site.submit({"training": {"epochs": 200}, "checkpoints": {"every_epochs": 2}})
    site.wait(job_id, has_checkpoint)
    site.runner_of(worker).kill()
    job = site.wait_for_end(job_id, 90)
    assert job.state is JobState.SUCCEEDED, (job.error, site.logs())
    assert outcomes(site) == [("runner_died", signal.SIGKILL), ("succeeded", None)]


def test_cancelling_stops_the_runner_and_keeps_it_warm(site) -> None:
    site.keeper()
    worker = site.worker()
    job_id = site.submit(ENDLESS)
    site.wait(job_id, has_checkpoint)
    runner = site.runner_of(worker)
    with site.engine.begin() as connection:
        store.request_cancel(connection, DEFAULT_TENANT, job_id)
    job = site.wait_for_end(job_id, 10)
    assert (job.state, job.termination_reason) == (JobState.CANCELLED, "cancelled")
    assert site.wait_for_end(site.submit(SHORT)).state is JobState.SUCCEEDED
    assert site.runner_of(worker).pid == runner.pid


def test_a_non_finite_loss_fails_with_the_step_and_keeps_the_last_good_checkpoint(site) -> None:
    site.keeper()
    site.worker()
    spec = {
        "training": {"epochs": 50},
        # None is due before it fails: what is kept was kept because it failed.
        "checkpoints": {"every_epochs": 1000},
        "net": {"hidden": []},
        "optimizer": {"kind": "sgd", "learning_rate": 0.3},
        "loss": {"divergence": None},
    }
    job = site.wait_for_end(site.submit(spec))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error["code"], job.error["fault"]) == ("non_finite_loss", "user")
    assert job.error["step"] >= 1
    assert job.error["term"] == "base"
    with site.engine.connect() as connection:
        kept = queries.checkpoints_of(connection, job.id, limit=10).items
    assert kept
    assert max(checkpoint.step for checkpoint in kept) < job.error["step"]


def test_a_stopping_worker_saves_and_gives_the_job_back(site) -> None:
    site.keeper()
    worker = site.worker()
    # No checkpoint comes by itself: what the job goes on from was saved by the stop.
    job_id = site.submit({"training": {"epochs": 1_000_000}, "checkpoints": {"every_epochs": 1_000_000}})
    site.wait(job_id, lambda job: (job.progress or {}).get("epoch", 0) > 2)
    worker.terminate()
    assert worker.wait(20) == 0
    job = site.job(job_id)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0), site.logs()
    assert outcomes(site) == [("drained", None)]
    with site.engine.connect() as connection:
        saved = connection.execute(select(func.max(checkpoints.c.step))).scalar_one()
    assert job.progress is not None
    assert saved >= job.progress["step"] > 0
    site.worker()
    site.wait(job_id, lambda job: job.state is JobState.RUNNING)
    with site.engine.connect() as connection:
        assert connection.execute(select(func.max(attempts.c.from_step))).scalar_one() == saved


def test_a_wish_to_cancel_reaches_a_runner_that_still_imports_torch(site) -> None:
    site.keeper()
    worker = site.worker()
    job_id = site.submit(ENDLESS)
    site.wait(job_id, lambda job: job.state is JobState.RUNNING)
    runner = site.runner_of(worker)
    with site.engine.begin() as connection:
        store.request_cancel(connection, DEFAULT_TENANT, job_id)
    assert site.wait_for_end(job_id, 30).state is JobState.CANCELLED
    # It heard the wish at its first step: it was not killed for being deaf.
    assert site.runner_of(worker).pid == runner.pid


def test_a_flushed_redis_loses_no_job(site) -> None:
    job_ids = [site.submit(SHORT) for _ in range(3)]
    site.keeper()
    client = redis.Redis.from_url(site.settings.redis_url.get_secret_value())
    site.wait(job_ids[0], lambda _: client.llen("softreg.auto") > 0)
    client.flushall()
    client.close()
    site.worker()
    for job_id in job_ids:
        assert site.wait_for_end(job_id).state is JobState.SUCCEEDED


def test_the_runner_has_no_credentials(site) -> None:
    site.keeper()
    worker = site.worker()
    site.wait_for_end(site.submit(SHORT))
    runner = site.runner_of(worker)
    environment = Path(f"/proc/{runner.pid}/environ").read_bytes()
    assert set(re.findall(rb"SOFTREG_\w+", environment)) == {b"SOFTREG_CACHE_BYTES", b"SOFTREG_CACHE_DIRECTORY"}
    assert site.settings.database_url.get_secret_value().encode() not in environment
    assert os.getsid(runner.pid) == runner.pid
    assert not [c for c in runner.net_connections(kind="all") if "PGSQL" in str(c.raddr) or "valkey" in str(c.raddr)]


def test_a_worker_whose_runner_does_not_start_takes_no_job(site, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcuda is broken')")
    site.keeper()
    site.worker(PYTHONPATH=str(tmp_path))
    job_id = site.submit(SHORT)
    site.wait(job_id, lambda _: "sick" in site.worker_states())
    assert site.job(job_id).state is JobState.QUEUED
    site.worker()
    assert site.wait_for_end(job_id).state is JobState.SUCCEEDED
    assert outcomes(site) == [("succeeded", None)]
