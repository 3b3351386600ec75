"""Networks with masks and running statistics go on bit for bit after an interruption."""

from __future__ import annotations

import itertools

import pytest

from softreg_core.engine import Finished, Stopped, train
from softreg_core.errors import DataError

PIXELS = {"kind": "image", "channels": 1, "height": 1, "width": 5}
NETS = [
    {"dropout": 0.3},
    {"norm": "batch", "dropout": 0.2, "hidden": [16, 8]},
    {"norm": "layer"},
    {"kind": "linear"},
    {"kind": "transformer", "width": 8},
    {"kind": "cnn", "channels": [4, 4], "dropout": 0.5},
    {"kind": "resnet", "width": 2},
]


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.get("kind", "-".join(net)))
def test_stopping_within_an_epoch_changes_no_bit(blobs, ready, digest, net):
    task = {"input": PIXELS} if net.get("kind") in ("cnn", "resnet") else {}
    training, checkpoints = {"epochs": 2, "batch_size": 16}, {"keep_best": False}
    spec, data = ready(blobs, task=task, net=net, training=training, checkpoints=checkpoints)
    whole = list(train(spec, data))[-1]
    for steps in (1, 3, 6):
        answers = itertools.chain([None] * steps, itertools.repeat("stop"))
        *_, stopped = train(spec, data, control=lambda answers=answers: next(answers))
        assert isinstance(stopped, Stopped)
        *_, finished = train(spec, data, resume=stopped.state)
        assert isinstance(finished, Finished)
        assert digest(finished.model.tensors) == digest(whole.model.tensors)
        assert finished.metrics == whole.metrics


def test_rows_that_leave_a_batch_of_one_are_refused_before_the_first_step(blobs, ready):
    spec, data = ready(blobs, net={"norm": "batch"}, training={"batch_size": 16})
    changed = spec.model_copy(update={"training": spec.training.model_copy(update={"batch_size": 11})})
    with pytest.raises(DataError, match="56 training rows in batches of 11") as caught:
        list(train(changed, data))
    assert caught.value.reason == "batch_of_one"
