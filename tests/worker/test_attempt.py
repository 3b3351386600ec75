"""What watchers are told of a running attempt."""

from __future__ import annotations

import math

from softreg_jobs.blobs import Blob
from softreg_jobs.store import Claim, StoredCheckpoint
from worker.attempt import Attempt, finite

BLOB = Blob("blob_1", "0" * 64, 1)


def attempt(*, resume: StoredCheckpoint | None = None) -> Attempt:
    return Attempt(
        Claim(
            job_id="job_1",
            fence=1,
            attempt=1,
            worker_id="wrk_1",
            tenant_id="ten_1",
            spec={},
            dataset=BLOB,
            resume=resume,
            best=None,
        )
    )


def test_the_best_is_the_largest_accuracy_and_the_smallest_loss() -> None:
    mine = attempt()
    for step, (accuracy, loss) in enumerate([(0.5, 2.0), (0.9, 1.0), (0.7, 3.0)]):
        mine.measured(step, step, {"val.accuracy": accuracy, "train.loss": loss})
    assert mine.metrics()["val.accuracy"] == {"last": 0.7, "best": 0.9, "best_step": 1}
    assert mine.metrics()["train.loss"] == {"last": 3.0, "best": 1.0, "best_step": 1}


def test_of_equal_values_the_first_is_the_best() -> None:
    mine = attempt()
    for step in (1, 2):
        mine.measured(step, step, {"val.accuracy": 0.5})
    assert mine.metrics()["val.accuracy"]["best_step"] == 1


def test_a_divergence_has_no_best() -> None:
    mine = attempt()
    mine.measured(1, 1, {"train.divergence": -0.5})
    assert mine.metrics()["train.divergence"] == {"last": -0.5, "best": None, "best_step": None}


def test_what_is_not_finite_is_null_and_never_the_best() -> None:
    mine = attempt()
    mine.measured(1, 1, {"val.loss": 1.0})
    mine.measured(2, 2, {"val.loss": math.inf})
    assert mine.metrics()["val.loss"] == {"last": None, "best": 1.0, "best_step": 1}
    assert finite({"a": math.nan, "b": -math.inf, "c": 1.0}) == {"a": None, "b": None, "c": 1.0}


def test_stored_values_keep_nan_and_come_once() -> None:
    mine = attempt()
    mine.measured(1, 1, {"val.loss": math.nan})
    blocks, event = mine.take_blocks()
    assert blocks["val.loss"][0] == [1]
    assert math.isnan(blocks["val.loss"][1][0])
    assert event == {"step": 1, "epoch": 1, "metrics": {"val.loss": None}}
    assert mine.take_blocks() == ({}, None)


def test_events_are_seldom_and_values_are_complete() -> None:
    mine = attempt()
    taken = []
    for step in range(5):
        mine.measured(step, step, {"train.loss": float(step)})
        taken.append(mine.take_blocks())
    assert [event is not None for _, event in taken] == [True, False, False, False, False]
    assert [blocks["train.loss"][1] for blocks, _ in taken] == [[0.0], [1.0], [2.0], [3.0], [4.0]]


def test_a_resumed_attempt_starts_where_its_checkpoint_is() -> None:
    known = {"val.accuracy": {"last": 0.8, "best": 0.9, "best_step": 20}}
    mine = attempt(resume=StoredCheckpoint("ckpt_1", 40, 4, BLOB, known))
    assert (mine.progress()["step"], mine.progress()["epoch"]) == (40, 4)
    mine.measured(50, 5, {"val.accuracy": 0.85})
    assert mine.metrics()["val.accuracy"] == {"last": 0.85, "best": 0.9, "best_step": 20}


def test_a_best_from_steps_that_are_trained_again_is_void() -> None:
    known = {"val.accuracy": {"last": 0.8, "best": 0.9, "best_step": 60}}
    mine = attempt(resume=StoredCheckpoint("ckpt_1", 40, 4, BLOB, known))
    assert mine.metrics()["val.accuracy"] == {"last": 0.8, "best": None, "best_step": None}


def test_time_left_follows_from_rate_and_steps_left() -> None:
    mine = attempt()
    mine.started({"total_steps": 100, "epochs": 10, "step": 0})
    assert mine.progress()["seconds_remaining"] is None
    mine.advanced(25, 2)
    progress = mine.progress()
    assert progress["steps_per_second"] > 0
    assert math.isclose(progress["seconds_remaining"], 75 / progress["steps_per_second"], rel_tol=0.01, abs_tol=0.001)


def test_a_warning_is_told_once_however_many_epochs_repeat_it() -> None:
    mine = attempt()
    one, other = ({"code": code, "pointer": "/loss/alpha", "message": "..."} for code in ("a", "b"))
    assert mine.new_advice([one]) == [one]
    assert mine.new_advice([one, other]) == [other]
    assert mine.new_advice([other, one]) == []
