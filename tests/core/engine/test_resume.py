"""A run that was stopped anywhere and resumed ends with the same bits as one that was not."""

from __future__ import annotations

import itertools

import pytest
import torch

from softreg_core.engine import (
    CheckpointDue,
    EpochEnded,
    Finished,
    Progress,
    Stopped,
    load_state,
    save_state,
    train,
)
from softreg_core.errors import DataError

TRAINING = {"epochs": 5, "batch_size": 16}  # 56 rows: 4 steps an epoch, 20 in all, the last batch of each is smaller
ADAM = {"kind": "adam", "learning_rate": 0.02}
OPTIMIZERS = [ADAM, {"kind": "sgd"}, {"kind": "sgd", "momentum": 0.9}]


def stop_after(steps):
    answers = itertools.chain([None] * steps, itertools.repeat("stop"))
    return lambda: next(answers)


def events_of(spec, data, **options):
    return [event for event in train(spec, data, **options) if not isinstance(event, Progress)]


def last_state(events):
    return [event.state for event in events if isinstance(event, CheckpointDue)][-1]


def stored(states, path):
    """As the service does it: every state goes through a file, and the best is its own checkpoint."""
    for state in states:
        save_state(state, path / f"{state.step}.safetensors")
    return lambda step: load_state(path / f"{step}.safetensors")


def resumed(spec, data, events, path):
    stopped = events[-1]
    read = stored([event.state for event in events if isinstance(event, CheckpointDue)] + [stopped.state], path)
    state = read(stopped.state.step)
    best = None if state.best is None or state.best.step == state.step else read(state.best.step)
    return events_of(spec, data, resume=state, resume_best=best)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{o['kind']}-{o.get('momentum', 0)}")
def test_stopping_at_any_step_changes_no_bit(blobs, ready, digest, tmp_path, optimizer):
    spec, data = ready(blobs, training=TRAINING, optimizer=optimizer, checkpoints={"every_epochs": 3})
    whole = events_of(spec, data, keep_step_losses=True)
    wanted = last_state(whole)
    for steps in range(20):
        first = events_of(spec, data, control=stop_after(steps))
        assert isinstance(first[-1], Stopped)
        assert first[-1].state.step == steps
        second = resumed(spec, data, first, tmp_path)
        assert second[0].start_step == steps
        got = last_state([*first, *second])
        assert digest(got.model, got.optimizer) == digest(wanted.model, wanted.optimizer)
        assert got.metrics == wanted.metrics
        assert second[-1].metrics == whole[-1].metrics
        assert second[-1].best_step == whole[-1].best_step
        assert digest(second[-1].model.tensors) == digest(whole[-1].model.tensors)
        epochs = [event.metrics for event in [*first, *second] if isinstance(event, EpochEnded)]
        assert epochs == [event.metrics for event in whole if isinstance(event, EpochEnded)]


def test_resuming_from_any_checkpoint_changes_no_bit(blobs, ready, digest, tmp_path):
    """What happens after a kill: nothing is known but the stored checkpoints."""
    spec, data = ready(blobs, training=TRAINING, optimizer=ADAM, checkpoints={"every_epochs": 2})
    whole = events_of(spec, data)
    states = [event.state for event in whole if isinstance(event, CheckpointDue)]
    read = stored(states, tmp_path)
    for state in states:
        again = events_of(spec, data, resume=read(state.step), resume_best=read(state.best.step))
        assert digest(again[-1].model.tensors) == digest(whole[-1].model.tensors)
        assert again[-1].metrics == whole[-1].metrics
        later = [event.state.step for event in again if isinstance(event, CheckpointDue)]
        assert set(later) == {other.step for other in states if other.step > state.step}


def test_with_another_order_function_the_bits_differ(blobs, ready, digest, tmp_path, monkeypatch):
    """Guards the tests above: they would see a resume that goes on with another order."""
    spec, data = ready(blobs, training=TRAINING)
    wanted = last_state(events_of(spec, data))
    first = events_of(spec, data, control=stop_after(6))
    from softreg_core.engine import batches
    from softreg_core.engine.order import epoch_order

    monkeypatch.setattr(batches, "epoch_order", lambda seed, epoch, rows: epoch_order(seed, epoch + 1, rows))
    got = last_state(resumed(spec, data, first, tmp_path))
    assert digest(got.model, got.optimizer) != digest(wanted.model, wanted.optimizer)


