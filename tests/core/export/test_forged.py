"""A description that asks for more than its weights hold is refused before memory is taken for it."""

from __future__ import annotations

import json
import resource

import numpy as np
import pytest

from benchmarks.export import encodings, stand_in
from softreg_core import load
from softreg_core.errors import DataError


@pytest.fixture
def forged(tmp_path):
    """Saves a small network on an input kind, and changes its description in every place that repeats it."""

    def make(kind, changes, net=None):
        stand_in({"kind": "linear"}, encodings()[kind], tmp_path)
        path = tmp_path / "model.json"
        document = json.loads(path.read_text())
        for place in ("shape", "inputs"):
            document[place] |= {name: value for name, value in changes.items() if name in document[place]}
        if net is not None:
            document["net"] = document["spec"]["net"] = net
        path.write_text(json.dumps(document))
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("sound", {"window": 2**20}),  # its matrix would have 2^40 numbers, and no weight tells
        ("sound", {"mels": 2**30}),
        ("sound", {"longest": 2**31 - 1, "rate": 2**31 - 1, "hop": 1}),
        ("image", {"height": 2**20, "width": 2**20}),
        ("sequence", {"longest": 2**31 - 1}),
        ("text", {"vocabulary": 2**31 - 1}),
    ],
)
def test_sizes_that_no_weights_have(forged, kind, changes):
    folder = forged(kind, changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        load(folder)
    except DataError:
        pass
    else:
        assert "longest" in changes  # nothing of this size is made before there are rows
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_a_network_that_does_not_take_its_inputs(forged):
    folder = forged("text", {}, net=cnn())
    with pytest.raises(DataError) as caught:
        load(folder)
    assert caught.value.reason == "wrong_format"


def cnn():
    """As `model.json` spells it."""
    from softreg_core.spec.net import CnnSpec

    return CnnSpec().model_dump(mode="json")


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("value", [{}, "x", 1, None, [[1.0]], [True]])
def test_statistics_that_are_no_numbers(forged, name, value):
    folder = forged("sound", {name: value})
    with pytest.raises(DataError) as caught:
        load(folder)
    assert caught.value.reason == "wrong_format"


def test_a_sound_to_predict_of_a_rate_that_would_take_all_memory(forged):
    with pytest.raises(DataError, match="at most 384000 samples a second"):
        load(forged("sound", {})).predict([(np.zeros(10, dtype=np.float32), 10**12)])
