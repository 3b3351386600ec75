"""Words of three tones as WAV bytes in Parquet and JSONL: what differs is the order of the tones."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import soundfile

from softreg_core.data.parse import read_table_file
from softreg_core.mel import log_mel
from softreg_core.spec.inputs import sound_shape
from tests.core.training.trained import linear_accuracy, linear_r2, table_of_parquet, trained

RATE, ROWS = 4000, 420


def spoken(random):
    """A word of three tones of one speaker: samples, which of four tunes, how many octaves it rises, how loud."""
    tune = int(random.integers(4))
    low = random.uniform(250.0, 450.0)
    steps = {0: (1.0, 1.6, 2.4), 1: (2.4, 1.6, 1.0), 2: (1.0, 2.4, 1.6), 3: (1.6, 2.4, 1.0)}[tune]
    steps = np.array(steps) * random.uniform(0.9, 1.1, 3)
    seconds = random.uniform(0.1, 0.18, 3)
    phase = np.concatenate(
        [np.full(round(RATE * part), low * step / RATE) for part, step in zip(seconds, steps, strict=True)]
    )
    loudness = random.uniform(0.1, 0.6)
    samples = loudness * np.sin(2.0 * np.pi * np.cumsum(phase)) + 0.02 * random.normal(size=phase.size)
    return samples.astype(np.float32), tune, float(np.log2(steps[2] / steps[0])), loudness


def wav(samples):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def words():
    random = np.random.default_rng(0)
    samples, tunes, rises, loudness = zip(*(spoken(random) for _ in range(ROWS)), strict=True)
    columns = {
        "word": [wav(one) for one in samples],
        "tune": [("rise", "fall", "hill", "slope")[tune] for tune in tunes],
        "begins_low": [tune in (0, 2) for tune in tunes],
        "ends_low": [tune in (1, 3) for tune in tunes],
        "rise": list(rises),
        "loudness": list(loudness),
    }
    return columns, samples


@pytest.fixture(scope="module")
def table(words, tmp_path_factory):
    return table_of_parquet(tmp_path_factory.mktemp("sounds") / "words.parquet", words[0])


@pytest.fixture(scope="module")
def heard(words):
    """What a linear model is given: the mean spectrum of a word."""
    spectra = [log_mel(one, sound_shape(RATE, 1.0, 100, 40, 24)).mean(axis=0) for one in words[1]]
    return np.stack(spectra)


SOUND = {"kind": "sound", "window": 128, "hop": 64, "mels": 24}
RNN = {"kind": "rnn", "cell": "gru", "hidden": 24}
CNN = {"kind": "cnn", "channels": [8, 16], "convolutions": 2}
TRANSFORMER = {"kind": "transformer", "width": 32, "layers": 2, "dropout": 0.0}
CROSS_ENTROPY = {"loss": {"base": {"kind": "cross_entropy"}}}


def document(task, net, epochs, rate, **more):
    return {
        "task": task | {"input": SOUND},
        "net": net,
        "optimizer": {"kind": "adam", "learning_rate": rate},
        "schedule": {"kind": "one_cycle"},
        "training": {"epochs": epochs, "batch_size": 32},
    } | more


@pytest.mark.parametrize(
    ("target", "net", "epochs", "rate"),
    [("tune", TRANSFORMER, 15, 0.003), ("tune", CNN, 15, 0.01), ("begins_low", RNN, 12, 0.01)],
)
def test_words_of_the_same_tones_are_told_apart(words, table, heard, target, net, epochs, rate):
    run = trained(document({"target": target}, net, epochs, rate, **CROSS_ENTROPY), table)
    assert run["accuracy"] >= 0.9
    assert linear_accuracy(heard, words[0][target], run.rows) < 0.8


def test_words_in_lines_of_json_are_the_same_words(words, table, tmp_path):
    path = tmp_path / "words.jsonl"
    with path.open("w") as file:
        for word, tune in zip(words[0]["word"], words[0]["tune"], strict=True):
            file.write(json.dumps({"word": {"sound": base64.b64encode(word).decode()}, "tune": tune}) + "\n")
    other = read_table_file(path)
    short = document({"target": "tune"}, RNN, 2, 0.01)
    assert trained(short, other).result.metrics == trained(short, table).result.metrics


def test_several_labels_of_a_word_are_told(words, table, heard):
    targets = ["begins_low", "ends_low"]
    run = trained(document({"kind": "multilabel", "target": targets}, RNN, 12, 0.01), table)
    labels = np.stack([words[0][name] for name in targets], axis=1)
    assert run["accuracy"] >= 0.9
    assert linear_accuracy(heard, labels, run.rows) < 0.8


@pytest.mark.parametrize("targets", [["rise"], ["rise", "loudness"]])
def test_quantities_are_heard(words, table, heard, targets):
    run = trained(document({"target": targets}, RNN, 15, 0.01), table)
    linear = linear_r2(heard, np.stack([words[0][name] for name in targets], axis=1), run.rows)
    assert run["r2"] >= 0.8
    assert linear < 0.6
