"""The Gaussian divergence in both directions, the likelihood, and the second head, against exact arithmetic."""

from __future__ import annotations

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.errors import ShapeError
from softreg_core.losses import DataMeta, build_loss, gaussian, gaussian_nll, gaussian_of_two
from softreg_core.losses.residual import residual
from softreg_core.spec import LossSpec
from softreg_core.spec.heads import extra_outputs

mpmath.mp.dps = 80
DIRECTIONS = ["prediction_to_target", "target_to_prediction"]
POWERS = st.floats(-12.0, 12.0)
RESIDUALS = st.floats(-15.0, 15.0)


def terms(direction, d2, size, sp2, sigma2):
    """The formula's terms, whose sum is twice the divergence."""
    if direction == "prediction_to_target":
        return size * mpmath.log(sigma2 / sp2), size * sp2 / sigma2, d2 / sigma2, -size
    if direction == "target_to_prediction":
        return size * mpmath.log(sp2 / sigma2), size * sigma2 / sp2, d2 / sp2, -size
    return size * mpmath.log(sp2), d2 / sp2


def value(kind, pair, sp2, sigma2):
    return gaussian_nll(pair, sp2) if kind == "nll" else gaussian_of_two(pair, sp2, sigma2, kind)


@settings(max_examples=150, deadline=None)
@example(kind="target_to_prediction", power=14.0, sp2_power=-10.75, sigma2_power=0.0)  # twice it is infinite
@given(kind=st.sampled_from([*DIRECTIONS, "nll"]), power=RESIDUALS, sp2_power=POWERS, sigma2_power=POWERS)
def test_the_closed_forms_hold_twelve_and_six_digits(kind, power, sp2_power, sigma2_power):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        prediction = torch.tensor([[10.0**power, 0.0, 0.0]], dtype=dtype)
        sp2, sigma2 = (torch.tensor(10.0**p, dtype=dtype) for p in (sp2_power, sigma2_power))
        pair = residual(prediction, torch.zeros_like(prediction))
        exact = terms(
            kind, mpmath.mpf(prediction[0, 0].item()) ** 2, 3, mpmath.mpf(sp2.item()), mpmath.mpf(sigma2.item())
        )
        size = mpmath.fsum(abs(term) for term in exact) / 2
        if size >= float(torch.finfo(dtype).max):
            continue
        for form in (sp2.expand(1, 1), sp2.expand(1, 3)):
            got = value(kind, pair, form, sigma2.item()).item()
            assert abs(mpmath.mpf(got) - mpmath.fsum(exact) / 2) <= tolerance * size


def test_each_output_has_its_own_variance():
    prediction = torch.tensor([[0.2, 0.5, -0.1]], dtype=torch.float64)
    target, sp2 = (
        torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64),
        torch.tensor([[0.5, 2.0, 1.0]], dtype=torch.float64),
    )
    for kind in (*DIRECTIONS, "nll"):
        squares = [(p - t) ** 2 for p, t in zip(prediction[0].tolist(), target[0].tolist(), strict=True)]
        wanted = sum(
            float(mpmath.fsum(terms(kind, mpmath.mpf(d2), 1, mpmath.mpf(v), mpmath.mpf(0.7)))) / 2
            for d2, v in zip(squares, sp2[0].tolist(), strict=True)
        )
        assert value(kind, residual(prediction, target), sp2, 0.7).item() == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("kind", [*DIRECTIONS, "nll"])
