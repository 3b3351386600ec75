"""Fewer points of a curve: how many, which ones, and that no number upsets the choice."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.thinning import kept_points

VALUES = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=60), st.integers(2, 40), st.data())
def test_ascending_within_the_limit_with_both_ends_whatever_the_values_are(rows, most, data):
    count = len(rows)
    positions = sorted(data.draw(st.sets(st.integers(0, 2**63 - 1), min_size=count, max_size=count)))
    urgent = data.draw(st.sets(st.integers(0, count - 1)))
    kept = kept_points(positions, [list(column) for column in zip(*rows, strict=True)], urgent, most)
    assert len(kept) == min(count, most)
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, count - 1)


def test_a_spike_of_any_series_is_kept_beside_one_of_a_far_larger_scale():
    small, large = [0.001] * 1000, [1e6 * math.sin(index / 50) for index in range(1000)]
    small[617] = 0.002
    assert 617 in kept_points(range(1000), [large, small], (), 20)


def test_the_points_kept_draw_the_curve():
    curve = [math.exp(-step / 200) + 0.2 * math.sin(step / 40) for step in range(2000)]
    kept = kept_points(range(2000), [curve], (), 100)
    for left, right in pairwise(kept):
        for step in range(left, right):
            drawn = curve[left] + (curve[right] - curve[left]) * (step - left) / (right - left)
            assert drawn == pytest.approx(curve[step], abs=0.01)


def test_an_urgent_point_goes_before_a_spike_of_its_bucket():
    curve = [0.0] * 100
    curve[50] = 9.0
    assert 51 in kept_points(range(100), [curve], [51], 5)


def test_the_spike_of_a_series_with_gaps_is_kept_where_it_has_its_value():
    steady = [float(step) for step in range(500)]
    seldom = [1.0 if step % 10 == 0 else math.nan for step in range(500)]
    seldom[250] = 4.0
    assert 250 in kept_points(range(500), [steady, seldom], (), 12)
