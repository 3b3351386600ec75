"""A mistake put into the class family on purpose makes a test fail: what the tests are worth."""

from __future__ import annotations

import importlib.util
import inspect

import pytest

from softreg_core.losses import agreement, beside, categorical, labels, registry, soft
from tests.core.losses import test_beside, test_class_divergences, test_labels

PAIRS = [(0.5, -1.0), (2.0, 0.3), (-0.7, 0.1)]


def of_beside(base, divergence):
    return lambda: test_beside.test_the_value_is_that_of_the_formula.hypothesis.inner_test(base, divergence, PAIRS)


def of_classes(divergence):
    inner = test_class_divergences.test_the_value_is_that_of_the_formula.hypothesis.inner_test

    class Drawn:
        def draw(self, _):
            return 1

    return lambda: inner(divergence, [2.0, 0.5, -1.0], Drawn())


def of_labels(divergence):
    inner = test_labels.test_the_value_is_the_sum_of_the_formula_over_the_labels.hypothesis.inner_test
    return lambda: inner(divergence, [(0.5, 1), (-2.0, 1), (0.3, 0)])


TEACHER = ("cross_entropy", {"kind": "teacher", "source": {"kind": "model"}, "temperature": 2.5})
TEACHER_OF_VALUES = ("half_squared_error", {"kind": "teacher", "source": {"kind": "model"}})
TWIN, TWIN_OF_VALUES = ("cross_entropy", {"kind": "twin"}), ("half_squared_error", {"kind": "twin"})
CLOSED = test_beside.test_a_closed_class_is_as_if_it_did_not_exist_and_the_teacher_is_renormalised
DIRECTIONS = {
    direction: {"kind": "categorical", "direction": direction, "epsilon": 0.1}
    for direction in ("prediction_to_target", "target_to_prediction", "jeffreys", "jensen_shannon")
}
# Module, what stands there, the mistake, and the test that has to see it.
MUTATIONS = {
    "teacher-without-T2": (agreement, "temperature**2 * (t.p", "(t.p", of_beside(*TEACHER)),
    "teacher-other-direction": (
        agreement,
        "(t.p * (t.log_p - p.log_p))",
        "(p.p * (p.log_p - t.log_p))",
        of_beside(*TEACHER),
    ),
    "teacher-mean-for-sum": (agreement, "- p.log_p)).sum(1)", "- p.log_p)).mean(1)", of_beside(*TEACHER)),
    "teacher-not-detached": (
        agreement,
        "teacher_BK = teacher_BK.detach()",
        "pass",
        test_beside.test_no_gradient_flows_into_a_teacher,
    ),
    "teacher-of-values-not-detached": (
        agreement,
        "prediction_BC - teacher_BC.detach()",
        "prediction_BC - teacher_BC",
        test_beside.test_no_gradient_flows_into_a_teacher,
    ),
    "teacher-not-renormalised": (
        agreement,
        "is_open_BK & (teacher_BK > -torch.inf)",
        "(teacher_BK > -torch.inf)",
        lambda: CLOSED(*TEACHER),
    ),
    "teacher-of-values-twice": (agreement, "/ (2.0 * variance)", "/ variance", of_beside(*TEACHER_OF_VALUES)),
    "twin-twice": (agreement, "0.5 * ((p.p", "((p.p", of_beside(*TWIN)),
    "twin-one-way": (agreement, "(p.p - r.p)", "p.p", of_beside(*TWIN)),
    "twin-of-values-twice": (agreement, "/ (4.0 * variance)", "/ (2.0 * variance)", of_beside(*TWIN_OF_VALUES)),
    "jeffreys-one-way": (
        categorical,
        "return reverse_B + _of_label(predicted, q_BK)",
        "return reverse_B",
        of_classes(DIRECTIONS["jeffreys"]),
    ),
    "jensen-shannon-twice": (
        categorical,
        "0.5 * (of_p_B + of_q_B)",
        "(of_p_B + of_q_B)",
        of_classes(DIRECTIONS["jensen_shannon"]),
    ),
    "label-not-kept-whole": (
        categorical,
        "1.0 - epsilon + rest_B1",
        "1.0 - epsilon",
        of_classes(DIRECTIONS["target_to_prediction"]),
    ),
    "mean-for-sum": (
        categorical,
        "(predicted.p * (predicted.log_p - log_q_BK)).sum(1)",
        "(predicted.p * (predicted.log_p - log_q_BK)).mean(1)",
        of_classes(DIRECTIONS["prediction_to_target"]),
    ),
    "temperature-of-nothing": (
        categorical,
        "pair.logits / temperature",
        "pair.logits",
        of_classes(DIRECTIONS["jeffreys"] | {"temperature": 2.5}),
    ),
    "entropy-of-the-wrong-sign": (
        categorical,
        ".squeeze(1) - entropy_B",
        ".squeeze(1) + entropy_B",
        of_classes({"kind": "uniform"}),
    ),
    "labels-mean-for-sum": (labels, "* pair.logits).sum(1)", "* pair.logits).mean(1)", of_labels(None)),
    "labels-turned-round": (labels, "2.0 * pair.target - 1.0", "1.0 - 2.0 * pair.target", of_labels(None)),
    "labels-summed-as-mean": (
        labels,
        "view_as(self.logits).sum(1)",
        "view_as(self.logits).mean(1)",
        of_labels(DIRECTIONS["jeffreys"]),
    ),
}


def put(module, mutated, monkeypatch):
    """In place of the module's functions, wherever the losses look for them."""
    for name in mutated.__all__:
        original = getattr(module, name)
        for place in (module, registry, beside, soft, test_beside):
            if getattr(place, name, None) is original:
                monkeypatch.setattr(place, name, getattr(mutated, name))


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_in_a_formula_is_seen(name, monkeypatch, tmp_path):
    module, there, mistake, test = MUTATIONS[name]
    module = inspect.getmodule(module) or module
    source = inspect.getsource(module)
    assert source.count(there) == 1
    test()
    path = tmp_path / "mutated.py"
    path.write_text(source.replace(there, mistake))
    spec = importlib.util.spec_from_file_location("mutated", path)
    mutated = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mutated)
    with monkeypatch.context() as patch:
        put(module, mutated, patch)
        with pytest.raises((AssertionError, RuntimeError)):
            test()
    test()