@pytest.mark.parametrize("columns", [1, 3])
def test_gradients_in_prediction_and_both_log_variances_are_right_to_second_order(kind, columns):
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.randn((4, 3), generator=generator, dtype=torch.float64) for _ in range(2))
    log_sp2 = torch.randn((4, columns), generator=generator, dtype=torch.float64, requires_grad=True)
    log_sigma2 = torch.tensor(-0.3, dtype=torch.float64, requires_grad=True)
    prediction.requires_grad_()

    def function(p, log_v, log_s):
        return value(kind, residual(p, target), log_v.exp(), log_s.exp())

    inputs = (prediction, log_sp2, log_sigma2)
    if kind == "nll":
        inputs = (prediction, log_sp2)

        def function(p, log_v):
            return value(kind, residual(p, target), log_v.exp(), 1.0)

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("kind", [*DIRECTIONS, "nll"])
def test_the_whole_range_gives_finite_values_and_gradients_where_they_are_representable(kind):
    for dtype in (torch.float64, torch.float32):
        largest = float(torch.finfo(dtype).max)
        for sp2 in (1e-12, 1e-6, 1.0, 1e6, 1e12):
            for d2 in (0.0, 1e-30, 1e-6, 1.0, 1e10, 1e30):
                prediction = torch.tensor([[d2**0.5]], dtype=dtype, requires_grad=True)
                variance = torch.tensor([[sp2]], dtype=dtype, requires_grad=True)
                for sigma2 in (1e-12, 1.0, 1e12):
                    found = value(kind, residual(prediction, torch.zeros_like(prediction)), variance, sigma2)
                    scale = sp2 if kind != "prediction_to_target" else sigma2
                    if max(d2 / scale, d2 / scale / sp2, d2**0.5 / scale, sp2 / sigma2, sigma2 / sp2) < largest / 10:
                        slopes = torch.autograd.grad(found.sum(), (prediction, variance))
                        assert found.isfinite().all()
                        assert all(slope.isfinite().all() for slope in slopes)


@given(power=st.floats(-3.0, 3.0), sigma2=st.floats(0.01, 100.0))
def test_with_equal_variances_both_directions_are_the_rescaled_square(power, sigma2):
    prediction = torch.tensor([[10.0**power, 1.0]], dtype=torch.float64)
    pair = residual(prediction, torch.zeros_like(prediction))
    for direction in DIRECTIONS:
        both = gaussian_of_two(pair, torch.tensor([[sigma2]], dtype=torch.float64), sigma2, direction)
        assert torch.allclose(both, gaussian(pair.squared, sigma2), rtol=1e-9, atol=1e-12)


def test_towards_the_prediction_the_best_variance_is_the_noise_and_the_mean_square():
    pair = residual(torch.tensor([[0.3, -1.2]], dtype=torch.float64), torch.zeros((1, 2), dtype=torch.float64))
    best = 0.4 + pair.squared / 2
    grid = best * torch.linspace(0.5, 2.0, 301, dtype=torch.float64)
    costs = torch.stack([gaussian_of_two(pair, v.reshape(1, 1), 0.4)[0] for v in [*grid, best[0]]])
    assert costs.argmin() == len(costs) - 1 or costs.min() >= costs[-1] - 1e-12
    # and its value there is the Cauchy divergence, up to the noise: C/2 ln(1 + u/C)
    assert costs[-1].item() == pytest.approx(torch.log1p(pair.squared / 0.8).item(), rel=1e-12)


def test_towards_the_target_the_variance_knows_nothing_of_the_residual():
    slopes = []
    for size in (0.0, 1.0, 50.0):
        sp2 = torch.tensor([[0.8]], dtype=torch.float64, requires_grad=True)
        pair = residual(torch.tensor([[size]], dtype=torch.float64), torch.zeros((1, 1), dtype=torch.float64))
        slopes.append(torch.autograd.grad(gaussian_of_two(pair, sp2, 0.3, "prediction_to_target").sum(), sp2)[0].item())
    assert slopes[0] == slopes[1] == slopes[2] > 0


