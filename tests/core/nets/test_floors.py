"""Accuracies that a network must reach, on tasks where a linear one cannot."""

from __future__ import annotations

import numpy as np
import pytest

from softreg_core.data.formats.flat_columns import Sounds, Texts
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.data.sample import load_sample
from softreg_core.data.table import Table
from softreg_core.data.tabular import prepare
from softreg_core.engine import fit
from softreg_core.spec import TrainSpec, resolve

ROWS = 120
CODES = np.arange(ROWS) % 2


def accuracy(table, net, seed=0, **spec):
    document = {
        "net": net,
        "loss": {"base": {"kind": "cross_entropy"}},
        "split": {"seed": seed},
        "checkpoints": {"keep_best": False},
        **spec,
    }
    resolved = resolve(TrainSpec.model_validate(document), table.report).spec
    return fit(resolved, prepare(resolved, table)).metrics["val.accuracy"]


def labelled(column):
    label = ColumnReport(
        name="label", kind="category", tensor="codes", position=0, distinct=2, levels=("a", "b"), level_counts=(60, 60)
    )
    tensors = {f"flat.0{suffix}": values for suffix, values in column.tensors.items()}
    report = DatasetReport(format="jsonl", rows=ROWS, columns=(column.report("flat.0"), label))
    return Table(report, {**tensors, "codes": CODES.astype(np.int32)[:, np.newaxis]})


@pytest.fixture(scope="module")
def glides():
    """Tones that rise and tones that fall through the same pitches: on average over time they are alike."""
    random, sounds = np.random.default_rng(0), Sounds()
    for code in CODES:
        seconds = np.arange(random.integers(1000, 1600)) / 8000
        share = seconds / seconds[-1]
        hertz = 400 + 1200 * (share if code else 1 - share)
        wave = 0.4 * np.sin(2 * np.pi * np.cumsum(hertz) / 8000 + random.uniform(0, 6))
        # Out of silence and into it: the end of a tone that is cut off would betray its last pitch.
        wave = np.pad(wave * np.hanning(wave.size), random.integers(400, 600, 2))
        sounds.add((wave + random.normal(0, 0.01, wave.size)).astype(np.float32), 8000)
    return labelled(sounds.finish("tone"))


@pytest.fixture(scope="module")
def orders():
    """The same words in two orders."""
    random, texts = np.random.default_rng(0), Texts()
    for code in CODES:
        first, second = ("cats", "dogs") if code else ("dogs", "cats")
        filler = [" ".join(["and"] * random.integers(0, 3)) for _ in range(3)]
        texts.add(f"{filler[0]} {first} {filler[1]} chase {second} {filler[2]}")
    return labelled(texts.finish("text", None))


def test_digits_by_a_cnn():
    table = load_sample("digits")
    image = {"input": {"kind": "image", "channels": 1, "height": 8, "width": 8}}
    training = {"epochs": 5, "batch_size": 64}
    cnn = [
        accuracy(
            table,
            {"kind": "cnn", "channels": [16, 32]},
            seed,
            task=image,
            training=training,
            optimizer={"learning_rate": 0.005},
        )
        for seed in range(3)
    ]
    linear = [
        accuracy(table, {"kind": "linear"}, seed, training=training | {"epochs": 12}, optimizer={"learning_rate": 0.01})
        for seed in range(3)
    ]
    assert np.mean(cnn) >= 0.98
    assert np.mean(cnn) >= np.mean(linear) + 0.01
    assert np.mean(linear) >= 0.94


HEARING = {
    "cnn": {"kind": "cnn", "channels": [8, 8], "convolutions": 1},
    "rnn": {"kind": "rnn", "hidden": 16, "cell": "gru", "pooling": "last"},
    "transformer": {"kind": "transformer", "width": 16, "dropout": 0.0},
}
READING = {name: HEARING[name] for name in ("rnn", "transformer")}
LEARNING = {"training": {"epochs": 25, "batch_size": 16}, "optimizer": {"learning_rate": 0.01}}


@pytest.mark.parametrize("net", HEARING.values(), ids=list(HEARING))
def test_rising_tones_are_told_from_falling_ones(glides, net):
    task = {"input": {"kind": "sound", "rate": 8000}}
    assert accuracy(glides, net, task=task, **LEARNING) >= 0.9
    assert accuracy(glides, {"kind": "linear"}, task=task, **LEARNING) <= 0.8


@pytest.mark.parametrize("net", READING.values(), ids=list(READING))
def test_words_are_read_in_their_order(orders, net):
    assert accuracy(orders, net, **LEARNING) >= 0.9
    assert accuracy(orders, {"kind": "linear"}, **LEARNING) <= 0.8
