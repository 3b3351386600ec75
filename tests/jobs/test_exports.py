"""Files that are built after training: built once, by one worker at a time, and given up after a few deaths."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError as DatabaseIntegrityError

from softreg_jobs import queries, store
from softreg_jobs.blobs import upload
from softreg_jobs.errors import FencedError
from softreg_jobs.keys import DEFAULT_TENANT
from softreg_jobs.records import Export
from softreg_jobs.store.exports import MAX_TRIES
from softreg_jobs.tables import outbox
from softreg_jobs.workers import announce, doorbells_wanted, takes

ONNX = "model.onnx"


@pytest.fixture
def put(engine: Engine, tmp_path: Path):
    def make(name: str = "model.json", data: bytes = b"x") -> store.ModelFile:
        path = tmp_path / name
        path.write_bytes(data)
        return store.ModelFile(name, upload(engine, path), "application/octet-stream")

    return make


@pytest.fixture
def job_id(engine: Engine, submit, claim, put) -> str:
    """A job that has succeeded with model `mdl_1`, of which an ONNX file is wanted."""
    job_id = submit()
    mine = claim()
    result = store.Result("mdl_1", [put()], {}, "completed", [ONNX])
    with engine.begin() as connection:
        connection.execute(text('UPDATE jobs SET spec = spec || \'{"export": ["safetensors", "onnx"]}\'::jsonb'))
        store.succeed(connection, mine, result, store.AttemptFacts())
    return job_id


def claimed(engine: Engine, lease: float = 30.0) -> store.ExportClaim | None:
    with engine.begin() as connection:
        return store.claim_export(connection, "wrk_1", lease_seconds=lease)


def export_of(engine: Engine) -> Export:
    with engine.connect() as connection:
        (export,) = queries.get_model(connection, DEFAULT_TENANT, "mdl_1").exports
    return export


def bells(engine: Engine) -> int:
    with engine.connect() as connection:
        return len(connection.execute(select(outbox.c.id)).all())


def test_a_wanted_file_is_building_at_once_and_ready_with_its_bytes(engine: Engine, job_id: str, put) -> None:
    assert export_of(engine) == Export(ONNX, "building", None, None)
    mine = claimed(engine)
    assert mine is not None
    assert (mine.model_id, mine.name, mine.job_id, list(mine.sources)) == ("mdl_1", ONNX, job_id, ["model.json"])
    assert claimed(engine) is None
    file = put(ONNX, b"graph")
    for _ in range(2):  # as after a commit whose answer was lost
        with engine.begin() as connection:
            store.finish_export(connection, mine, file, {"largest_difference": 0.0})
    assert export_of(engine) == Export(ONNX, "ready", None, {"largest_difference": 0.0})
    with engine.connect() as connection:
        model = queries.get_model(connection, DEFAULT_TENANT, "mdl_1")
        assert [found.name for found in model.files] == ["model.json", ONNX]
    assert claimed(engine) is None


def test_asking_twice_builds_once_and_rings_once(engine: Engine, job_id: str) -> None:
    before = bells(engine)
    for _ in range(2):
        with engine.begin() as connection:
            store.want_export(connection, "mdl_1", "model.pt2")
    assert bells(engine) == before + 1


def test_a_silent_worker_loses_the_file_and_may_write_nothing(engine: Engine, job_id: str, put, shift_clock) -> None:
    old = claimed(engine)
    shift_clock(31)
    new = claimed(engine)
    assert old is not None
    assert new is not None
    assert new.fence == old.fence + 1
    file = put(ONNX)
    for write in (
        lambda c: store.renew_export(c, old, lease_seconds=30),
        lambda c: store.finish_export(c, old, file, {}),
        lambda c: store.fail_export(c, old, "no"),
        lambda c: store.give_export_back(c, old, counts=True),
    ):
        with pytest.raises(FencedError), engine.begin() as connection:
            write(connection)
    with engine.begin() as connection:
        store.finish_export(connection, new, file, {})
    assert export_of(engine).state == "ready"


def test_a_renewed_lease_holds(engine: Engine, job_id: str, shift_clock) -> None:
    mine = claimed(engine)
    assert mine is not None
    shift_clock(20)
    with engine.begin() as connection:
        store.renew_export(connection, mine, lease_seconds=30)
    shift_clock(40)
    assert claimed(engine) is None


def test_what_kills_its_workers_is_given_up_with_a_reason_and_a_warning(engine: Engine, job_id: str) -> None:
    for _ in range(MAX_TRIES):
        mine = claimed(engine)
        assert mine is not None
        with engine.begin() as connection:
            store.give_export_back(connection, mine, counts=True)
    assert claimed(engine) is None
    export = export_of(engine)
    assert (export.state, "died" in (export.reason or "")) == ("failed", True)
    with engine.connect() as connection:
        (warning,) = queries.get_job(connection, DEFAULT_TENANT, job_id).warnings
    assert (warning["code"], warning["pointer"]) == ("export_failed", "/export")


def test_a_worker_that_was_told_to_stop_does_not_count(engine: Engine, job_id: str) -> None:
    for _ in range(MAX_TRIES + 1):
        mine = claimed(engine)
        assert mine is not None
        with engine.begin() as connection:
            store.give_export_back(connection, mine, counts=False)


def test_a_file_that_nobody_asked_for_at_submit_fails_without_a_warning(engine: Engine, job_id: str) -> None:
    mine = claimed(engine)
    with engine.begin() as connection:
        store.want_export(connection, "mdl_1", "model.pt2")
        other = store.claim_export(connection, "wrk_2", lease_seconds=30)
        assert other is not None
        store.fail_export(connection, other, "no such operator")
        store.fail_export(connection, other, "no such operator")
        assert queries.get_job(connection, DEFAULT_TENANT, job_id).warnings == []
    assert mine is not None


def test_a_built_file_is_final(engine: Engine, job_id: str) -> None:
    mine = claimed(engine)
    assert mine is not None
    with engine.begin() as connection:
        store.fail_export(connection, mine, "no")
    with pytest.raises(DatabaseIntegrityError), engine.begin() as connection:
        connection.execute(text("UPDATE exports SET state = 'building'"))


def test_a_free_worker_is_rung_for_a_file_that_waits(engine: Engine, job_id: str, shift_clock) -> None:
    with engine.begin() as connection:
        announce(connection, "wrk_1", takes("cpu"))
        assert doorbells_wanted(connection, alive_seconds=15) == {"auto": 1}
        assert store.claim_export(connection, "wrk_1", lease_seconds=30) is not None
        assert doorbells_wanted(connection, alive_seconds=15) == {}
    shift_clock(31)
    with engine.begin() as connection:
        announce(connection, "wrk_1", takes("cpu"))
        assert doorbells_wanted(connection, alive_seconds=15) == {"auto": 1}
