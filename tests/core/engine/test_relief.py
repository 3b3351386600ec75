"""Memory that runs out in a step: the batch is taken in twice as many parts, once, and the run goes on."""

from __future__ import annotations

import pytest
import torch

from softreg_core.engine import CheckpointDue, EpochEnded, Finished, train
from softreg_core.engine.step.forward import Forward
from softreg_core.errors import ResourceError

WORDS = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 274877906944 bytes"


@pytest.fixture
def memory_for(monkeypatch):
    """No pass takes more rows than that; the fake stands for an allocator that has no more."""

    def limit(rows, *, error=RuntimeError, after=0):
        whole, calls = Forward.__call__, []

        def call(self, batch, step, piece=0):
            found = whole(self, batch, step, piece)  # what a pass changes on its own is changed by then
            if step >= after and batch.rows > rows:
                calls.append(batch.rows)
                raise error(WORDS)
            return found

        monkeypatch.setattr(Forward, "__call__", call)
        return calls

    return limit


def ended(events):
    (last,) = (event for event in events if isinstance(event, Finished))
    return last


def same(one, other):
    return all(torch.equal(one.model.tensors[name], tensor) for name, tensor in other.model.tensors.items())


OF_KINDS = [
    {},
    {"net": {"dropout": 0.3}},
    {"penalties": {"input_noise": 0.1, "l2": 0.01}},
    {"training": {"on_nonfinite": "skip", "gradient_clip": 1.0}},
    {"loss": {"alpha": 0.5, "divergence": {"kind": "cauchy", "variance": {"kind": "residual"}}}},
]


@pytest.mark.parametrize("options", OF_KINDS)
def test_a_run_whose_memory_runs_out_gives_what_one_in_two_parts_gives(slope, ready, memory_for, options):
    given = {"epochs": 3, "batch_size": 16} | options.get("training", {})
    spec, data = ready(slope, **(options | {"training": given}))
    halved, _ = ready(slope, **(options | {"training": given | {"accumulate": 2}}))
    wanted = ended(train(halved, data))
    calls = memory_for(8)
    events = list(train(spec, data))
    assert calls == [16]
    assert same(ended(events), wanted)
    assert ended(events).metrics == wanted.metrics
    assert ended(events).model.manifest.parts == 2


def test_it_is_told_once_with_the_setting_that_does_the_same(slope, ready, memory_for):
    spec, data = ready(slope, training={"epochs": 2, "batch_size": 16})
    memory_for(8)
    advice = [advice for event in train(spec, data) if isinstance(event, EpochEnded) for advice in event.advice]
    assert [(one.code, one.pointer) for one in advice] == [("out_of_memory", "/training/batch_size")]
    assert "step 1 in a batch of 16 rows" in advice[0].message
    assert "2 parts, as training.accumulate 2" in advice[0].message


def test_a_resumed_run_goes_on_in_as_many_parts(slope, ready, memory_for):
    spec, data = ready(slope, training={"epochs": 4, "batch_size": 16}, checkpoints={"every_epochs": 1})
    calls = memory_for(8, after=4)
    whole = list(train(spec, data))
    states = {event.state.epoch: event.state for event in whole if isinstance(event, CheckpointDue)}
    best = {event.state.step: event.state for event in whole if isinstance(event, CheckpointDue)}
    assert calls == [16]
    state = states[3]
    again = ended(train(spec, data, resume=state, resume_best=best[state.best.step]))
    assert calls == [16]
    assert same(again, ended(whole))
    assert again.model.manifest.parts == 2


def test_memory_that_runs_out_again_ends_the_run(slope, ready, memory_for):
    spec, data = ready(slope, training={"epochs": 2, "batch_size": 16})
    memory_for(4)
    with pytest.raises(ResourceError, match="batch of 16 rows in 2 parts; halving its parts did not help"):
        list(train(spec, data))


def test_a_batch_that_cannot_be_parted_is_not(blobs, ready, memory_for):
    spec, data = ready(blobs, net={"norm": "batch"}, training={"batch_size": 16})
    memory_for(8)
    with pytest.raises(ResourceError, match=r"in one part; .*norm 'batch' takes statistics over the whole batch"):
        list(train(spec, data))


def test_a_batch_of_one_row_cannot_be_halved(slope, ready, memory_for):
    spec, data = ready(slope, training={"batch_size": 1})
    memory_for(0)
    with pytest.raises(ResourceError, match="a part has one row already"):
        list(train(spec, data))


def test_another_fault_is_not_taken_for_want_of_memory(slope, ready, monkeypatch):
    def fail(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Forward, "__call__", fail)
    spec, data = ready(slope)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        list(train(spec, data))


def test_memory_that_runs_out_while_parameters_are_updated_ends_the_run(slope, ready, monkeypatch):
    def fail(self):
        raise torch.OutOfMemoryError(WORDS)

    monkeypatch.setattr("softreg_core.engine.step.optimizer.Optimizer.step", fail)
    spec, data = ready(slope)
    with pytest.raises(ResourceError, match="while parameters were updated"):
        list(train(spec, data))
