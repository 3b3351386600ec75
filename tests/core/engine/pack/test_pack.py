"""What a pack refuses, how it stops and goes on, and that one member's trouble is its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from softreg_core.engine import (
    CheckpointDue,
    EpochEnded,
    Failed,
    Finished,
    Started,
    Stopped,
    load_state,
    save_state,
    train,
)
from softreg_core.engine.pack.rows import PackedRows
from softreg_core.engine.room import memory_of
from softreg_core.errors import DataError, NonFiniteLossError, ResourceError, SpecError
from softreg_core.export import save_model

MLP = {"kind": "mlp", "hidden": [6], "activation": "tanh"}
DOCUMENT = {
    "net": MLP,
    "loss": {"base": {"kind": "half_squared_error"}, "divergence": {"kind": "article"}},
    "training": {"epochs": 4, "batch_size": 16},
    "checkpoints": {"every_epochs": 1},
}
THREE = tuple({"loss": {"alpha": alpha}, "training": {"seed": seed}} for alpha, seed in ((0.1, 1), (0.0, 2), (1.0, 3)))


@pytest.mark.parametrize(
    ("change", "pointer", "values"),
    [
        ({"net": {"hidden": [7]}}, "/net/hidden", ("[7]", "[6]")),
        ({"net": {"activation": "relu"}}, "/net/activation", ("'relu'", "'tanh'")),
        ({"loss": {"divergence": {"kind": "inflation"}}}, "/loss/divergence/kind", ("'inflation'", "'article'")),
        ({"loss": {"base": {"kind": "huber"}}}, "/loss/base/kind", ("'huber'", "'half_squared_error'")),
        ({"optimizer": {"kind": "sgd"}}, "/optimizer/kind", ("'sgd'", "'adam'")),
        ({"optimizer": {"epsilon": 1e-5}}, "/optimizer/epsilon", ("1e-05", "1e-08")),
        ({"training": {"batch_size": 8}}, "/training/batch_size", ("8", "16")),
        ({"training": {"gradient_clip": 1.0}}, "/training/gradient_clip", ("1.0", "None")),
        ({"penalties": {"include_biases": True}}, "/penalties/include_biases", ("True", "False")),
    ],
)
def test_the_field_that_differs_is_named_with_both_values(members, packed, blobs, change, pointer, values):
    specs, data = members(blobs, DOCUMENT, {}, {"loss": {"alpha": 0.5}}, change)
    with pytest.raises(SpecError) as caught:
        packed(specs, data)
    (problem,) = caught.value.problems
    assert problem.pointer == pointer
    assert f"{pointer} is {values[0]} in member 2 and {values[1]} in member 0" in problem.message


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"training": {"accumulate": 2}}, "/training/accumulate"),
        ({"training": {"average_weights": {}}}, "/training/average_weights"),
        ({"training": {"on_nonfinite": "skip"}}, "/training/on_nonfinite"),
        ({"penalties": {"mixup": 0.2}}, "/penalties/mixup"),
        ({"penalties": {"input_noise": 0.2}}, "/penalties/input_noise"),
        ({"optimizer": {"kind": "muon"}}, "/optimizer/kind"),
        ({"net": {"kind": "transformer", "hidden": ..., "activation": ...}}, "/net/kind"),
    ],
)
def test_what_no_pack_computes_is_refused(members, packed, blobs, change, pointer):
    net = {name: value for name, value in {**MLP, **change.get("net", {})}.items() if value is not ...}
    specs, data = members(blobs, DOCUMENT | {"net": net}, {name: c for name, c in change.items() if name != "net"})
    with pytest.raises(SpecError, match="member 0 cannot be packed") as caught:
        packed(specs, data)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]


def test_data_that_do_not_go_together_are_refused(members, packed, blobs, two_slopes, slope):
    specs, data = members(slope, {"net": MLP}, {})
    others, more = members(two_slopes, {"net": MLP}, {})
    with pytest.raises(DataError, match="of member 1 are regression of 2 outputs"):
        packed([*specs, *others], [*data, *more])
    with pytest.raises(ValueError, match="2 specs and 1 prepared data"):
        packed(specs * 2, data)
    with pytest.raises(TypeError, match="prepare"):
        packed(specs, [slope])


def test_members_of_other_lengths_of_an_epoch_are_refused(members, packed, blobs):
    specs, data = members(blobs, DOCUMENT, {}, {"split": {"train": 0.5, "validation": 0.3, "test": 0.2}})
    with pytest.raises(DataError, match="steps an epoch"):
        packed(specs, data)


def test_folds_of_other_lengths_have_their_last_batch_filled_up(members, packed, single, agree, blobs):
    specs, data = members(blobs, DOCUMENT, {}, {"split": {"train": 0.75, "validation": 0.15, "test": 0.1, "seed": 4}})
    assert data[0].train.rows != data[1].train.rows
    found = packed(specs, data, dtype=torch.float64)
    for member in (0, 1):
        agree(found[member], single(specs[member], data[member], dtype=torch.float64))


def test_every_member_sees_the_rows_of_its_single_run(members, blobs):
    from softreg_core.engine.batches import ResidentBatches

    _, (data, other) = members(blobs, DOCUMENT, {}, {"split": {"seed": 5}})
    parts, seeds = [data.train, other.train, data.train], [1, 1, 2]
    rows = PackedRows(parts, 16, seeds)
    for epoch in range(3):
        for batch, *alone in zip(
            rows(epoch, 1),
            *(ResidentBatches(p, 16, s)(epoch, 1) for p, s in zip(parts, seeds, strict=True)),
            strict=True,
        ):
            assert not batch.is_shared
            for member, own in enumerate(alone):
                assert torch.equal(batch.rows.inputs[0][member], own.inputs[0])
                assert torch.equal(batch.rows.target[member], own.target)


def test_the_first_event_says_who_else_is_computed(members, packed, blobs):
    specs, data = members(blobs, DOCUMENT, *THREE)
    found = packed(specs, data)
    for member in range(3):
        started = found[member][0]
        assert isinstance(started, Started)
        assert len(started.manifest.pack) == 2
        assert "2 other runs" in started.manifest.tier_reason
        assert found[member][-1].model.manifest == started.manifest


@pytest.mark.parametrize("stop_at", [3, 7])
def test_a_pack_that_was_stopped_goes_on_from_its_members_states(members, packed, agree, blobs, tmp_path, stop_at):
    net = MLP | {"dropout": 0.3}
    specs, data = members(blobs, DOCUMENT | {"net": net}, *THREE)
    whole = packed(specs, data)
    asked = iter(range(100))
    before = packed(specs, data, control=lambda: "enough" if next(asked) == stop_at else None)
    states, best = [], []
    for member in range(3):
        stopped = before[member][-1]
        assert isinstance(stopped, Stopped)
        assert (stopped.reason, stopped.state.step) == ("enough", stop_at)
        save_state(stopped.state, tmp_path / "state")
        states.append(load_state(tmp_path / "state"))
        stored = {e.state.step: e.state for e in before[member] if isinstance(e, CheckpointDue)}
        best.append(None if states[-1].best is None else stored.get(states[-1].best.step))
    after = packed(specs, data, resume=states, resume_best=best)
    for member in range(3):
        assert after[member][0].start_step == stop_at
        agree([after[member][-1]], [whole[member][-1]], rtol=0.0)


def test_a_member_goes_on_alone_from_its_state(members, packed, single, agree, blobs):
    specs, data = members(blobs, DOCUMENT, *THREE)
    whole = packed(specs, data, dtype=torch.float64)
    states = {e.state.epoch: e.state for e in whole[2] if isinstance(e, CheckpointDue)}
    best = states[2].best
    how = {"resume": states[2], "resume_best": states[best.epoch], "dtype": torch.float64}
    agree([single(specs[2], data[2], **how)[-1]], [whole[2][-1]])


def test_one_member_is_stopped_and_the_others_go_on(members, packed, blobs):
    specs, data = members(blobs, DOCUMENT, *THREE)
    whole = packed(specs, data)
    asked = iter(range(100))
    found = packed(specs, data, control=lambda: {1: "pruned"} if next(asked) == 5 else None)
    assert isinstance(found[1][-1], Stopped)
    assert (found[1][-1].reason, found[1][-1].state.step) == ("pruned", 5)
    for member in (0, 2):
        assert found[member][-1].metrics == whole[member][-1].metrics


def until_it_fails(events):
    """What was told before, and the error."""
    before = []
    try:
        before.extend(event for event in events)
    except NonFiniteLossError as error:
        return before, error
    raise AssertionError("it did not fail")


def test_a_member_whose_loss_is_not_finite_fails_alone(members, packed, agree, slope):
    document = {
        "net": {"kind": "linear"},
        "optimizer": {"kind": "sgd"},
        "training": {"epochs": 60, "batch_size": 16},
        "checkpoints": {"every_epochs": 100, "keep_best": False},
    }
    specs, data = members(slope, document, *({"optimizer": {"learning_rate": rate}} for rate in (0.01, 3.0, 0.02)))
    found = packed(specs, data)
    before, error = until_it_fails(told for told in train(specs[1], data[1]))
    failed, due = found[1][-1], [event for event in found[1] if isinstance(event, CheckpointDue)]
    assert isinstance(failed, Failed)
    assert failed.error.details() == error.details()
    assert due[0].state.epoch == error.epoch - 1 > 1
    agree(due, [event for event in before if isinstance(event, CheckpointDue)], rtol=1e-3)
    without = packed([specs[0], specs[2]], [data[0], data[2]])
    for member, other in ((0, 0), (2, 1)):
        assert isinstance(found[member][-1], Finished)
        assert found[member][-1].metrics == without[other][-1].metrics


def test_members_that_are_over_leave_the_pack_and_change_nothing(members, packed, single, agree, blobs):
    lengths = tuple({"training": {"epochs": n, "seed": n}} for n in (1, 2, 2, 3, 5))
    specs, data = members(blobs, DOCUMENT, *lengths)
    found = packed(specs, data, dtype=torch.float64)
    for member, (spec, rows) in enumerate(zip(specs, data, strict=True)):
        agree(found[member], single(spec, rows, dtype=torch.float64))


def test_a_member_s_export_is_that_of_its_single_run(members, packed, single, blobs, tmp_path: Path):
    specs, data = members(blobs, DOCUMENT, *THREE)
    events = packed(specs, data, dtype=torch.float64)[2]
    alone = single(specs[2], data[2], dtype=torch.float64)
    for name, last in (("packed", events[-1]), ("alone", alone[-1])):
        (tmp_path / name).mkdir()
        save_model(last.model, tmp_path / name, last.metrics)
    names = {path.name for path in (tmp_path / "alone").iterdir()}
    assert {path.name for path in (tmp_path / "packed").iterdir()} == names
    assert events[-1].report.model_dump().keys() == alone[-1].report.model_dump().keys()


def test_step_losses_are_those_of_the_single_run(members, packed, single, blobs):
    specs, data = members(blobs, DOCUMENT, *THREE)
    how = {"keep_step_losses": True, "dtype": torch.float64}
    found = packed(specs, data, **how)
    for member, (spec, rows) in enumerate(zip(specs, data, strict=True)):
        mine, others = (
            [loss for event in events if isinstance(event, EpochEnded) for loss in event.step_losses]
            for events in (found[member], single(spec, rows, **how))
        )
        assert mine == pytest.approx(others, rel=1e-9)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_of_one_step_agree_in_float32(members, packed, single, blobs, dropout):
    one = DOCUMENT | {
        "net": MLP | {"dropout": dropout},
        "training": {"epochs": 1, "batch_size": "full"},
        "optimizer": {"kind": "sgd", "learning_rate": 1.0},
    }
    specs, data = members(blobs, one, *THREE)
    found = packed(specs, data)
    for member, (spec, rows) in enumerate(zip(specs, data, strict=True)):
        mine, others = (
            next(e.state.model for e in events if isinstance(e, CheckpointDue))
            for events in (found[member], single(spec, rows))
        )
        for name, tensor in others.items():
            torch.testing.assert_close(mine[name], tensor, rtol=1e-5, atol=1e-6)


def test_members_that_fit_one_by_one_and_not_together_are_refused(members, packed, blobs, monkeypatch):
    specs, data = members(blobs, DOCUMENT, *({"training": {"seed": seed}} for seed in range(50)))
    needed = memory_of(specs[0], data[0], torch.device("cpu")).total
    monkeypatch.setattr("softreg_core.engine.room.free_memory", lambda: 2 * needed)
    with pytest.raises(ResourceError, match=r"a pack of 50 needs about .* are free: choose smaller packs"):
        packed(specs, data)
    assert packed(specs[:1], data[:1])
