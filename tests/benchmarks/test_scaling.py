"""The scaling curves: the growth is that of the points, and the smallest form writes a table and a plot."""

from __future__ import annotations

import json

import pytest

from benchmarks.scaling.__main__ import main
from benchmarks.scaling.growth import growth


def test_growth_is_the_power_where_the_curve_is_a_line():
    sizes = [1, 2, 4, 8, 16, 32, 64]
    # Flat while something else costs more, then quadratic.
    found = growth(sizes, [10, 10, 16, 64, 256, 1024, 4096])
    assert (found.start, found.end) == (4, 64)
    assert found.slope == pytest.approx(2.0)
    assert found.at(8) == pytest.approx(64.0)
    assert str(found) == "~ x^2.00 from 4 to 64"


def test_no_line_is_claimed_where_there_is_none():
    assert growth([1, 2, 4, 8], [1, 100, 1, 100]) is None
    assert growth([1, 2], [1, 2]) is None


def test_the_smallest_form_writes_a_table_and_a_plot(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    main(["--only", "rows", "--most", "1000", "--seconds", "0.1", "--folder", str(tmp_path)])
    rows = json.loads((tmp_path / "scaling-rows.json").read_text())["rows"]
    assert rows[0]["steps_per_s"] > 0
    assert rows[0]["peak_mib"] > rows[0]["grown_mib"] > 0
    assert "no range is a line" in {row.get("growth") for row in rows}
    assert (tmp_path / "scaling-rows.svg").read_text().startswith("<?xml")