@pytest.mark.parametrize("columns", [1, 2])
def test_beta_weighs_each_group_by_its_variance_as_a_number(columns):
    generator = torch.Generator().manual_seed(1)
    prediction, target = (torch.randn((3, 2), generator=generator, dtype=torch.float64) for _ in range(2))
    sp2 = torch.rand((3, columns), generator=generator, dtype=torch.float64).add(0.1).requires_grad_()
    pair = residual(prediction, target)
    squares = pair.squared.unsqueeze(1) if columns == 1 else (prediction - target).square()
    size = 2 // columns
    weight = sp2.detach() ** 0.5
    nll = (weight * 0.5 * (size * sp2.log() + squares / sp2)).sum(1)
    kl = (weight * 0.5 * (size * ((sp2 / 0.3).log() + 0.3 / sp2 - 1) + squares / sp2)).sum(1)
    for got, wanted in ((gaussian_nll(pair, sp2, beta=0.5), nll), (gaussian_of_two(pair, sp2, 0.3, beta=0.5), kl)):
        assert torch.allclose(got, wanted, rtol=1e-13)
        slopes = [torch.autograd.grad(one.sum(), sp2, retain_graph=True)[0] for one in (got, wanted)]
        assert torch.allclose(*slopes, rtol=1e-12)


# --- built from a spec -----------------------------------------------------------------------------------------------


def built(divergence=None, base=None, outputs=2, **loss):
    document = {"alpha": 0.5, "divergence": {"kind": "gaussian", **divergence}} if divergence else {}
    document |= {"base": base} if base else {}
    return build_loss(LossSpec.model_validate(document | loss), DataMeta(outputs, "regression", target_variance=1.0))


@pytest.mark.parametrize(("head", "extra"), [("shared", 1), ("per_output", 2)])
def test_the_second_head_comes_after_the_predictions(head, extra):
    floor = 1e-3
    for loss in (
        built({"prediction_variance": "predicted", "head": head, "prediction_floor": floor}),
        built(base={"kind": "gaussian_nll", "head": head, "floor": floor}),
    ):
        assert loss.extra_outputs == extra
        output = torch.randn(4, 2 + extra, dtype=torch.float64)
        prediction, variance = loss.split(output)
        assert torch.equal(prediction, output[:, :2])
        assert torch.allclose(variance, floor + output[:, 2:].exp(), rtol=1e-15)
        parts = loss(prediction, torch.zeros_like(prediction), variance=variance)
        assert parts.total.shape == (4,)
        extreme = loss.split(torch.full((1, 2 + extra), 1e4))[1]
        assert extreme.isfinite().all()
        assert loss.split(torch.full((1, 2 + extra), -1e4))[1].min().item() == pytest.approx(floor)
        assert loss.split(output.half())[1].dtype == torch.float32


def test_losses_without_one_leave_the_output_alone():
    output = torch.randn(3, 4)
    for loss in (
        build_loss(LossSpec()),
        built({"prediction_variance": "learned"}),
        built({"prediction_variance": "same"}),
    ):
        assert loss.extra_outputs == 0
        assert loss.split(output) == (output, None)


def test_a_divergence_that_never_counts_asks_for_no_head():
    spec = LossSpec.model_validate(
        {"alpha": 0.0, "divergence": {"kind": "gaussian", "prediction_variance": "predicted"}}
    )
    assert extra_outputs(spec, 3) == build_loss(spec).extra_outputs == 0


def test_the_predictive_variance_is_less_the_noise_that_the_divergence_adds():
    sp2 = torch.tensor([[0.5], [0.01], [0.001]])
    of_prediction = built({"prediction_variance": "predicted"})
    tiny = torch.finfo(torch.float32).tiny
    assert of_prediction.predictive_variance(sp2).flatten().tolist() == pytest.approx([0.49, tiny, tiny], rel=1e-6)
    of_target = built({"prediction_variance": "predicted", "direction": "prediction_to_target"})
    assert torch.equal(of_target.predictive_variance(sp2), sp2)
    assert torch.equal(built(base={"kind": "gaussian_nll"}).predictive_variance(sp2), sp2)
    followed = built({"prediction_variance": "predicted", "variance": {"kind": "target"}})
    assert followed.predictive_variance(torch.tensor([[1.5]])).item() == pytest.approx(0.5)


