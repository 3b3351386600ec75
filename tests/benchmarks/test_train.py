"""The training benchmark runs in its smallest form, and compares what was trained, not only how fast."""

from __future__ import annotations

import json

import pytest

from benchmarks.train.__main__ import main
from benchmarks.train.compare import Reading, ratio, rows_of
from benchmarks.train.job import Outcome


def test_the_smallest_form_measures_a_side_and_writes_every_bound(tmp_path):
    main(["--rounds", "1", "--epochs", "2", "--only", "plain", "--folder", str(tmp_path)])
    rows = json.loads((tmp_path / "train.json").read_text())["rows"]
    (side,) = (row for row in rows if "side" in row)
    assert side["steps_per_s"] > 0
    assert side["same_loss"].startswith("yes")
    bounds = [row for row in rows if "asked" in row]
    assert bounds
    assert {row["kept"] for row in bounds} == {"not measured"}


def reading(speed, loss=0.05):
    return Reading(speed, speed, 1.0, Outcome(loss, 0.96))


def test_sides_are_compared_round_by_round():
    readings = {"eager": [reading(10.0), reading(40.0)], "plain": [reading(5.0), reading(20.0)]}
    assert ratio(readings, "eager", "plain") == 2.0
    assert ratio(readings, "eager", "keras") is None


@pytest.mark.parametrize(("loss", "word"), [(0.0505, "yes"), (0.06, "NO")])
def test_a_side_that_trained_something_else_is_said_to_have(loss, word):
    bounds = {True: (0.05, 0.001), False: (0.05, 0.004)}
    (row,) = rows_of({"plain": [reading(1.0, loss)]}, {}, bounds)
    assert row["same_loss"].startswith(word)
