"""The overhead of a soft loss: every divergence is measured beside its base."""

from __future__ import annotations

import json

import torch

from benchmarks.overhead import KINDS, main
from softreg_core.losses.registry import DIVERGENCES


def test_the_smallest_form_measures_both_families_and_writes_the_bound(tmp_path):
    before = torch.get_num_threads()
    kinds = ["welsch", "uniform", "twin"]
    main(["--rounds", "1", "--tiers", "eager", "--widths", "64", "--kinds", *kinds, "--folder", str(tmp_path)])
    assert torch.get_num_threads() == before
    rows = json.loads((tmp_path / "overhead.json").read_text())["rows"]
    assert [row["divergence"] for row in rows[:-1]] == kinds
    assert [row["base"] for row in rows[:-1]] == ["half_squared_error", "cross_entropy", "cross_entropy"]
    assert all(row["ratio"] > 0 and row["step_us"] > 0 for row in rows[:-1])
    assert rows[-1]["asked"] == "<= 1.15"
    assert rows[-1]["reached"] == max(row["ratio"] for row in rows[:2])


def test_no_divergence_is_left_out():
    assert set(KINDS) == set(DIVERGENCES)
