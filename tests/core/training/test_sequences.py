"""Sequences of several lengths from NPZ: what is asked for stands at a marked step, which only a network finds."""

from __future__ import annotations

import numpy as np
import pytest

from softreg_core.data.parse import read_table_file
from softreg_core.export import export_model, save_model
from tests.core.training.trained import linear_accuracy, linear_r2, trained

ROWS, LONGEST = 900, 12


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    """Two channels of noise, and two marks in a third: +1 at the step that counts, -1 at one that does not.

    What is beyond a row's length is larger than what is within, so that who reads it is lost.
    """
    random = np.random.default_rng(0)
    features = random.normal(size=(ROWS, LONGEST, 3)).astype(np.float32)
    features[:, :, 2] = 0.0
    lengths = random.integers(6, LONGEST + 1, ROWS)
    at = np.stack([random.choice(length, 2, replace=False) for length in lengths])
    rows = np.arange(ROWS)
    features[rows, at[:, 0], 2], features[rows, at[:, 1], 2] = 1.0, -1.0
    flat = np.where(np.arange(LONGEST)[:, None] < lengths[:, None, None], features, 0.0).reshape(ROWS, -1)
    features[np.arange(LONGEST) >= lengths[:, None]] = 9.0
    left, right = features[rows, at[:, 0], 0], features[rows, at[:, 0], 1]
    columns = {
        "left": left,
        "right": right,
        "is_left": left > 0.0,
        "is_right": right > 0.0,
        "quarter": 2 * (left > 0.0) + (right > 0.0),
        # Of the earlier of the two marked steps.
        "first": features[rows, at.min(axis=1), 0] > 0.0,
    }
    path = tmp_path_factory.mktemp("sequences") / "walks.npz"
    np.savez(path, features=features, lengths=lengths, **columns)
    return read_table_file(path), flat, columns


RNN = {"kind": "rnn", "cell": "lstm", "hidden": 24}
TRANSFORMER = {"kind": "transformer", "width": 32, "layers": 2, "heads": 4, "dropout": 0.0}


def document(task, net, epochs, rate, **more):
    return {
        "task": task | {"features": ["features"]},
        "net": net,
        "optimizer": {"kind": "adam", "learning_rate": rate},
        "schedule": {"kind": "one_cycle"},
        "training": {"epochs": epochs, "batch_size": 32},
    } | more


CROSS_ENTROPY = {"loss": {"base": {"kind": "cross_entropy"}}}


@pytest.mark.parametrize(
    ("target", "net", "epochs", "rate"),
    [("is_left", RNN, 20, 0.02), ("quarter", TRANSFORMER, 20, 0.003), ("first", RNN, 30, 0.02)],
)
def test_classes_of_a_marked_step_are_told(walks, target, net, epochs, rate):
    table, flat, columns = walks
    run = trained(document({"kind": "classification", "target": target}, net, epochs, rate, **CROSS_ENTROPY), table)
    assert run["accuracy"] >= 0.9
    assert linear_accuracy(flat, columns[target], run.rows) < 0.75


def test_several_labels_of_a_marked_step_are_told(walks):
    table, flat, columns = walks
    targets = ["is_left", "is_right"]
    run = trained(document({"kind": "multilabel", "target": targets}, RNN, 20, 0.02), table)
    assert run["accuracy"] >= 0.9
    labels = np.stack([columns[name] for name in targets], axis=1)
    assert linear_accuracy(flat, labels, run.rows) < 0.75


@pytest.mark.parametrize(("targets", "net", "rate"), [(["left"], TRANSFORMER, 0.003), (["left", "right"], RNN, 0.02)])
def test_quantities_at_a_marked_step_are_read(walks, targets, net, rate, tmp_path):
    table, flat, columns = walks
    run = trained(document({"target": targets}, net, 20, rate), table)
    assert run["r2"] >= 0.85
    if net is RNN:  # one is enough: the graph of an answer in numbers to steps of numbers
        save_model(run.result.model, tmp_path, run.result.metrics)
        assert export_model(tmp_path, "onnx").outputs == ("predictions",)
    assert linear_r2(flat, np.stack([columns[name] for name in targets], axis=1), run.rows) < 0.4
