"""The formula as text is the formula: computed as it reads, it gives what the built loss gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.losses import build_loss
from softreg_core.spec import LossSpec
from softreg_core.spec.formula import describe

VALUES = [
    ({"kind": "half_squared_error"}, "1/2 |y - yhat|^2"),
    ({"kind": "huber", "delta": 0.5}, "sum_c huber(yhat_c - y_c; delta = 0.5)"),
    ({"kind": "absolute_error"}, "sum_c |yhat_c - y_c|"),
    ({"kind": "quantile", "tau": 0.9}, "sum_c max(0.9 (y_c - yhat_c), 0.1 (yhat_c - y_c))"),
    ({"kind": "student_t", "nu": 3.0}, "2 sum_c ln(1 + (yhat_c - y_c)^2/3)"),
    ({"kind": "barron", "shape": 2.0}, "1/2 |y - yhat|^2"),
    ({"kind": "barron", "shape": 0.0}, "sum_c ln(1 + (yhat_c - y_c)^2/2)"),
    ({"kind": "barron", "shape": 1.0}, "1 sum_c [((yhat_c - y_c)^2/1 + 1)^(0.5) - 1]"),
    ({"kind": "barron", "shape": -2.0}, "-2 sum_c [((yhat_c - y_c)^2/4 + 1)^(-1) - 1]"),
    ({"kind": "cross_entropy"}, "-ln softmax(z)_y"),
    ({"kind": "brier"}, "1/2 |onehot(y) - softmax(z)|^2"),
    ({"kind": "generalized_cross_entropy", "q": 0.7}, "(1 - softmax(z)_y^0.7)/0.7"),
    ({"kind": "symmetric_cross_entropy"}, "0.1 * (-ln softmax(z)_y) + 4 * (1 - softmax(z)_y)"),
    ({"kind": "focal", "gamma": 2.0}, "-(1 - softmax(z)_y)^2 ln softmax(z)_y"),
]


def value_of(text, yhat, y):
    """The text of a base in NumPy, for one output (or one row of logits), one line per form of text."""
    r, z = yhat[0] - y, np.asarray(yhat)
    p = np.exp(z) / np.exp(z).sum() if z.size > 1 else None
    k = int(y)
    return {
        "1/2 |y - yhat|^2": lambda: r**2 / 2,
        "sum_c huber(yhat_c - y_c; delta = 0.5)": lambda: r**2 / 2 if abs(r) <= 0.5 else 0.5 * (abs(r) - 0.25),
        "sum_c |yhat_c - y_c|": lambda: abs(r),
        "sum_c max(0.9 (y_c - yhat_c), 0.1 (yhat_c - y_c))": lambda: max(0.9 * -r, 0.1 * r),
        "2 sum_c ln(1 + (yhat_c - y_c)^2/3)": lambda: 2 * np.log(1 + r**2 / 3),
        "sum_c ln(1 + (yhat_c - y_c)^2/2)": lambda: np.log(1 + r**2 / 2),
        "1 sum_c [((yhat_c - y_c)^2/1 + 1)^(0.5) - 1]": lambda: (r**2 + 1) ** 0.5 - 1,
        "-2 sum_c [((yhat_c - y_c)^2/4 + 1)^(-1) - 1]": lambda: -2 * ((r**2 / 4 + 1) ** -1 - 1),
        "-ln softmax(z)_y": lambda: -np.log(p[k]),
        "1/2 |onehot(y) - softmax(z)|^2": lambda: ((np.eye(z.size)[k] - p) ** 2).sum() / 2,
        "(1 - softmax(z)_y^0.7)/0.7": lambda: (1 - p[k] ** 0.7) / 0.7,
        "0.1 * (-ln softmax(z)_y) + 4 * (1 - softmax(z)_y)": lambda: 0.1 * -np.log(p[k]) + 4 * (1 - p[k]),
        "-(1 - softmax(z)_y)^2 ln softmax(z)_y": lambda: -((1 - p[k]) ** 2) * np.log(p[k]),
    }[text]()


@pytest.mark.parametrize(("base", "text"), VALUES, ids=lambda value: str(value)[:40])
def test_the_text_of_a_base_is_what_is_computed(base, text):
    spec = LossSpec.model_validate({"base": base, "divergence": None})
    assert describe(spec) == text
    of_classes = "softmax" in text
    for yhat, y in [([0.3, -1.0, 2.0], 2), ([0.3, -1.0, 2.0], 1)] if of_classes else [([1.7], 0.2), ([0.1], 0.4)]:
        prediction = torch.tensor([yhat], dtype=torch.float64)
        target = torch.tensor([y]) if of_classes else torch.tensor([[y]], dtype=torch.float64)
        got = build_loss(spec)(prediction, target).total.item()
        assert got == pytest.approx(value_of(text, yhat, y), rel=1e-12)


def test_with_brier_the_formula_says_that_d2_is_of_the_probabilities():
    spec = LossSpec.model_validate({"base": {"kind": "brier"}, "divergence": {"kind": "gaussian"}})
    assert describe(spec).endswith("0.01 * d2/(2 * 1), p = softmax(z), d2 = |onehot(y) - p|^2")


P, Q = "p = softmax(z)", "q = 0.9 onehot(y) + 0.1/K, K = number of classes"


@pytest.mark.parametrize(
    ("divergence", "text"),
    [
        ({"kind": "categorical"}, f"KL(p to q), {P}, {Q}"),
        (
            {"kind": "categorical", "normalize": True},
            f"KL(p to q) / ln((0.9 + 0.1/K)/(0.1/K)), {P}, {Q}",
        ),
        (
            {"kind": "categorical", "direction": "target_to_prediction", "temperature": 2},
            f"KL(q to p), p = softmax(z/2), {Q}",
        ),
        ({"kind": "categorical", "direction": "jeffreys"}, f"[KL(p to q) + KL(q to p)], {P}, {Q}"),
        (
            {"kind": "categorical", "direction": "jensen_shannon"},
            f"1/2 [KL(p to (p + q)/2) + KL(q to (p + q)/2)], {P}, {Q}",
        ),
        ({"kind": "uniform"}, f"[ln K - H(p)], {P}, K = number of classes"),
        ({"kind": "uniform", "threshold": 0.5}, f"max(0, 0.5 - H(p)), {P}"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_the_text_of_a_divergence_of_classes_names_its_direction(divergence, text):
    document = {"base": {"kind": "cross_entropy"}, "alpha": 0.5, "divergence": divergence}
    assert describe(LossSpec.model_validate(document)) == f"-ln softmax(z)_y + 0.5 * {text}"


TWICE = "1, 2: two passes with other dropout masks, the base is the mean of theirs"
EMA = {"kind": "teacher", "source": {"kind": "ema", "decay": 0.99}}
BCE = "-sum_c [y_c ln p_c + (1 - y_c) ln(1 - p_c)], p = sigmoid(z)"


@pytest.mark.parametrize(
    ("base", "divergence", "text"),
    [
        (
            "cross_entropy",
            {"kind": "teacher", "temperature": 2.0},
            "-ln softmax(z)_y + 0.5 * 2^2 KL(t to p), p = softmax(z/2), t = that of the teacher (teacher: given)",
        ),
        (
            "half_squared_error",
            EMA,
            "1/2 |y - yhat|^2 + 0.5 * |t - yhat|^2/(2 * 1), t = the teacher's prediction "
            "(teacher: moving average of the weights, decay 0.99)",
        ),
        (
            "cross_entropy",
            {"kind": "twin"},
            f"-ln softmax(z)_y + 0.5 * 1/2 [KL(p_1 to p_2) + KL(p_2 to p_1)], p = softmax(z), {TWICE}",
        ),
        (
            "half_squared_error",
            {"kind": "twin"},
            f"1/2 |y - yhat|^2 + 0.5 * |yhat_1 - yhat_2|^2/(4 * 1), {TWICE}",
        ),
        (
            "binary_cross_entropy",
            {"kind": "twin"},
            f"{BCE} + 0.5 * sum over the labels of 1/2 [KL(p_1 to p_2) + KL(p_2 to p_1)], p = sigmoid(z), {TWICE}",
        ),
        (
            "binary_cross_entropy",
            {"kind": "categorical", "temperature": 2.0},
            f"{BCE} + 0.5 * sum over the labels of KL(p to q), p = sigmoid(z/2), q = 0.9 y + 0.1/2",
        ),
        (
            "binary_cross_entropy",
            {"kind": "uniform"},
            f"{BCE} + 0.5 * sum over the labels of [ln 2 - H(p)], p = sigmoid(z)",
        ),
    ],
    ids=["teacher", "ema", "twin", "twin-values", "twin-labels", "categorical-labels", "uniform-labels"],
)
def test_the_text_of_what_stands_beside_the_network_follows_the_base(base, divergence, text):
    document = {"base": {"kind": base}, "alpha": 0.5, "divergence": divergence}
    assert describe(LossSpec.model_validate(document)) == text


@pytest.mark.parametrize(("kind", "text"), [("geman_mcclure", "1/2 d2/(2 + d2)"), ("welsch", "1/2 [1 - exp(-d2/2)]")])
def test_the_text_of_a_redescending_divergence_holds_its_variance(kind, text):
    divergence = {"kind": kind, "variance": {"kind": "fixed", "value": 2.0}}
    spec = LossSpec.model_validate({"alpha": 0.5, "divergence": divergence})
    assert describe(spec) == f"1/2 |y - yhat|^2 + 0.5 * {text}, d2 = |y - yhat|^2"


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (
            {"alpha": 0.25, "combine": "convex"},
            "(1 - 0.25) * [1/2 |y - yhat|^2] + 0.25 * d2/(2 * 1), d2 = |y - yhat|^2",
        ),
        (
            {"alpha": {"kind": "linear", "value": 0.5, "warm_up": 0.2}},
            "1/2 |y - yhat|^2 + alpha(t) * d2/(2 * 1), d2 = |y - yhat|^2, "
            "alpha(t) = 0.5 min(1, t/0.2), t = share of the steps done",
        ),
        ({"alpha": {"kind": "constant", "value": 0}}, "1/2 |y - yhat|^2"),
    ],
    ids=["convex", "linear", "nothing"],
)
def test_the_text_says_how_the_divergence_is_weighed(loss, text):
    assert describe(LossSpec.model_validate({"divergence": {"kind": "gaussian"}} | loss)) == text


D2, C = "d2 = |y - yhat|^2", "C = number of outputs"
HEAD = "sp2 = 1e-06 + exp(h), h the net's second head"
HEADS = "sp2_c = 1e-06 + exp(h_c), h the net's second head"


@pytest.mark.parametrize(
    ("variance", "text"),
    [
        ({"kind": "target", "floor": 0.5}, "s = variance of the training targets, at least 0.5"),
        ({"kind": "residual"}, "s = moving mean of d2 before the batch (momentum 0.9), at least 1e-06"),
        ({"kind": "output"}, "s = variance of yhat over the batch, at least 1e-06"),
        (
            {"kind": "output", "statistic": "second_moment", "gradient": "detached"},
            "s = mean of yhat^2 over the batch, taken as a number, at least 1e-06",
        ),
    ],
    ids=str,
)
def test_the_text_says_where_sigma2_comes_from(variance, text):
    spec = LossSpec.model_validate({"alpha": 0.5, "alpha_units": "none", "divergence": {"variance": variance}})
    assert describe(spec) == f"1/2 |y - yhat|^2 + 0.5 * 1/2 [ln(s/(s + d2)) + d2/(s + d2)], {D2}, {text}"


def test_the_text_says_in_what_alpha_is_counted_and_by_what_a_residual_is_measured():
    in_units = {"alpha": 0.5, "alpha_units": "sigma2", "divergence": {"kind": "gaussian", "variance": {"value": 2.0}}}
    assert describe(LossSpec.model_validate(in_units)) == f"1/2 |y - yhat|^2 + 0.5 * 2 * d2/(2 * 2), {D2}"
    followed = {"alpha": 0.5, "divergence": {"kind": "welsch", "variance": {"kind": "residual"}}}
    assert "+ 0.5 * s * 1/2 [1 - exp(-d2/s)]" in describe(LossSpec.model_validate(followed))
    per_output = {"alpha": 0.5, "divergence": {"kind": "welsch", "scale": "per_output", "variance": {"value": 2.0}}}
    assert describe(LossSpec.model_validate(per_output)).endswith(f"1/2 [1 - exp(-d2/(C * 2))], {D2}, {C}")


@pytest.mark.parametrize(
    ("divergence", "text"),
    [
        (
            {"prediction_variance": "learned", "direction": "prediction_to_target"},
            f"1/2 [C ln(1/sp2) + (C sp2 + d2)/1 - C], {D2}, {C}, sp2 = 1e-06 + exp(w), w learned",
        ),
        (
            {"prediction_variance": "predicted"},
            f"1/2 [C ln(sp2/0.01) + (C * 0.01 + d2)/sp2 - C], {D2}, {C}, {HEAD}",
        ),
        (
            {"prediction_variance": "predicted", "beta": 0.5},
            f"[sp2^0.5] * 1/2 [C ln(sp2/0.01) + (C * 0.01 + d2)/sp2 - C], {D2}, {C}, {HEAD}, [ ] taken as a number",
        ),
        (
            {"prediction_variance": "predicted", "head": "per_output"},
            f"1/2 sum_c [ln(sp2_c/0.01) + (0.01 + (y_c - yhat_c)^2)/sp2_c - 1], {D2}, {HEADS}",
        ),
        (
            {"prediction_variance": "predicted", "head": "per_output", "direction": "prediction_to_target"},
            f"1/2 sum_c [ln(0.01/sp2_c) + (sp2_c + (y_c - yhat_c)^2)/0.01 - 1], {D2}, {HEADS}",
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_text_of_two_gaussians_names_both_variances(divergence, text):
    spec = LossSpec.model_validate({"alpha": 0.5, "divergence": {"kind": "gaussian", **divergence}})
    assert describe(spec) == f"1/2 |y - yhat|^2 + 0.5 * {text}"


@pytest.mark.parametrize(
    ("divergence", "term"),
    [
        ({"kind": "twin"}, "|eta_1 - eta_2|^2/(4 * 1)"),
        ({"kind": "teacher"}, "|t - eta|^2/(2 * 1), t = the teacher's output (teacher: given)"),
    ],
    ids=["twin", "teacher"],
)
def test_of_counts_two_logarithms_are_compared_and_the_text_says_so(divergence, term):
    spec = LossSpec.model_validate({"base": {"kind": "poisson"}, "alpha": 0.5, "divergence": divergence})
    assert describe(spec).startswith(f"sum_c [exp(eta_c) - y_c eta_c] + 0.5 * {term}, ")
    one, two = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5, 1.0]])
    other = {"second" if divergence["kind"] == "twin" else "teacher": two}
    found = build_loss(spec)(one, torch.ones(1, 2), **other).divergence.item()
    assert found == pytest.approx(1.25 / (4 if divergence["kind"] == "twin" else 2))


@pytest.mark.parametrize(
    ("base", "text"),
    [
        ({"kind": "poisson"}, "sum_c [exp(eta_c) - y_c eta_c], exp(eta) = the predicted count, eta the net's output"),
        ({"kind": "gaussian_nll"}, f"1/2 [C ln sp2 + |y - yhat|^2/sp2], {C}, {HEAD}"),
        ({"kind": "gaussian_nll", "head": "per_output"}, f"1/2 sum_c [ln sp2_c + (y_c - yhat_c)^2/sp2_c], {HEADS}"),
        (
            {"kind": "gaussian_nll", "beta": 0.5},
            f"[sp2^0.5] * 1/2 [C ln sp2 + |y - yhat|^2/sp2], {C}, {HEAD}, [ ] taken as a number",
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_text_of_a_base_with_other_outputs_says_what_they_are(base, text):
    assert describe(LossSpec.model_validate({"base": base})) == text
