"""A job that learns from another job's model, through a real worker."""

from __future__ import annotations

from sqlalchemy import text

from softreg_jobs.states import JobState

CROSS_ENTROPY = {"base": {"kind": "cross_entropy"}}
SHORT = {"training": {"epochs": 2}, "checkpoints": {"every_epochs": 1}}


def test_a_job_learns_from_the_model_of_another_and_fails_with_a_reason_when_it_is_gone(site) -> None:
    site.keeper()
    site.worker()
    teacher = site.wait_for_end(site.submit(SHORT | {"loss": CROSS_ENTROPY}))
    assert teacher.state is JobState.SUCCEEDED, (teacher.error, site.logs())
    divergence = {"kind": "teacher", "temperature": 2.0, "source": {"kind": "model", "model": teacher.model_id}}
    spec = SHORT | {"loss": CROSS_ENTROPY | {"alpha": 1.0, "divergence": divergence}}
    pupil = site.wait_for_end(site.submit(spec))
    assert pupil.state is JobState.SUCCEEDED, (pupil.error, site.logs())
    assert pupil.metrics["train.divergence"]["last"] > 0.0
    assert "val.divergence" not in pupil.metrics
    with site.engine.begin() as connection:
        connection.execute(text("DELETE FROM models WHERE id = :id"), {"id": teacher.model_id})
    orphan = site.wait_for_end(site.submit(spec))
    assert orphan.state is JobState.FAILED
    assert orphan.error is not None
    assert (orphan.error["code"], orphan.error["reason"]) == ("invalid_data", "no_teacher")
