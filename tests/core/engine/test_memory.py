"""The memory that a run is said to need, against what torch takes; and what is said when there is not enough."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.part import Part
from softreg_core.data.tabular import prepare
from softreg_core.engine import room, train
from softreg_core.engine.rates import Rates
from softreg_core.engine.step.beside import build_beside
from softreg_core.engine.step.stepper import Stepper
from softreg_core.errors import ResourceError
from softreg_core.losses import DataMeta, build_loss
from softreg_core.nets import build_net
from softreg_core.spec import TrainSpec, resolve
from softreg_core.spec.inputs import ImageShape, SequenceShape, SoundShape, TableShape, TextShape
from softreg_core.spec.memory import memory_to_train
from tests.core.nets.catalog import batch, net_of

TABLE = TableShape(numbers=64)
MIXED = TableShape(numbers=4, levels=(10, 50, 100))
IMAGE = ImageShape(channels=3, height=32, width=32)
STEPS = SequenceShape(channels=8, longest=64)
TEXT = TextShape(vocabulary=1000, longest=64)
SOUND = SoundShape(rate=4000, longest=4000, window=100, hop=40, mels=20)
CLASSES = 10
CASES = {
    "mlp": (net_of("mlp", hidden=[256, 256]), TABLE, 2048),
    "mlp-gelu": (net_of("mlp", hidden=[256], activation="gelu", norm="batch", dropout=0.2), TABLE, 2048),
    "mlp-categories": (net_of("mlp"), MIXED, 2048),
    "mlp-text": (net_of("mlp"), TEXT, 128),
    "mlp-weights": (net_of("mlp", hidden=[1024, 1024]), TABLE, 16),
    "linear": (net_of("linear"), TABLE, 4096),
    "cnn": (net_of("cnn"), IMAGE, 32),
    "cnn-layer": (net_of("cnn", activation="gelu", norm="layer"), IMAGE, 32),
    "cnn-sound": (net_of("cnn"), SOUND, 8),
    "resnet": (net_of("resnet"), IMAGE, 16),
    "lstm": (net_of("rnn"), STEPS, 32),
    "lstm-text": (net_of("rnn", layers=2, norm="layer", dropout=0.1), TEXT, 32),
    "gru": (net_of("rnn", cell="gru", bidirectional=False), STEPS, 32),
    "transformer": (net_of("transformer"), STEPS, 32),
    "transformer-table": (net_of("transformer"), MIXED, 256),
    "transformer-long": (net_of("transformer", width=16, dropout=0.0), SequenceShape(channels=4, longest=512), 8),
}


def measured(work):
    """The most that lay in torch's hands at a time, as its own allocator tells."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    level = most = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            most = max(most, level)
    return most


def two_steps(spec, shape, rows):
    loss = build_loss(spec.loss, DataMeta(CLASSES, "classification", 100, None, are_targets_checked=True))
    net = build_net(spec.net, shape, CLASSES, 0)
    stepper = Stepper(spec, net, loss, Rates(spec.schedule, 10, 100, "val.accuracy"), build_beside(spec, net, None))
    stepper.begin_epoch()
    given = Part(batch(shape, rows), torch.zeros(rows, dtype=torch.int64))
    for step in range(2):
        stepper.take(given, step)


@pytest.mark.parametrize("case", CASES)
def test_a_step_takes_about_as_much_memory_as_is_said_before(case):
    net, shape, rows = CASES[case]
    spec = TrainSpec.model_validate({"net": net, "training": {"batch_size": rows}})
    said = memory_to_train(spec, shape, CLASSES, rows).total
    assert 0.6 < said / measured(lambda: two_steps(spec, shape, rows)) < 2.5


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": {"kind": "sgd"}},
        {"training": {"accumulate": 4}},
        {"training": {"average_weights": {}}},
        {"loss": {"alpha": 0.5, "divergence": {"kind": "twin"}}, "net": {"hidden": [512], "dropout": 0.1}},
        {"loss": {"alpha": 0.5, "divergence": {"kind": "teacher", "source": {"kind": "ema"}}}},
    ],
)
def test_what_a_spec_asks_for_besides_is_in_the_sum(options):
    """Steps of a wide layer, whose weights and rows both count."""
    rows = 1024
    document = {"net": {"hidden": [512]}} | options
    document["training"] = {"batch_size": rows} | options.get("training", {})
    spec = TrainSpec.model_validate(document)
    said = memory_to_train(spec, TABLE, CLASSES, rows).total
    assert 0.6 < said / measured(lambda: two_steps(spec, TABLE, rows)) < 2.5


def test_a_whole_run_takes_about_as_much_as_is_said(ready):
    spec, data = ready(_wide(), net={"hidden": [256, 256]}, training={"epochs": 2, "batch_size": 1024})
    said = room.memory_of(spec, data, torch.device("cpu")).total
    assert 0.6 < said / measured(lambda: list(train(spec, data))) < 2.5


def test_a_run_that_does_not_fit_is_refused_with_the_numbers(blobs, ready, monkeypatch):
    spec, data = ready(blobs, net={"hidden": [500]})
    monkeypatch.setattr(room, "free_memory", lambda: 50_000)
    with pytest.raises(ResourceError) as caught:
        next(iter(train(spec, data)))
    message = str(caught.value)
    assert re.match(
        r"training needs about \d+ kB on cpu: \d+ kB for weights and optimiser, \d+ kB for a batch", message
    )
    assert "50 kB are free" in message
    assert "training.accumulate" in message


def test_no_run_is_refused_where_nobody_tells_what_is_free(blobs, ready, monkeypatch):
    spec, data = ready(blobs, training={"epochs": 1})
    monkeypatch.setattr(room, "free_memory", lambda: None)
    assert list(train(spec, data))


def test_rows_that_do_not_fit_when_decoded_are_refused_before_they_are_read(monkeypatch):
    table = _wide(rows=30, inputs=64)
    view = {"kind": "image", "channels": 1, "height": 8, "width": 8}
    spec = resolve(TrainSpec.model_validate({"task": {"input": view}, "net": {"kind": "cnn"}}), table.report).spec
    assert prepare(spec, table).train.rows
    monkeypatch.setattr("softreg_core.room.free_memory", lambda: 1000)
    with pytest.raises(ResourceError, match=r"preparing 30 rows of this size needs about 2 kB of memory, and 1 kB"):
        prepare(spec, table)


def _wide(rows=3000, inputs=20):
    generator = np.random.default_rng(0)
    return table_from_arrays(generator.normal(size=(rows, inputs)), generator.integers(0, 3, rows))