def test_without_the_optimiser_s_state_the_bits_differ(blobs, ready, digest, tmp_path):
    spec, data = ready(blobs, training=TRAINING)
    wanted = last_state(events_of(spec, data))
    first = events_of(spec, data, control=stop_after(6))
    first[-1].state.optimizer.clear()
    got = last_state(resumed(spec, data, first, tmp_path))
    assert digest(got.model) != digest(wanted.model)


def test_a_stop_hands_out_the_best_that_was_not_published_yet(blobs, ready):
    spec, data = ready(blobs, training=TRAINING, checkpoints={"every_epochs": 5})
    events = events_of(spec, data, control=stop_after(6))
    (due,) = (event for event in events if isinstance(event, CheckpointDue))
    assert due.is_best
    assert due.state.step == events[-1].state.best.step == 4
    assert not events[-1].is_stored


def test_a_stop_right_after_a_checkpoint_says_that_the_state_is_stored(blobs, ready):
    spec, data = ready(blobs, training=TRAINING, checkpoints={"every_epochs": 1})
    events = events_of(spec, data, control=stop_after(8))
    assert events[-1].is_stored
    assert last_state(events).step == 8
    best = next(event.state for event in events if isinstance(event, CheckpointDue) and event.is_best)
    again = events_of(spec, data, resume=events[-1].state, resume_best=best, control=lambda: "stop")
    assert again[-1].is_stored


def test_a_run_that_only_missed_its_end_is_finished_at_once(blobs, ready, digest):
    spec, data = ready(blobs, training=TRAINING)
    whole = events_of(spec, data)
    state = last_state(whole)
    best = next(event.state for event in whole if isinstance(event, CheckpointDue) and event.is_best)
    again = events_of(spec, data, resume=state, resume_best=best)
    assert [type(event) for event in again][1:] == [Finished]
    assert digest(again[-1].model.tensors) == digest(whole[-1].model.tensors)


def test_states_that_do_not_belong_are_refused(blobs, ready):
    spec, data = ready(blobs, training=TRAINING)
    state = events_of(spec, data, control=stop_after(6))[-1].state
    with pytest.raises(DataError, match="best checkpoint, of step 4"):
        next(train(spec, data, resume=state))
    other, _ = ready(blobs, training=TRAINING, net={"hidden": [8]})
    with pytest.raises(DataError, match="fit the network"):
        next(train(other, data, resume=state, resume_best=events_of(spec, data, control=stop_after(4))[-1].state))
    smaller, data = ready(blobs, training=TRAINING | {"batch_size": 28})
    with pytest.raises(DataError, match="not in epoch"):
        next(train(smaller, data, resume=state, resume_best=None if state.best is None else _at(state, 4)))


def _at(state, step):
    from dataclasses import replace

    return replace(state, step=step)


def test_a_state_file_is_the_same_bytes_for_the_same_state(blobs, ready, tmp_path):
    spec, data = ready(blobs, training=TRAINING)
    for name in ("one", "two"):
        save_state(events_of(spec, data, control=stop_after(6))[-1].state, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_torn_or_foreign_state_file_is_a_data_error(blobs, ready, tmp_path):
    spec, data = ready(blobs, training=TRAINING)
    path = tmp_path / "state"
    save_state(events_of(spec, data, control=stop_after(6))[-1].state, path)
    whole = path.read_bytes()
    for size in (0, 20, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            load_state(path)
    path.write_bytes(whole.replace(b"softreg state 1", b"softreg state 9"))
    with pytest.raises(DataError, match="version"):
        load_state(path)


def test_a_state_file_that_the_machine_cannot_read_is_not_blamed_on_the_data(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "absent")


def test_nan_metrics_survive_the_file(tmp_path, blobs, ready):
    from dataclasses import replace

    spec, data = ready(blobs, training=TRAINING)
    state = events_of(spec, data, control=stop_after(6))[-1].state
    save_state(replace(state, metrics={"val.r2": float("nan"), "val.mae": float("inf")}), tmp_path / "state")
    metrics = load_state(tmp_path / "state").metrics
    assert torch.tensor(metrics["val.r2"]).isnan()
    assert metrics["val.mae"] == float("inf")
