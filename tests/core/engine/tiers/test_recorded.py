"""The tier of recorded steps, with a fake for the GPU's recorder alone: what would be recorded is called instead."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.engine import CheckpointDue, EpochEnded, Finished, loop, train
from softreg_core.engine.run import Run
from softreg_core.engine.tiers import cuda_graph
from softreg_core.engine.tiers.advance import Chosen
from softreg_core.engine.tiers.on_cuda import choose_on_cuda
from softreg_core.engine.tiers.recorded import Recorded


def called(work, back):
    """As a graph is recorded: called to warm up, then called again at each replay."""
    for _ in range(3):
        back()
        work()
    return work


@pytest.fixture
def recorded(monkeypatch):
    """Have `train` take its steps so."""
    monkeypatch.setattr(loop, "choose", lambda job: Chosen("cudagraph", "asked for", Recorded(job, called)))


def losses(events):
    return [event.step_losses for event in events if isinstance(event, EpochEnded)]


def weighted(rows=50, classes=3):
    generator = np.random.default_rng(1)
    codes = generator.integers(0, classes, rows)
    features = np.column_stack([codes + generator.normal(size=rows), generator.normal(size=rows), codes % 2 + 0.5])
    return table_from_arrays(features, codes)


CLASSES = {
    "plain": {},
    "sgd": {"optimizer": {"kind": "sgd"}},
    "sgd-momentum": {"optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
    "adamw": {"optimizer": {"kind": "adamw", "weight_decay": 0.1}},
    "rmsprop": {"optimizer": {"kind": "rmsprop", "centered": True, "momentum": 0.5}},
    "adagrad": {"optimizer": {"kind": "adagrad", "learning_rate": 0.01}},
    "dropout": {"net": {"hidden": [8, 8], "dropout": 0.4}},
    "batch-norm": {"net": {"norm": "batch"}},
    "penalties": {"penalties": {"l1": 0.001, "l2": 0.01}},
    "clip": {"training": {"gradient_clip": 0.1}},
    "class-weights": {"training": {"class_weights": "balanced"}},
    "schedule": {"schedule": {"kind": "cosine", "warm_up": 0.2}},
    "sgd-schedule": {"schedule": {"kind": "cosine"}, "optimizer": {"kind": "sgd", "weight_decay": 0.01}},
    "plateau": {"schedule": {"kind": "plateau", "patience": 1, "factor": 0.5}},
    "whole": {"training": {"batch_size": "full"}},
    "even": {"training": {"batch_size": 7}},
    "categorical": {
        "loss": {"base": {"kind": "cross_entropy"}, "alpha": 0.3, "divergence": {"kind": "categorical"}},
        "penalties": {"label_smoothing": 0.1},
    },
}
VALUES = {
    "article": {"loss": {"alpha": 0.5, "divergence": {"kind": "article"}}},
    "alpha": {"loss": {"alpha": {"kind": "linear", "value": 1.0, "warm_up": 0.5}, "divergence": {"kind": "cauchy"}}},
    "residual": {"loss": {"alpha": 0.5, "divergence": {"kind": "cauchy", "variance": {"kind": "residual"}}}},
    "output": {"loss": {"alpha": 0.5, "divergence": {"kind": "article", "variance": {"kind": "output"}}}},
    "gaussian": {"loss": {"alpha": 0.5, "divergence": {"kind": "gaussian"}}},
}


def compared(table, ready, monkeypatch, options):
    training = {"epochs": 4, "batch_size": 8} | options.get("training", {})
    spec, data = ready(table, **(options | {"training": training}))
    eager = list(train(spec, data, keep_step_losses=True))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "choose", lambda job: Chosen("cudagraph", "asked for", Recorded(job, called)))
        found = list(train(spec, data, keep_step_losses=True))
    for one, other in zip(losses(found), losses(eager), strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6)
    ends = [[event for event in events if isinstance(event, EpochEnded)] for events in (found, eager)]
    for one, other in zip(*ends, strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-4, abs=1e-5, nan_ok=True)
        assert one.advice == other.advice
    assert found[-1].model.manifest.tier == "cudagraph"


@pytest.mark.parametrize("case", CLASSES)
def test_recorded_steps_are_those_of_the_eager_engine(blobs, ready, monkeypatch, case):
    compared(blobs, ready, monkeypatch, CLASSES[case])


@pytest.mark.parametrize("case", VALUES)
def test_recorded_steps_are_those_of_the_eager_engine_for_values(two_slopes, ready, monkeypatch, case):
    compared(two_slopes, ready, monkeypatch, VALUES[case])


def test_rows_that_weigh_differently_do_so_in_recorded_steps(ready, monkeypatch):
    compared(
        weighted(), ready, monkeypatch, {"task": {"features": ["features.0", "features.1"], "weight": "features.2"}}
    )


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.usefixtures("recorded")
def test_a_recorded_run_resumes_bit_for_bit(blobs, ready, optimizer):
    options = {"net": {"dropout": 0.2}, "optimizer": {"kind": optimizer}, "schedule": {"kind": "cosine"}}
    spec, data = ready(
        blobs, training={"epochs": 4, "batch_size": 8}, checkpoints={"every_epochs": 2, "keep_best": False}, **options
    )
    whole = list(train(spec, data))
    (first, *_) = (event.state for event in whole if isinstance(event, CheckpointDue))
    (again,) = (event for event in train(spec, data, resume=first) if isinstance(event, Finished))
    for name, tensor in again.model.tensors.items():
        assert torch.equal(tensor, whole[-1].model.tensors[name])


@pytest.mark.usefixtures("recorded")
def test_a_recorded_run_that_is_stopped_within_an_epoch_goes_on_bit_for_bit(blobs, ready):
    spec, data = ready(blobs, training={"epochs": 3, "batch_size": 4, "log_every": 1})
    whole = list(train(spec, data))
    asked = iter([None, "stop"])
    stopped = list(train(spec, data, control=lambda: next(asked)))
    (again,) = (e for e in train(spec, data, resume=stopped[-1].state) if isinstance(e, Finished))
    for name, tensor in again.model.tensors.items():
        assert torch.equal(tensor, whole[-1].model.tensors[name])


def test_what_cannot_be_recorded_leaves_the_run_where_it_stood(blobs, ready, monkeypatch):
    """A recorder that fails, as one does that meets a look at a value."""
    spec, data = ready(blobs, training={"epochs": 2, "batch_size": 8})
    eager = list(train(spec, data))[-1]

    def fails(work, back):
        back()
        work()
        raise RuntimeError("operation not permitted when stream is capturing")

    def choose(job):
        with pytest.raises(RuntimeError, match="not permitted"):
            Recorded(job, fails)
        return Chosen("eager", "it could not be recorded")

    monkeypatch.setattr(loop, "choose", choose)
    again = list(train(spec, data))[-1]
    for name, tensor in again.model.tensors.items():
        assert torch.equal(tensor, eager.model.tensors[name])


@pytest.fixture
def job(blobs, ready):
    """What a choice is asked about, of a spec."""

    def make(**training):
        spec, data = ready(blobs, training={"epochs": 100, "batch_size": 8} | training)
        return Run(spec, data, torch.device("cpu")).job

    return make


def test_small_steps_on_a_gpu_are_recorded_of_themselves(job):
    chosen = choose_on_cuda(job(), called)
    assert (chosen.tier, chosen.warning) == ("cudagraph", None)
    assert "wait for their launches" in chosen.reason


@pytest.mark.parametrize(
    ("training", "word"),
    [
        ({"engine": "eager"}, "'eager' was asked for"),
        ({"epochs": 2}, "steps repay no recording"),
        ({"average_weights": {}}, "average_weights follows each step"),
    ],
)
def test_others_on_a_gpu_are_taken_one_by_one_and_it_is_said_why(job, training, word):
    chosen = choose_on_cuda(job(**training), called)
    assert (chosen.tier, chosen.warning) == ("eager", None)
    assert word in chosen.reason


def test_large_steps_are_not_recorded_of_themselves(job):
    chosen = choose_on_cuda(job()._replace(multiplications=10**12), called)
    assert (chosen.tier, chosen.warning) == ("eager", None)
    assert "operations are long enough for a GPU" in chosen.reason


def test_a_resumed_run_goes_on_as_it_began(job):
    assert choose_on_cuda(job()._replace(before="eager"), called).tier == "eager"
    assert choose_on_cuda(job(epochs=2)._replace(before="cudagraph"), called).tier == "cudagraph"


def test_a_recording_that_fails_is_done_without_and_told(job):
    def fails(work, back):
        raise RuntimeError("operation not permitted when stream is capturing")

    chosen = choose_on_cuda(job(engine="cudagraph"), fails)
    assert chosen.tier == "eager"
    assert "not permitted when stream is capturing" in chosen.warning


def test_a_cpu_that_is_asked_for_recorded_steps_says_that_it_has_none(blobs, ready):
    spec, data = ready(blobs, training={"epochs": 1, "engine": "cudagraph"})
    (ended,) = (event for event in train(spec, data) if isinstance(event, EpochEnded))
    assert [(advice.code, advice.pointer) for advice in ended.advice] == [("other_engine", "/training/engine")]
    assert "runs on CUDA only" in ended.advice[0].message


class FakeGpu:
    """Stands for torch.cuda, and notes what is asked of it."""

    def __init__(self, asked):
        self.asked = asked

    def Stream(self):  # noqa: N802  torch's name
        return self

    def CUDAGraph(self):  # noqa: N802  torch's name
        return self

    def wait_stream(self, _):
        self.asked.append("wait")

    def current_stream(self):
        return self

    def synchronize(self):
        self.asked.append("synchronize")

    def replay(self):
        self.asked.append("replay")

    @contextmanager
    def device(self, device):
        self.asked.append(f"device {device}")
        yield

    @contextmanager
    def stream(self, _):
        yield

    @contextmanager
    def graph(self, _, *, stream):
        assert stream is self
        self.asked.append("begin")
        yield
        self.asked.append("end")


def test_a_step_is_warmed_up_beside_and_recorded_once(monkeypatch):
    asked = []
    monkeypatch.setattr(cuda_graph.torch, "cuda", FakeGpu(asked))
    replay = cuda_graph.record(lambda: asked.append("work"), lambda: asked.append("back"), torch.device("cuda", 1))
    warm = ["back", "work"] * 3
    assert asked == ["device cuda:1", "wait", *warm, "wait", "begin", "work", "end", "synchronize"]
    replay()
    assert asked[-1] == "replay"
