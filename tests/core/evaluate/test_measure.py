"""The metrics against scikit-learn and by hand, and where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, r2_score, root_mean_squared_error
from torch import nn

from softreg_core.data.part import Part
from softreg_core.evaluate.measure import evaluate
from softreg_core.losses import build_loss
from softreg_core.spec import LossSpec

LOSS = build_loss(LossSpec())


def test_regression_metrics_are_scikit_learn_s_in_the_user_s_units():
    generator = torch.Generator().manual_seed(0)
    features, target = torch.randn((9000, 2), generator=generator), torch.randn((9000, 2), generator=generator)
    scale = np.array([3.0, 0.5])
    found = evaluate(nn.Identity(), LOSS, Part((features,), target), target_scale=scale)
    wanted, given = target.double().numpy(), features.double().numpy()
    assert found["r2"] == pytest.approx(r2_score(wanted, given), rel=1e-9)
    assert found["mae"] == pytest.approx(mean_absolute_error(wanted * scale, given * scale), rel=1e-9)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(wanted * scale, given * scale), rel=1e-9)
    assert found["loss"] == pytest.approx(LOSS(features, target).total.double().mean().item(), rel=1e-9)
    assert found["base"] + 0.01 * found["divergence"] == pytest.approx(found["loss"], rel=1e-6)


def test_accuracy_is_scikit_learn_s():
    generator = torch.Generator().manual_seed(0)
    scores, codes = torch.randn((500, 4), generator=generator), torch.randint(0, 4, (500,), generator=generator)
    found = evaluate(nn.Identity(), LOSS, Part((scores,), codes))
    assert found["accuracy"] == accuracy_score(codes, scores.argmax(1))
    assert not {"r2", "nll"} & set(found)


def test_logits_have_the_log_loss_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    scores, codes = torch.randn((500, 4), generator=generator), torch.randint(0, 4, (500,), generator=generator)
    found = evaluate(nn.Identity(), LOSS, Part((scores,), codes), has_logits=True)
    assert found["nll"] == pytest.approx(log_loss(codes, scores.double().softmax(1)), rel=1e-5)


def test_without_divergence_there_is_no_such_series():
    plain = build_loss(LossSpec(divergence=None, alpha=0.0))
    assert set(evaluate(nn.Identity(), plain, Part((torch.zeros(3, 2),), torch.tensor([0, 1, 0])))) == {
        "loss",
        "base",
        "accuracy",
    }


def test_r2_of_constant_or_single_targets_is_nan_and_no_crash():
    for rows in (1, 7):
        found = evaluate(nn.Identity(), LOSS, Part((torch.zeros(rows, 1),), torch.full((rows, 1), 0.1)))
        assert math.isnan(found["r2"])
        assert found["mae"] == pytest.approx(0.1)


def test_a_network_that_answers_nan_gives_nan_metrics_and_no_crash():
    found = evaluate(nn.Identity(), LOSS, Part((torch.full((3, 1), torch.nan),), torch.zeros(3, 1)))
    assert math.isnan(found["loss"])
    assert math.isnan(found["mae"])
