"""The ledger's moves on a real PostgreSQL: claims, fences, leases, endings, and what a lost worker may not do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update

from softreg_core.errors import IntegrityError
from softreg_jobs import blobs, queries, store
from softreg_jobs.errors import (
    FencedError,
    IdempotencyInFlightError,
    IdempotencyMismatchError,
    NotFoundError,
    QuotaError,
    StateConflictError,
)
from softreg_jobs.ids import new_id
from softreg_jobs.keys import DEFAULT_TENANT
from softreg_jobs.states import JobState
from softreg_jobs.store.ending import MAX_INFRA_FAULTS, MAX_STALLS
from softreg_jobs.tables import attempts, blob_chunks, checkpoints, job_events, jobs, leases, metrics, outbox
from softreg_jobs.tables import blobs as blobs_table

FACTS = store.AttemptFacts()


def state_of(engine: Engine, job_id: str) -> JobState:
    with engine.connect() as connection:
        return queries.get_job(connection, DEFAULT_TENANT, job_id).state


def uploaded(engine: Engine, tmp_path: Path, content: bytes = b"state") -> blobs.Blob:
    path = tmp_path / new_id("file")
    path.write_bytes(content)
    return blobs.upload(engine, path)


def save(
    engine: Engine, tmp_path: Path, mine: store.Claim, step: int, *, is_best: bool = False, keep_last: int = 2
) -> str:
    new = store.NewCheckpoint(uploaded(engine, tmp_path, b"step %d" % step), step, step // 10, {}, {}, is_best)
    with engine.begin() as connection:
        return store.publish_checkpoint(connection, mine, new, keep_last=keep_last)


def succeed(engine: Engine, tmp_path: Path, mine: store.Claim, model_id: str = "mdl_1") -> None:
    file = store.ModelFile("model.json", uploaded(engine, tmp_path), "application/json")
    result = store.Result(model_id, [file], {}, "completed")
    with engine.begin() as connection:
        store.succeed(connection, mine, result, FACTS)


# --- submit ----------------------------------------------------------------------------------------------------------


def test_a_submitted_job_has_its_first_event_and_a_doorbell(engine: Engine, submit) -> None:
    job_id = submit(device="cpu")
    with engine.connect() as connection:
        events = queries.events_of(connection, job_id, after=0, limit=10).items
        bells = connection.execute(select(outbox.c.topic, outbox.c.key)).all()
    assert [(event.seq, event.type, event.data["state"]) for event in events] == [(1, "state", "queued")]
    assert bells == [("doorbell", "cpu")]


def test_of_parallel_submits_at_the_limit_exactly_one_passes(engine: Engine, submit) -> None:
    submit()
    results: list[object] = []

    def one() -> None:
        try:
            results.append(submit(max_queued=2))
        except QuotaError as error:
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([result for result in results if isinstance(result, str)]) == 1
    assert len(results) == 12


def test_an_idempotency_key_gives_the_same_reply_again(engine: Engine) -> None:
    calls = []

    def make() -> store.StoredReply:
        calls.append(1)
        return store.StoredReply(201, {"id": "job_1"})

    request = {"tenant_id": DEFAULT_TENANT, "route": "jobs", "key": "k"}
    with engine.begin() as connection:
        first = store.once(connection, **request, body=b"{}", make=make)
    with engine.begin() as connection:
        second = store.once(connection, **request, body=b"{}", make=make)
    assert (first.is_replay, second.is_replay, second.body, len(calls)) == (False, True, {"id": "job_1"}, 1)
    with engine.begin() as connection, pytest.raises(IdempotencyMismatchError):
        store.once(connection, **request, body=b"{ }", make=make)


def test_a_key_in_flight_is_refused_without_waiting(engine: Engine) -> None:
    request = {"tenant_id": DEFAULT_TENANT, "route": "jobs", "key": "k", "body": b"{}"}
    with engine.begin() as first, engine.begin() as second:
        store.once(first, **request, make=lambda: store.StoredReply(201, {}))
        with pytest.raises(IdempotencyInFlightError):
            store.once(second, **request, make=lambda: store.StoredReply(201, {}))


# --- claim -----------------------------------------------------------------------------------------------------------


def test_claims_follow_priority_then_age(submit, claim) -> None:
    low, first, second, high = submit(priority=10), submit(), submit(), submit(priority=90)
    assert [claim(f"wrk_{n}").job_id for n in range(4)] == [high, first, second, low]


def test_a_worker_takes_only_its_device_kinds(engine: Engine, submit) -> None:
    submit(device="cuda:1")
    with engine.begin() as connection:
        assert store.claim(connection, "wrk_1", ("auto", "cpu"), lease_seconds=30) is None
        assert store.claim(connection, "wrk_1", ("auto", "cuda", "cuda:1"), lease_seconds=30) is not None


def test_the_first_of_several_kinds_is_claimed(submit, claim) -> None:
    cpu, auto, urgent = submit(device="cpu"), submit(), submit(device="cpu", priority=90)
    assert [claim(f"wrk_{n}").job_id for n in range(3)] == [urgent, cpu, auto]


def test_concurrent_claims_never_share_a_job(engine: Engine, submit) -> None:
    submitted = {submit() for _ in range(20)}
    claimed: list[str] = []

    def work(worker: str) -> None:
        while True:
            with engine.begin() as connection:
                mine = store.claim(connection, worker, ("auto",), lease_seconds=30)
            if mine is None:
                return
            claimed.append(mine.job_id)

    threads = [threading.Thread(target=work, args=(f"wrk_{n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(submitted)


def test_a_claim_raises_the_fence_and_opens_lease_and_attempt(engine: Engine, submit, claim) -> None:
    job_id = submit()
    mine = claim()
    assert (mine.job_id, mine.fence, mine.attempt, mine.resume) == (job_id, 1, 1, None)
    with engine.connect() as connection:
        assert connection.execute(select(leases.c.fence, leases.c.worker_id)).all() == [(1, "wrk_1")]
        assert connection.execute(select(attempts.c.number, attempts.c.ended_at)).all() == [(1, None)]


# --- beat and metrics ------------------------------------------------------------------------------------------------


def test_a_beat_renews_the_lease_and_brings_the_wish(engine: Engine, submit, claim) -> None:
    job_id = submit()
    mine = claim(lease=1.0)
    with engine.begin() as connection:
        before = connection.execute(select(leases.c.lease_until)).scalar_one()
        assert store.beat(connection, mine, lease_seconds=60, step=5, progress={}) is JobState.RUNNING
        assert connection.execute(select(leases.c.lease_until)).scalar_one() > before
    with engine.begin() as connection:
        store.request_cancel(connection, DEFAULT_TENANT, job_id)
    with engine.begin() as connection:
        assert store.beat(connection, mine, lease_seconds=60, step=6, progress={}) is JobState.CANCELLING


def test_a_running_jobs_progress_is_what_its_worker_told_last(engine: Engine, submit, claim) -> None:
    job_id = submit()
    mine = claim()
    told = {"progress": {"step": 7}, "metrics": {"train.loss": {"last": 1.0}}}
    with engine.begin() as connection:
        store.beat(connection, mine, lease_seconds=60, step=7, progress=told)
    with engine.connect() as connection:
        job = queries.get_job(connection, DEFAULT_TENANT, job_id)
    assert job.progress == {"step": 7}
    assert job.metrics == {"train.loss": {"last": 1.0}}


def test_metrics_past_the_checkpoint_resumed_from_are_void(engine: Engine, submit, claim, tmp_path: Path) -> None:
    job_id = submit()
    first = claim()
    with engine.begin() as connection:
        store.record_metrics(connection, first, {"train.loss": ([10, 20, 30], [3.0, 2.0, 9.0])}, {})
    save(engine, tmp_path, first, 20)
    with engine.begin() as connection:
        store.worker_fault(connection, first, "runner_died", FACTS)
    second = claim("wrk_2")
    assert second.resume is not None
    assert second.resume.step == 20
    with engine.begin() as connection:
        store.record_metrics(connection, second, {"train.loss": ([30, 40], [1.0, 0.5])}, {})
    with engine.connect() as connection:
        assert queries.metric_series(connection, job_id) == {"train.loss": ([10, 20, 30, 40], [3.0, 2.0, 1.0, 0.5])}


def test_metrics_whose_commit_was_not_answered_are_stored_once(engine: Engine, submit, claim) -> None:
    submit()
    mine = claim()
    for _ in range(2):
        with engine.begin() as connection:
            store.record_metrics(connection, mine, {"train.loss": ([1, 2], [1.0, 0.5])}, {"step": 2})
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(metrics)).scalar_one() == 1
        kinds = connection.execute(select(job_events.c.type).order_by(job_events.c.seq)).scalars().all()
    assert kinds == ["state", "state", "progress"]


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_warning_whose_commit_was_not_answered_is_one_event(engine: Engine, submit, claim) -> None:
    job_id = submit()
    mine = claim()
    facts = {"code": "article_not_convex", "pointer": "/loss/alpha", "message": "...", "step": 4, "epoch": 1}
    for _ in range(2):
        with engine.begin() as connection:
            store.record_warning(connection, mine, facts)
    with engine.begin() as connection:
        store.record_warning(connection, mine, facts | {"code": "another"})
        events = queries.events_of(connection, job_id, after=None, limit=100).items
    warned = [(event.level, event.data["code"]) for event in events if event.type == "warning"]
    assert warned == [("warning", "article_not_convex"), ("warning", "another")]


def test_retention_keeps_the_last_the_best_and_the_pinned(engine: Engine, submit, claim, tmp_path: Path) -> None:
    submit()
    mine = claim()
    save(engine, tmp_path, mine, 10)
    with engine.begin() as connection:
        connection.execute(update(checkpoints).values(pinned=True))
    best = save(engine, tmp_path, mine, 20, is_best=True)
    for step in (30, 40, 50):
        save(engine, tmp_path, mine, step)
    with engine.connect() as connection:
        steps = connection.execute(select(checkpoints.c.step).order_by(checkpoints.c.step)).scalars().all()
        states = connection.execute(select(blobs_table.c.state).order_by(blobs_table.c.id)).scalars().all()
        job = connection.execute(select(jobs.c.best_checkpoint_id, jobs.c.stalls)).one()
    assert steps == [10, 20, 40, 50]
    assert sorted(states) == ["discarded"] + 5 * ["published"]  # the dataset's, and those of four checkpoints
    assert job == (best, 0)


def test_a_checkpoint_whose_commit_was_not_answered_is_stored_once(
    engine: Engine, submit, claim, tmp_path: Path
) -> None:
    submit()
    mine = claim()
    new = store.NewCheckpoint(uploaded(engine, tmp_path), 10, 1, {}, {}, is_best=True)
    ids = []
    for _ in range(2):
        with engine.begin() as connection:
            ids.append(store.publish_checkpoint(connection, mine, new, keep_last=2))
    assert ids[0] == ids[1]
    with engine.connect() as connection:
        assert connection.execute(select(checkpoints.c.id)).scalars().all() == ids[:1]
        assert b"".join(blobs.open_range(connection, new.blob)) == b"state"


def test_the_next_attempt_starts_with_what_was_measured_at_its_checkpoint(
    engine: Engine, submit, claim, tmp_path: Path
) -> None:
    submit()
    mine = claim()
    summary = {"val.accuracy": {"last": 0.8, "best": 0.9, "best_step": 5}}
    new = store.NewCheckpoint(uploaded(engine, tmp_path), 10, 1, {}, summary, is_best=False)
    with engine.begin() as connection:
        store.publish_checkpoint(connection, mine, new, keep_last=2)
        later = {"metrics": {"val.accuracy": {"last": 1.0, "best": 1.0, "best_step": 15}}}
        store.beat(connection, mine, lease_seconds=30, step=15, progress=later)
        store.worker_fault(connection, mine, "runner_died", FACTS)
    resume = claim().resume
    assert resume is not None
    assert (resume.step, resume.epoch, resume.summary) == (10, 1, summary)


def test_a_checkpoint_with_missing_bytes_is_not_published(engine: Engine, submit, claim, tmp_path: Path) -> None:
    submit()
    mine = claim()
    blob = uploaded(engine, tmp_path)
    with engine.begin() as connection:
        connection.execute(blob_chunks.delete().where(blob_chunks.c.blob_id == blob.id))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        store.publish_checkpoint(connection, mine, store.NewCheckpoint(blob, 1, 1, {}, {}, False), keep_last=2)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(checkpoints)).scalar_one() == 0


# --- endings ---------------------------------------------------------------------------------------------------------


def test_success_leaves_model_and_event_and_no_lease(engine: Engine, submit, claim, tmp_path: Path) -> None:
    job_id = submit()
    mine = claim()
    succeed(engine, tmp_path, mine)
    with engine.connect() as connection:
        job = queries.get_job(connection, DEFAULT_TENANT, job_id)
        model = queries.get_model(connection, DEFAULT_TENANT, "mdl_1")
        lease_count = connection.execute(select(func.count()).select_from(leases)).scalar_one()
        reasons = [(t.state, t.reason) for t in queries.transitions_of(connection, job_id)]
    assert (job.state, job.model_id, job.finished_at is not None) == (JobState.SUCCEEDED, "mdl_1", True)
    assert [file.name for file in model.files] == ["model.json"]
    assert lease_count == 0
    assert reasons == [("queued", "submitted"), ("running", "claimed"), ("succeeded", "completed")]


def test_a_success_whose_answer_was_lost_may_be_written_again(engine: Engine, submit, claim, tmp_path: Path) -> None:
    submit()
    mine = claim()
    succeed(engine, tmp_path, mine)
    succeed(engine, tmp_path, mine)
    with pytest.raises(FencedError):
        succeed(engine, tmp_path, mine, "mdl_other")


def test_a_fenced_worker_can_write_nothing(engine: Engine, submit, claim, tmp_path: Path, shift_clock) -> None:
    job_id = submit()
    stale = claim(lease=1.0)
    shift_clock(10.0)
    with engine.begin() as connection:
        assert store.reap(connection, job_id) is JobState.QUEUED
    fresh = claim("wrk_2")
    writes: list[Callable[..., object]] = [
        lambda c: store.beat(c, stale, lease_seconds=30, step=1, progress={}),
        lambda c: store.record_metrics(c, stale, {"train.loss": ([1], [1.0])}, {}),
        lambda c: store.fail(c, stale, {"code": "x"}, FACTS),
        lambda c: store.cancelled(c, stale, FACTS),
        lambda c: store.release(c, stale, FACTS),
        lambda c: store.worker_fault(c, stale, "runner_died", FACTS),
    ]
    with engine.connect() as connection:
        before = queries.get_job(connection, DEFAULT_TENANT, job_id)
    for write in writes:
        with pytest.raises(FencedError), engine.begin() as connection:
            write(connection)
    with pytest.raises(FencedError):
        save(engine, tmp_path, stale, 10)
    with pytest.raises(FencedError):
        succeed(engine, tmp_path, stale)
    with engine.connect() as connection:
        after = queries.get_job(connection, DEFAULT_TENANT, job_id)
    assert (after.event_seq, after.state, after.attempt) == (before.event_seq, JobState.RUNNING, fresh.attempt)


def test_a_beat_in_time_saves_the_lease_from_the_reaper(engine: Engine, submit, claim, shift_clock) -> None:
    job_id = submit()
    mine = claim(lease=5.0)
    shift_clock(10.0)
    with engine.begin() as connection:
        assert store.expired_leases(connection) == [job_id]
        store.beat(connection, mine, lease_seconds=30, step=1, progress={})
    with engine.begin() as connection:
        assert store.reap(connection, job_id) is None
    assert state_of(engine, job_id) is JobState.RUNNING


def test_a_row_held_by_a_stopped_process_does_not_stop_the_reaper(engine: Engine, submit, claim, shift_clock) -> None:
    held, other = submit(), submit()
    claim(lease=1.0)
    claim("wrk_2", lease=1.0)
    shift_clock(10.0)
    with engine.begin() as stopped, engine.begin() as connection:
        stopped.execute(select(jobs.c.id).where(jobs.c.id == held).with_for_update())
        assert store.reap(connection, held) is None
        assert store.reap(connection, other) is JobState.QUEUED
    with engine.begin() as connection:
        assert store.reap(connection, held) is JobState.QUEUED


def test_what_was_told_last_outlives_the_attempt(engine: Engine, submit, claim) -> None:
    job_id = submit()
    mine = claim()
    told = {"progress": {"step": 7}, "metrics": {"train.loss": {"last": 1.0}}}
    with engine.begin() as connection:
        store.beat(connection, mine, lease_seconds=30, step=7, progress=told)
        store.worker_fault(connection, mine, "runner_died", FACTS)
    with engine.connect() as connection:
        job = queries.get_job(connection, DEFAULT_TENANT, job_id)
    assert (job.state, job.progress, job.metrics) == (JobState.QUEUED, told["progress"], told["metrics"])


def test_the_first_fault_queues_at_once_and_the_second_waits(engine: Engine, submit, claim, tmp_path: Path) -> None:
    submit()
    first = claim()
    with engine.begin() as connection:
        assert store.worker_fault(connection, first, "runner_died", FACTS) is JobState.QUEUED
    second = claim()
    with engine.begin() as connection:
        store.worker_fault(connection, second, "runner_died", FACTS)
    with engine.begin() as connection:
        assert store.claim(connection, "wrk_1", ("auto",), lease_seconds=30) is None
        wait = connection.execute(select(jobs.c.run_after - func.softreg_now())).scalar_one()
    assert 10 < wait.total_seconds() < 30


def test_a_job_that_kills_its_workers_is_set_aside(engine: Engine, submit, claim, shift_clock) -> None:
    job_id = submit()
    for n in range(MAX_STALLS):
        shift_clock(1000.0 * n)
        mine = claim()
        with engine.begin() as connection:
            store.worker_fault(connection, mine, "runner_died", FACTS)
    with engine.connect() as connection:
        job = queries.get_job(connection, DEFAULT_TENANT, job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "poison"


def test_faults_with_progress_between_them_are_forgiven_up_to_a_limit(
    engine: Engine, submit, claim, tmp_path: Path, shift_clock
) -> None:
    job_id = submit()
    for n in range(MAX_INFRA_FAULTS):
        shift_clock(1000.0 * n)
        mine = claim()
        save(engine, tmp_path, mine, n + 1)
        with engine.begin() as connection:
            store.worker_fault(connection, mine, "runner_died", FACTS)
    with engine.connect() as connection:
        job = queries.get_job(connection, DEFAULT_TENANT, job_id)
    assert (job.state, (job.error or {}).get("code")) == (JobState.FAILED, "infrastructure")


def test_a_drained_attempt_does_not_count(engine: Engine, submit, claim) -> None:
    submit()
    mine = claim()
    with engine.begin() as connection:
        store.release(connection, mine, FACTS)
    again = claim("wrk_2")
    assert (again.attempt, again.fence) == (1, 2)


# --- cancel ----------------------------------------------------------------------------------------------------------


def test_cancelling_a_queued_job_is_immediate(engine: Engine, submit) -> None:
    job_id = submit()
    with engine.begin() as connection:
        assert store.request_cancel(connection, DEFAULT_TENANT, job_id) is JobState.CANCELLED
        assert store.claim(connection, "wrk_1", ("auto",), lease_seconds=30) is None


def test_a_wish_to_cancel_outlives_its_worker(engine: Engine, submit, claim, shift_clock) -> None:
    job_id = submit()
    claim(lease=1.0)
    with engine.begin() as connection:
        assert store.request_cancel(connection, DEFAULT_TENANT, job_id) is JobState.CANCELLING
        assert store.request_cancel(connection, DEFAULT_TENANT, job_id) is JobState.CANCELLING
    shift_clock(10.0)
    with engine.begin() as connection:
        assert store.reap(connection, job_id) is JobState.CANCELLED


def test_a_cancel_that_came_first_stops_a_success(engine: Engine, submit, claim, tmp_path: Path) -> None:
    job_id = submit()
    mine = claim()
    with engine.begin() as connection:
        store.request_cancel(connection, DEFAULT_TENANT, job_id)
    with pytest.raises(FencedError):
        succeed(engine, tmp_path, mine)
    with engine.begin() as connection:
        assert store.state_under_fence(connection, mine) is JobState.CANCELLING
        store.cancelled(connection, mine, FACTS)
    assert state_of(engine, job_id) is JobState.CANCELLED


def test_a_finished_job_cannot_be_cancelled_and_a_foreign_one_does_not_exist(
    engine: Engine, submit, claim, tmp_path: Path
) -> None:
    job_id = submit()
    succeed(engine, tmp_path, claim())
    with engine.begin() as connection:
        with pytest.raises(StateConflictError):
            store.request_cancel(connection, DEFAULT_TENANT, job_id)
        with pytest.raises(NotFoundError):
            store.request_cancel(connection, "ten_other", job_id)


def test_event_numbers_have_no_gaps(engine: Engine, submit, claim, tmp_path: Path) -> None:
    job_id = submit()
    mine = claim()
    with engine.begin() as connection:
        store.record_metrics(connection, mine, {"train.loss": ([1], [1.0])}, {})
    save(engine, tmp_path, mine, 10, is_best=True)
    succeed(engine, tmp_path, mine)
    with engine.connect() as connection:
        seqs = connection.execute(select(job_events.c.seq).order_by(job_events.c.seq)).scalars().all()
        assert queries.get_job(connection, DEFAULT_TENANT, job_id).event_seq == len(seqs)
    assert seqs == list(range(1, len(seqs) + 1))