def test_the_learned_variance_is_one_parameter_that_goes_where_the_likelihood_wants_it():
    loss = built({"prediction_variance": "learned", "variance": {"kind": "fixed", "value": 0.2}})
    assert [name for name, _ in loss.named_parameters()] == ["divergence.log_variance"]
    generator = torch.Generator().manual_seed(5)
    prediction, target = (torch.randn((40, 2), generator=generator) for _ in range(2))
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0)
    for _ in range(500):
        optimizer.zero_grad()
        loss(prediction, target).total.mean().backward()
        optimizer.step()
    wanted = 0.2 + (prediction - target).square().sum(1).mean().item() / 2
    assert loss.divergence.log_variance.exp().item() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("give", [None, (4, 2), (4, 3), (3, 1)], ids=str)
def test_a_variance_that_is_missing_or_of_another_shape_is_refused_before_anything_is_computed(give):
    loss = built({"prediction_variance": "predicted"})
    prediction = torch.full((4, 2), torch.nan)
    variance = None if give is None else torch.ones(give)
    with pytest.raises(ValueError if give is None else ShapeError, match="variance"):
        loss(prediction, torch.zeros(4, 2), variance=variance)


def test_an_output_of_the_wrong_width_is_refused():
    with pytest.raises(ShapeError):
        built({"prediction_variance": "predicted"}).split(torch.zeros(4, 1))
    with pytest.raises(ShapeError):
        built(base={"kind": "gaussian_nll", "head": "per_output"}).split(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="DataMeta"):
        _ = build_loss(LossSpec.model_validate({"base": {"kind": "gaussian_nll", "head": "per_output"}})).extra_outputs


def test_rows_of_weight_zero_may_hold_any_variance():
    loss = built(base={"kind": "gaussian_nll"})
    prediction, target = torch.randn(3, 2), torch.randn(3, 2)
    variance = torch.tensor([[1.0], [torch.nan], [2.0]], requires_grad=True)
    weight = torch.tensor([1.0, 0.0, 1.0])
    total = loss(prediction, target, variance=variance, weight=weight).total
    (total * weight).sum().backward()
    assert variance.grad.isfinite().all()
    assert variance.grad[1].item() == 0.0


@pytest.mark.parametrize(
    ("divergence", "words"),
    [
        ({"head": "per_output"}, "predicted only"),
        ({"prediction_variance": "learned", "head": "per_output"}, "predicted only"),
        ({"prediction_floor": 0.1}, "learned or predicted"),
        ({"beta": 0.5}, "target_to_prediction only"),
        ({"prediction_variance": "learned", "beta": 0.5}, "target_to_prediction only"),
        (
            {"prediction_variance": "predicted", "direction": "prediction_to_target", "beta": 0.5},
            "target_to_prediction only",
        ),
        ({"prediction_variance": "predicted", "scale": "per_output"}, "count their outputs already"),
    ],
    ids=str,
)
def test_an_option_that_would_be_ignored_is_refused(divergence, words):
    with pytest.raises(ValidationError, match=words):
        LossSpec.model_validate({"divergence": {"kind": "gaussian", **divergence}})


def test_one_prediction_does_not_have_two_variances():
    for kind in ("learned", "predicted"):
        document = {"base": {"kind": "gaussian_nll"}, "divergence": {"kind": "gaussian", "prediction_variance": kind}}
        with pytest.raises(ValidationError, match="cannot have two"):
            LossSpec.model_validate(document)


def test_the_noise_is_small_where_the_variance_is_predicted_unless_it_is_given():
    def sigma2(**divergence):
        return LossSpec.model_validate({"divergence": {"kind": "gaussian", **divergence}}).divergence.variance

    assert sigma2(prediction_variance="predicted").value == 0.01
    assert sigma2(prediction_variance="learned").value == 1.0
    assert sigma2(prediction_variance="predicted", variance={"value": 0.3}).value == 0.3
