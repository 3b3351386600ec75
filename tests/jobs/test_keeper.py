"""The keeper on real servers: doorbells leave the outbox, silent workers lose their jobs, a second keeper waits."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, func, select, text, update

from softreg.embedded import EmbeddedValkey
from softreg_jobs import queries, store, workers
from softreg_jobs.health import is_keeper_leading
from softreg_jobs.keeper import Keeper
from softreg_jobs.keys import DEFAULT_TENANT
from softreg_jobs.settings import Settings
from softreg_jobs.states import JobState
from softreg_jobs.tables import blobs, leases, outbox


@pytest.fixture
def bells(settings: Settings) -> Iterator[Callable[[str], int]]:
    """How many doorbells lie in a device kind's queue."""
    client = redis.Redis.from_url(settings.redis_url.get_secret_value())
    client.flushall()
    yield lambda kind: client.llen(f"softreg.{kind}")
    client.flushall()
    client.close()


@contextmanager
def running(settings: Settings) -> Iterator[Keeper]:
    keeper = Keeper(settings)
    thread = threading.Thread(target=keeper.run)
    thread.start()
    try:
        yield keeper
    finally:
        keeper.stop()
        thread.join(10)
    assert not thread.is_alive()


def one_turn(settings: Settings) -> None:
    keeper = Keeper(settings)
    keeper.turn()
    keeper.close()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def with_settings(settings: Settings, **overrides: object) -> Settings:
    return Settings.model_validate({**settings.model_dump(), **overrides})


def rows_in(engine: Engine, table) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_submit_rings_its_kind_once(settings: Settings, engine: Engine, submit, bells) -> None:
    submit(device="cuda:1")
    submit(device="cpu")
    with running(settings):
        until(lambda: rows_in(engine, outbox) == 0)
    assert (bells("cuda.1"), bells("cpu"), bells("auto")) == (1, 1, 0)


def test_without_redis_the_doorbell_stays_and_rings_later(settings: Settings, engine: Engine, submit, bells) -> None:
    submit(device="cpu")
    one_turn(with_settings(settings, redis_url="unix:///nowhere/valkey.sock"))
    assert rows_in(engine, outbox) == 1
    with running(settings):
        until(lambda: rows_in(engine, outbox) == 0)
    assert bells("cpu") == 1


def test_a_redis_that_hangs_does_not_stop_the_reaper(settings: Settings, engine: Engine, submit, claim) -> None:
    directory = Path(tempfile.mkdtemp(prefix="softreg-test-hang-"))
    valkey = EmbeddedValkey(directory)
    hanging = with_settings(settings, redis_url=valkey.start(), lease_seconds=0.5, beat_seconds=0.1)
    assert valkey.pid is not None
    try:
        with running(hanging):
            submit(device="cpu")
            until(lambda: rows_in(engine, outbox) == 0)
            os.kill(valkey.pid, signal.SIGSTOP)
            job_id = submit(device="cpu")
            claim(lease=0.001)
            claim("wrk_2", lease=0.001)
            until(lambda: rows_in(engine, leases) == 0, seconds=20.0)
            os.kill(valkey.pid, signal.SIGCONT)
            until(lambda: rows_in(engine, outbox) == 0, seconds=20.0)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
        valkey.stop()
        shutil.rmtree(directory)
    with engine.connect() as connection:
        assert queries.get_job(connection, DEFAULT_TENANT, job_id).state is JobState.QUEUED


def test_a_lost_doorbell_is_rung_again_once_per_free_worker(settings: Settings, engine: Engine, submit, bells) -> None:
    for _ in range(3):
        submit(device="cpu")
    with engine.begin() as connection:
        connection.execute(outbox.delete())
    one_turn(settings)
    assert bells("cpu") == 0, "nobody is there to hear"
    with engine.begin() as connection:
        workers.announce(connection, "wrk_1", ("auto", "cpu"))
        workers.announce(connection, "wrk_2", ("auto", "cpu"))
        workers.announce(connection, "wrk_3", ("auto", "cuda"))
        assert store.claim(connection, "wrk_1", ("cpu",), lease_seconds=30) is not None
    one_turn(settings)
    assert bells("cpu") == 1, "one of two workers is free"


def test_a_silent_workers_job_is_queued_again(settings: Settings, engine: Engine, submit, claim, bells) -> None:
    job_id = submit()
    claim(lease=0.001)
    with running(with_settings(settings, lease_seconds=0.5, beat_seconds=0.1)):
        until(lambda: rows_in(engine, leases) == 0)
    with engine.connect() as connection:
        assert queries.get_job(connection, DEFAULT_TENANT, job_id).state is JobState.QUEUED


def test_after_a_restart_of_the_database_workers_get_a_whole_lease(
    settings: Settings, engine: Engine, submit, claim, bells
) -> None:
    submit(device="cpu")
    claim(lease=0.001)
    # The server started less than a lease of a day ago.
    with running(with_settings(settings, lease_seconds=86_400.0)):
        until(lambda: rows_in(engine, outbox) == 0)
        submit(device="cpu")  # once its doorbell is rung, the first turn is over, with its chance to reap
        until(lambda: rows_in(engine, outbox) == 0)
        assert rows_in(engine, leases) == 1


def test_only_one_keeper_leads_and_another_takes_over(settings: Settings, engine: Engine, submit, bells) -> None:
    def leads() -> bool:
        with engine.connect() as connection:
            return is_keeper_leading(connection)

    assert not leads()
    with running(settings):
        until(leads)
        with running(settings):
            submit(device="cpu")
            until(lambda: rows_in(engine, outbox) == 0)
    assert bells("cpu") == 1
    until(lambda: not leads())
    with running(settings):
        until(leads)


def test_it_outlives_its_database_session(settings: Settings, engine: Engine, submit, bells) -> None:
    with running(settings):
        submit(device="cpu")
        until(lambda: bells("cpu") == 1)
        with engine.connect() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            )
        submit(device="cpu")
        until(lambda: bells("cpu") == 2)


def test_what_was_never_published_is_swept(settings: Settings, engine: Engine, tmp_path, bells) -> None:
    from softreg_jobs.blobs import upload

    path = tmp_path / "file"
    path.write_bytes(b"x")
    old, _ = upload(engine, path), upload(engine, path)
    with engine.begin() as connection:
        connection.execute(
            update(blobs).where(blobs.c.id == old.id).values(created_at=func.softreg_now() - text("interval '2 days'"))
        )
    one_turn(settings)
    assert rows_in(engine, blobs) == 1


def test_the_jobs_of_a_kind_nobody_takes_ring_nobody(settings: Settings, engine: Engine, submit) -> None:
    submit(device="cuda:7")
    with engine.begin() as connection:
        workers.announce(connection, "wrk_1", ("auto", "cpu"))
        assert workers.doorbells_wanted(connection, alive_seconds=15.0) == {}


def test_after_the_machine_slept_workers_get_a_whole_lease(
    settings: Settings, engine: Engine, submit, claim, shift_clock, bells
) -> None:
    short = with_settings(settings, lease_seconds=30.0)
    job_id = submit()
    claim(lease=30.0)
    keeper = Keeper(short)
    keeper.turn()
    # The database's clock goes on while ours stands still.
    shift_clock(3600.0)
    keeper.close()
    keeper.reap()
    with engine.connect() as connection:
        assert store.expired_leases(connection) == [job_id]
        assert queries.get_job(connection, DEFAULT_TENANT, job_id).state is JobState.RUNNING
    keeper.close()
