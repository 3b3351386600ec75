"""The table of moves, and the database's copy of it."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from softreg_jobs.states import MOVES, TERMINAL, Actor, JobState, sources_of
from softreg_jobs.tables import job_events, job_moves, jobs


def test_terminal_states_have_no_way_out() -> None:
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == TERMINAL


def test_a_wish_to_cancel_never_leads_back_to_the_queue() -> None:
    assert JobState.QUEUED not in MOVES[JobState.CANCELLING]


def test_sources_follow_the_actor() -> None:
    assert sources_of(JobState.RUNNING, Actor.API) == set()
    assert sources_of(JobState.CANCELLED, Actor.WORKER) == {JobState.CANCELLING}
    assert sources_of(JobState.CANCELLED, Actor.API) == {JobState.QUEUED, JobState.PAUSED}


def test_the_database_holds_the_same_table(engine: Engine) -> None:
    with engine.connect() as connection:
        stored = {(source, target) for source, target in connection.execute(select(job_moves))}
    assert stored == {(str(source), str(target)) for source, moves in MOVES.items() for target in moves}


def test_the_trigger_refuses_every_other_move(engine: Engine, submit) -> None:
    job_id = submit()
    for source, target in itertools.permutations(JobState, 2):
        if target in MOVES.get(source, {}):
            continue
        with engine.connect() as connection:
            connection.execute(text("ALTER TABLE jobs DISABLE TRIGGER jobs_guard"))
            connection.execute(update(jobs).values(state=source))
            connection.execute(text("ALTER TABLE jobs ENABLE TRIGGER jobs_guard"))
            with pytest.raises(IntegrityError, match=f"no move from {source} to {target}"):
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(state=target))
            connection.rollback()


@pytest.mark.parametrize("change", [{"fence": -1}, {"event_seq": 0}])
def test_fence_and_event_number_never_go_back(engine: Engine, submit, change: dict[str, int]) -> None:
    submit()
    with pytest.raises(IntegrityError, match="never go back"), engine.begin() as connection:
        connection.execute(update(jobs).values(**change))


def test_a_finished_jobs_result_stands_and_its_priority_may_change(engine: Engine, submit) -> None:
    job_id = submit()
    with engine.begin() as connection:
        connection.execute(update(jobs).values(state=JobState.CANCELLED))
        connection.execute(update(jobs).values(priority=7))
    for values in ({"error": {"code": "x"}}, {"model_id": "mdl_x"}, {"fence": 9}, {"termination_reason": "other"}):
        with pytest.raises(IntegrityError, match="its result stands"), engine.begin() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def test_history_cannot_be_rewritten(engine: Engine, submit) -> None:
    submit()
    with pytest.raises(DBAPIError, match="never changed"), engine.begin() as connection:
        connection.execute(update(job_events).values(data={}))
