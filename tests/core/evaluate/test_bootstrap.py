"""Intervals that hold what they promise, and that are the same again."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score, roc_auc_score

from softreg_core.evaluate.bootstrap import MOST_UNITS, RESAMPLES, Estimate, Resampling, mean_estimates
from softreg_core.evaluate.classes import ClassScores, class_estimates
from softreg_core.evaluate.ranking import auc_estimates
from softreg_core.evaluate.values import target_estimates


def test_each_resample_draws_as_many_rows_as_there_are():
    for rows in (1, 2, 300, MOST_UNITS):
        sums = Resampling(rows, 0).sums(np.ones((rows, 1)))
        assert sums.shape == (RESAMPLES, 1)
        assert (sums == rows).all()


def test_more_rows_are_drawn_in_groups_that_hold_each_row_once():
    resampling = Resampling(10_000, 0)
    sizes = np.bincount(resampling.unit)
    assert resampling.units == sizes.size <= MOST_UNITS
    assert set(sizes[:-1]) == {20}
    assert sizes.sum() == 10_000
    assert not (np.diff(resampling.unit) >= 0).all()  # at random: neighbours may be alike


@pytest.mark.parametrize("rows", [60, 511, 2000, 30_000])
def test_the_interval_of_a_mean_is_as_wide_as_the_law_of_large_numbers_says(rows):
    values = np.random.default_rng(rows).exponential(size=rows)
    found = mean_estimates({"x": values}, Resampling(rows, 3))["x"].measure()
    assert found.value == values.mean()
    assert found.upper - found.lower == pytest.approx(2 * 1.96 * values.std() / rows**0.5, rel=0.12)


def test_intervals_hold_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(0)
    held = []
    for trial in range(200):
        hits = (generator.random(150) < 0.8).astype(float)
        found = mean_estimates({"x": hits}, Resampling(150, trial))["x"].measure()
        held.append(found.lower <= 0.8 <= found.upper)
    assert 0.90 <= np.mean(held) <= 0.99


def _one_by_one(resampling, statistic):
    """The same resamples, taken one at a time: the rows of each as indices."""
    counts = resampling.weigh(np.eye(resampling.units)).astype(int)
    return np.array([statistic(np.repeat(np.arange(resampling.rows), row)) for row in counts[:60]])


def test_macro_f1_of_a_resample_is_scikit_learn_s():
    generator = np.random.default_rng(0)
    codes, scores = generator.integers(0, 4, 90), generator.normal(size=(90, 4))
    found = ClassScores(scores, codes, None)
    resampling = Resampling(90, 0)
    samples = class_estimates(found, resampling)[0]["macro_f1"].samples
    wanted = _one_by_one(resampling, lambda rows: f1_score(codes[rows], found.predicted[rows], average="macro"))
    assert samples[:60] == pytest.approx(wanted, rel=1e-12)


def test_r2_of_a_resample_is_scikit_learn_s():
    generator = np.random.default_rng(0)
    target = 1e4 + generator.normal(size=(80, 1))
    predicted = target + generator.normal(size=(80, 1))
    resampling = Resampling(80, 0)
    samples = target_estimates(predicted, target, resampling)[0]["r2"].samples
    wanted = _one_by_one(resampling, lambda rows: r2_score(target[rows], predicted[rows]))
    assert samples[:60] == pytest.approx(wanted, rel=1e-8)


def test_the_area_of_a_resample_is_close_to_scikit_learn_s():
    generator = np.random.default_rng(0)
    truth = generator.random(200) < 0.4
    score = (generator.normal(size=200) + truth).round(1)  # with ties
    resampling = Resampling(200, 0)
    (found,) = auc_estimates(score[:, np.newaxis], truth[:, np.newaxis], resampling)
    assert found.value == pytest.approx(roc_auc_score(truth, score), rel=1e-12)
    wanted = _one_by_one(resampling, lambda rows: roc_auc_score(truth[rows], score[rows]))
    assert np.abs(found.samples[:60] - wanted).max() < 0.005  # of a spread of about 0.03
    assert found.samples.std() == pytest.approx(wanted.std(), rel=0.2)


def test_a_metric_that_most_resamples_lack_has_no_interval():
    samples = np.full(RESAMPLES, np.nan)
    samples[:400] = 1.0
    found = Estimate(1.0, samples).measure()
    assert found.value == 1.0
    assert found.lower is None
    assert "600 of 1000" in found.reason
    samples[:600] = np.linspace(0.0, 1.0, 600)
    assert Estimate(0.5, samples).measure().lower == pytest.approx(0.025)
