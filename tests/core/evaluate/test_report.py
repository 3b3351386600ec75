"""The full report: against scikit-learn and torchmetrics, by known answers, and where nothing can be said."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch
import torchmetrics.functional as tm
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from softreg_core.data.preprocessing import Preprocessing, Scaling
from softreg_core.evaluate.document import EvaluationReport
from softreg_core.evaluate.outputs import Outputs, sampled_rows
from softreg_core.evaluate.report import Question, report
from softreg_core.spec import TrainSpec

FEATURES = Scaling.none(["x"])
NOISY = "ignore::UserWarning"  # torchmetrics: classes without rows


def _outputs(prediction, target, variance=None):
    loss = np.zeros(len(target))
    prediction = np.asarray(prediction, dtype=np.float32)
    return Outputs(prediction, np.asarray(target), {"loss": loss, "base": loss}, variance, len(target))


def _classes(scores, codes, *, base="cross_entropy", labels=None, seed=0, **parts):
    scores = np.asarray(scores)
    labels = labels or tuple("abcdefghij"[: scores.shape[1]])
    spec = TrainSpec.model_validate({"loss": {"base": {"kind": base}, "divergence": None}, "training": {"seed": seed}})
    question = Question.of(spec, Preprocessing(FEATURES, ("y",), None, tuple(labels)))
    answers = parts or {"rows": (scores, codes)}
    return report(question, {name: _outputs(*part) for name, part in answers.items()})


def _values(predicted, target, variance=None, scaling=None):
    """Predictions and targets in scaled units."""
    target = np.asarray(target, dtype=np.float32)
    scaling = scaling or Scaling.none([f"y{c}" for c in range(target.shape[1])])
    question = Question.of(TrainSpec(), Preprocessing(FEATURES, scaling.names, scaling, None))
    return report(question, {"rows": _outputs(predicted, target, variance)})


def _drawn(rows=300, classes=4, seed=0, sharpness=1.5):
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, classes, rows)
    scores = generator.normal(size=(rows, classes)).astype(np.float32)
    scores[np.arange(rows), codes] += sharpness
    return scores, codes


def _softmax(scores):
    return torch.from_numpy(scores).double().softmax(1).numpy()


def _value(found: EvaluationReport, name, part="rows"):
    return found.parts[part].metrics[name].value


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_class_metrics_are_scikit_learn_s(classes):
    scores, codes = _drawn(classes=classes)
    p, found, every = _softmax(scores), _classes(scores, codes), np.arange(classes)
    hit = scores.argmax(1)
    wanted = {
        "accuracy": sk.accuracy_score(codes, hit),
        "macro_f1": sk.f1_score(codes, hit, average="macro"),
        "roc_auc": sk.roc_auc_score(codes, p[:, 1] if classes == 2 else p, multi_class="ovr"),
        "nll": sk.log_loss(codes, p, labels=every),
        "brier": sk.brier_score_loss(codes, p[:, 1] if classes == 2 else p, labels=every),
    }
    wanted |= {f"top_{k}_accuracy": sk.top_k_accuracy_score(codes, p, k=k, labels=every) for k in (3, 5) if classes > k}
    assert set(found.parts["rows"].metrics) == {*wanted, "loss", "base", "ece"}
    for name, value in wanted.items():
        assert _value(found, name) == pytest.approx(value, rel=1e-9), name
    matrix = found.parts["rows"].confusion.matrix
    assert np.array_equal(matrix, sk.confusion_matrix(codes, hit, labels=every))
    precision, recall, f1, rows = sk.precision_recall_fscore_support(codes, hit, labels=every)
    for k, row in enumerate(found.parts["rows"].classes):
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision[k], recall[k], f1[k]))
        assert row.rows == rows[k]
        assert row.roc_auc == pytest.approx(sk.roc_auc_score(codes == k, p[:, k]))


@pytest.mark.filterwarnings(NOISY)
def test_scikit_learn_and_torchmetrics_agree_where_both_have_the_metric():
    scores, codes = _drawn(rows=500, classes=5)
    p, y = torch.from_numpy(_softmax(scores)), torch.from_numpy(codes)
    kind = {"task": "multiclass", "num_classes": 5}
    pairs = [
        (tm.accuracy(p, y, average="micro", **kind), sk.accuracy_score(y, p.argmax(1))),
        (tm.accuracy(p, y, average="micro", top_k=3, **kind), sk.top_k_accuracy_score(y, p, k=3)),
        (tm.f1_score(p, y, average="macro", **kind), sk.f1_score(y, p.argmax(1), average="macro")),
        (tm.auroc(p, y, average="macro", **kind), sk.roc_auc_score(y, p, multi_class="ovr")),
        (tm.confusion_matrix(p, y, **kind), sk.confusion_matrix(y, p.argmax(1))),
    ]
    generator = torch.Generator().manual_seed(0)
    given, wanted = (torch.randn((500, 3), generator=generator).double() for _ in range(2))
    a, b = wanted.numpy(), given.numpy()
    pairs += [
        (tm.mean_absolute_error(given, wanted), sk.mean_absolute_error(a, b)),
        (tm.mean_squared_error(given[:, 0], wanted[:, 0], squared=False), sk.root_mean_squared_error(a[:, 0], b[:, 0])),
        (tm.r2_score(given, wanted), sk.r2_score(a, b)),
    ]
    for of_torchmetrics, of_scikit_learn in pairs:
        assert np.allclose(of_torchmetrics.numpy(), of_scikit_learn, rtol=1e-5)


def test_ece_and_its_bins_are_those_of_scikit_learn_s_calibration_curve():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1.0, 450)
    codes = (generator.random(450) < confidence**2).astype(int)
    found = _classes(np.log(np.stack([1.0 - confidence, confidence], axis=1)), codes).parts["rows"].calibration
    accuracy, mean = calibration_curve(codes, confidence, n_bins=15, strategy="quantile")
    assert [b.rows for b in found.bins] == [30] * 15
    assert [b.accuracy for b in found.bins] == pytest.approx(accuracy)
    assert [b.confidence for b in found.bins] == pytest.approx(mean, rel=1e-6)
    assert found.ece == pytest.approx(np.abs(accuracy - mean).mean(), rel=1e-6)


def test_ece_of_a_calibrated_model_is_what_the_report_says_to_expect_of_noise():
    generator = np.random.default_rng(1)
    found = []
    for _ in range(30):
        confidence = generator.uniform(0.5, 1.0, 300)
        codes = (generator.random(300) < confidence).astype(int)
        found.append(_classes(np.log(np.stack([1 - confidence, confidence], axis=1)), codes).parts["rows"].calibration)
    mean = np.mean([one.ece for one in found])
    assert mean > 0.03  # far from 0 though nothing is wrong with the model: that is the bias
    assert mean == pytest.approx(np.mean([one.ece_if_calibrated for one in found]), rel=0.1)
    assert 0.85 <= np.mean([one.ece <= one.ece_if_calibrated_95 for one in found]) <= 1.0


def test_many_rows_have_the_bias_of_ece_by_the_normal_law_that_drawing_them_gives():
    from softreg_core.evaluate import calibration as module

    confidence = np.random.default_rng(0).uniform(0.4, 1.0, 4000)
    is_hit = np.ones(4000, dtype=bool)
    drawn = module.calibration(confidence, is_hit, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_DRAWN_ROWS", 100)
        by_law = module.calibration(confidence, is_hit, 0)
    assert by_law.ece == drawn.ece
    assert by_law.ece_if_calibrated == pytest.approx(drawn.ece_if_calibrated, rel=0.05)


def test_values_of_classes_have_ranks_but_no_probabilities():
    scores, codes = _drawn(classes=6)
    found = _classes(scores, codes, base="half_squared_error")
    assert found.scores == "values"
    for name in ("nll", "brier", "ece"):
        assert _value(found, name) is None
        assert "no probabilities" in found.parts["rows"].metrics[name].reason
    assert found.parts["rows"].calibration is None
    assert _value(found, "roc_auc") == pytest.approx(
        np.mean([sk.roc_auc_score(codes == k, scores[:, k]) for k in range(6)])
    )
    assert _value(found, "top_3_accuracy") == sk.top_k_accuracy_score(codes, scores, k=3)


def test_multi_label_metrics_are_scikit_learn_s_label_by_label():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, (200, 3))
    scores = (generator.normal(size=(200, 3)) + truth).astype(np.float32)
    question = Question(
        "multilabel",
        TrainSpec.model_validate({"loss": {"base": {"kind": "binary_cross_entropy"}, "divergence": None}}).loss.base,
        ("a", "b", "c"),
        None,
        None,
        0,
    )
    found = report(question, {"rows": _outputs(scores, truth.astype(np.float32))})
    p, said = torch.from_numpy(scores).double().sigmoid().numpy(), scores > 0
    assert found.scores == "sigmoid"
    wanted = {
        "accuracy": (said == truth).mean(),
        "subset_accuracy": sk.accuracy_score(truth, said),
        "macro_f1": sk.f1_score(truth, said, average="macro"),
        "roc_auc": sk.roc_auc_score(truth, p),
        "nll": np.mean([sk.log_loss(truth[:, k], p[:, k]) for k in range(3)]),
        "brier": np.mean([sk.brier_score_loss(truth[:, k], p[:, k]) for k in range(3)]),
    }
    for name, value in wanted.items():
        assert _value(found, name) == pytest.approx(value, rel=1e-9), name
        assert found.parts["rows"].metrics[name].lower < value < found.parts["rows"].metrics[name].upper
    assert found.parts["rows"].classes[1].recall == pytest.approx(sk.recall_score(truth[:, 1], said[:, 1]))


def test_regression_metrics_are_scikit_learn_s_per_target_and_in_the_user_s_units():
    generator = np.random.default_rng(0)
    scaling = Scaling(("price", "size"), np.array([1e6, -3.0]), np.array([250.0, 0.5]))
    target = generator.normal(size=(400, 2)).astype(np.float32)
    predicted = (target + generator.normal(size=(400, 2))).astype(np.float32)
    found = _values(predicted, target, scaling=scaling).parts["rows"]
    wanted, given = scaling.undo(target), scaling.undo(predicted)
    for name, metric in {
        "rmse": sk.root_mean_squared_error,
        "mae": sk.mean_absolute_error,
        "r2": sk.r2_score,
    }.items():
        each = metric(wanted, given, multioutput="raw_values")
        assert [found.targets[t][name].value for t in ("price", "size")] == pytest.approx(each, rel=1e-9)
        assert found.metrics[name].value == pytest.approx(each.mean(), rel=1e-9)
        for target_name in ("price", "size"):
            one = found.targets[target_name][name]
            assert one.lower < one.value < one.upper


def test_a_predicted_variance_is_scored_by_crps_coverage_and_likelihood():
    generator = np.random.default_rng(0)
    variance = generator.uniform(0.2, 4.0, (20_000, 1)).astype(np.float32)
    predicted = generator.normal(size=(20_000, 1)).astype(np.float32)
    target = predicted + np.sqrt(variance) * generator.normal(size=(20_000, 1)).astype(np.float32)
    scaling = Scaling(("y",), np.array([7.0]), np.array([3.0]))
    found = _values(predicted, target, variance, scaling).parts["rows"].metrics
    for percent in (50, 90, 95):
        assert found[f"coverage_{percent}"].value == pytest.approx(percent / 100, abs=0.01)
    # By definition: E|X - y| - E|X - X'| / 2 over draws X, X' of the predicted distribution.
    sigma, mean, y = (3.0 * part[:50, 0].astype(float) for part in (np.sqrt(variance), predicted, target))
    draws = mean + sigma * generator.normal(size=(40_000, 50))
    by_draws = np.abs(draws - y).mean(0) - np.abs(draws[::2] - draws[1::2]).mean(0) / 2
    first = _values(predicted[:50], target[:50], variance[:50], scaling).parts["rows"].metrics
    assert first["crps"].value == pytest.approx(by_draws.mean(), rel=0.01)
    by_torch = torch.nn.functional.gaussian_nll_loss(
        torch.from_numpy(mean), torch.from_numpy(y), torch.from_numpy(sigma**2), full=True
    )
    assert first["nll"].value == pytest.approx(by_torch.item(), rel=1e-5)


def test_gaps_are_train_minus_the_others_with_an_interval():
    scores, codes = _drawn(rows=400, classes=3, sharpness=3.0)
    others = {"train": (scores, codes), "test": _drawn(rows=400, classes=3, seed=1, sharpness=0.5)}
    found = _classes(scores, codes, **others)
    gap = found.gaps["accuracy"].train_minus_test
    assert gap.value == pytest.approx(_value(found, "accuracy", "train") - _value(found, "accuracy", "test"))
    assert 0.0 < gap.lower < gap.value < gap.upper
    # As wide as two independent parts make it: equal sizes must not be drawn in step.
    train, test = (found.parts[part].metrics["accuracy"] for part in ("train", "test"))
    wanted = math.hypot(train.upper - train.lower, test.upper - test.lower)
    assert gap.upper - gap.lower == pytest.approx(wanted, rel=0.1)


def test_equal_answers_give_equal_reports_and_another_seed_other_intervals_only():
    scores, codes = _drawn(rows=700)
    first, again, other = _classes(scores, codes), _classes(scores, codes), _classes(scores, codes, seed=1)
    assert first == again
    for name, measure in first.parts["rows"].metrics.items():
        assert other.parts["rows"].metrics[name].value == measure.value
    assert other.parts["rows"].metrics["nll"].lower != first.parts["rows"].metrics["nll"].lower


UNDEFINED = {
    "one row": (_drawn(rows=1), {"roc_auc"}),
    "one class": ((_drawn(rows=20, classes=2)[0], np.zeros(20, dtype=int)), {"roc_auc"}),
    "a class without rows": ((_drawn(rows=20, classes=3)[0], np.arange(20) % 2), {"roc_auc"}),
    "NaN": (
        (np.full((5, 3), np.nan, np.float32), np.arange(5) % 3),
        {"accuracy", "macro_f1", "roc_auc", "nll", "brier"},
    ),
    "infinite": ((np.full((5, 3), np.inf, np.float32), np.arange(5) % 3), {"accuracy", "nll"}),
}


@pytest.mark.parametrize("case", UNDEFINED)
def test_what_is_not_defined_is_null_with_a_reason(case):
    (scores, codes), missing = UNDEFINED[case]
    metrics = _classes(scores, codes).parts["rows"].metrics
    for name in missing:
        assert metrics[name].value is None
        assert metrics[name].reason
    if case == "one row":
        assert metrics["accuracy"].lower is None
        assert "one row" in metrics["accuracy"].reason


@pytest.mark.parametrize(
    ("predicted", "target", "reason"),
    [
        ([[1.0], [2.0]], [[3.0], [3.0]], "constant"),
        ([[1.0]], [[3.0]], "one row"),
        ([[np.nan], [1.0]], [[1.0], [2.0]], "1 of 2 predictions"),
        ([[1.0, np.inf], [1.0, 2.0]], [[1.0, 2.0], [4.0, 5.0]], "1 of 2 targets"),
    ],
    ids=["constant", "one_row", "nan", "infinite_in_one_of_two"],
)
def test_r2_that_is_not_defined_is_null_with_a_reason(predicted, target, reason):
    found = _values(np.array(predicted), np.array(target)).parts["rows"]
    assert found.metrics["r2"].value is None
    assert reason in found.metrics["r2"].reason


def test_every_report_is_json_without_nan():
    reports = [_classes(*given) for given, _ in UNDEFINED.values()]
    reports += [_values([[np.nan]], [[1.0]]), _values([[1e30], [-1e30]], [[0.0], [1.0]])]
    for found in reports:
        text = json.dumps(found.model_dump(mode="json"), allow_nan=False)
        assert EvaluationReport.model_validate_json(text) == found


def test_a_matrix_too_large_is_replaced_by_the_most_confused_pairs():
    classes = 120
    codes = np.arange(600) % classes
    said = np.where((codes == 7) & (np.arange(600) > 200), 9, codes)
    labels = tuple(str(k) for k in range(classes))
    found = _classes(np.eye(classes)[said] * 9.0, codes, labels=labels).parts["rows"]
    assert found.confusion.matrix is None
    assert found.classes is None
    (pair,) = found.confusion.most_confused
    assert (pair.actual, pair.predicted, pair.rows) == ("7", "9", int(((codes == 7) & (said == 9)).sum()))


def test_a_sample_of_too_many_rows_covers_all_of_them_evenly():
    assert sampled_rows(1000, 10, 0) is None
    drawn = sampled_rows(50_000_000, 1000, 0)
    assert drawn.size == 2097
    assert (np.diff(drawn) > 0).all()
    assert drawn[0] < 50_000_000 / 2097 < 50_000_000 - drawn[-1] + 50_000_000 / 2097 * 2
    assert not np.array_equal(drawn, sampled_rows(50_000_000, 1000, 1))


def test_ties_go_to_the_first_class_everywhere():
    found = _classes(np.zeros((4, 5)), np.array([0, 1, 2, 4])).parts["rows"].metrics
    assert found["accuracy"].value == 0.25
    assert found["top_3_accuracy"].value == 0.75
    assert found["roc_auc"].value is None  # class 3 has no rows
    assert _classes(np.zeros((4, 2)), np.array([0, 1, 1, 0])).parts["rows"].metrics["roc_auc"].value == 0.5


def test_confusions_are_listed_largest_first():
    pairs = [(0, 1)] * 3 + [(1, 2)] * 5 + [(2, 2)] * 9
    found = _classes(np.eye(3)[[p for _, p in pairs]], np.array([a for a, _ in pairs])).parts["rows"].confusion
    assert [(p.actual, p.predicted, p.rows) for p in found.most_confused] == [("b", "c", 5), ("a", "b", 3)]
    assert list(itertools.chain(*found.matrix)) == [0, 3, 0, 0, 0, 5, 0, 0, 9]
