"""The machine's peaks: every figure is there, and so are the floors that follow from them."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.peak import main


def test_the_smallest_form_finds_every_peak_and_floor(tmp_path):
    before = torch.get_num_threads()
    main(["--trials", "1", "--seconds", "0.001", "--folder", str(tmp_path)])
    assert torch.get_num_threads() == before
    rows = json.loads((tmp_path / "peak.json").read_text())["rows"]
    assert all(row["reached"] > 0 for row in rows if "reached" in row)
    floors = {row["floor"]: row for row in rows if "floor" in row}
    assert set(floors) == {"arithmetic", "bytes", "calls"}
    # Forward and the gradients of both layers' weights and of the hidden layer.
    assert "647,168 FLOP" in floors["arithmetic"]["of"]
    rate = next(row["reached"] for row in rows if row.get("what") == "an operation on one number")
    calls = int(floors["calls"]["of"].split()[0])
    assert floors["calls"]["us_per_step"] == pytest.approx(calls * rate)
